"""Pooling inside vLLM's workers: decoder layers hand over their streams, and only what a store keeps of a text leaves the worker.

vLLM mixes `PoolingWorker` into its own worker class, and calls its methods by name. A step of vLLM holds parts of texts: chunked
prefill runs a long text over several steps. The median norm of a text's tokens decides which are sinks, so the rows of a text
that has begun wait until its last token has run; then they are pooled, together with texts of similar length, and dropped. Texts
that wait hold at most as many tokens as vLLM has in unfinished prompts: usually one prompt, cut by the end of the step.

A prefix from vLLM's cache has no rows. The tokens of a template are never read, so they may come from it. A text with tokens of
its own in there has lost them, and is not returned.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from amygdala_tl.activations.pooling import Pooled, TokenBatch, pool_batch
from amygdala_tl.records import READ_POSITIONS, ReadPosition
from amygdala_tl.vllm.mapping import Convention, find_layers, required_convention, split_output, stream
from amygdala_tl.vllm.parcels import Parcel, Wanted, packed
from amygdala_tl.vllm.steps import rows_of_step, starts_of_step

_ROWS = 4096
"""Rows that are pooled at a time, pads included: pooling takes a few times their memory."""


class PoolingWorker:
    """Methods for every worker of an engine, see `vllm.LLM.collective_rpc`."""

    def pool_texts(
        self, layers: list[int], components: int, positions: Sequence[ReadPosition] = READ_POSITIONS
    ) -> None:
        """Pool the texts that run from now on at these layers; `components` and `positions` as in `pool_batch`.

        Raises:
            ModelError: the layers of the model are not known.
        """
        self.stop_pooling()
        worker: Any = self
        first = worker.rank % worker.vllm_config.parallel_config.tensor_parallel_size == 0
        if first:  # every rank of a group has the whole stream
            worker.texts_pooling = Pooling(worker, layers, components, positions)

    def take_pooled(self) -> bytes | None:
        """Return what has been pooled since the last call, see `parcels`; None from a worker that pools nothing."""
        pooling = getattr(self, "texts_pooling", None)
        return None if pooling is None else pooling.take()

    def stop_pooling(self) -> None:
        """Take the hooks off, and drop all rows."""
        worker: Any = self
        if (pooling := getattr(worker, "texts_pooling", None)) is not None:
            pooling.remove()
            worker.texts_pooling = None


@dataclass(slots=True)
class _Text:
    """A text that has begun.

    Attributes:
        wanted: what to read of it.
        parts: of each step so far, each layer's rows of the text's own tokens [token, d_model].
        done: how many of its tokens have run.
        lost: some of its own have come from the cache.
    """

    wanted: Wanted
    parts: list[list[Tensor]] = field(default_factory=list)
    done: int = 0
    lost: bool = False


class Pooling:
    """Hooks on a worker's model, and the texts that are on their way."""

    def __init__(self, worker: Any, layers: Sequence[int], components: int, positions: Sequence[ReadPosition]) -> None:
        self._positions = positions
        self._runner, self._components, self._n_layers = worker.model_runner, components, len(layers)
        self._streams: dict[int, Tensor] = {}
        self._texts: dict[str, _Text] = {}
        self._failure: Exception | None = None
        self._empty()
        n_members = worker.vllm_config.model_config.get_total_num_hidden_layers()
        _, members = find_layers(self._runner.get_model(), n_members)
        conventions = [required_convention(members[layer]) for layer in layers]
        self._hooks = [
            members[layer].register_forward_hook(functools.partial(self._keep, column=column, convention=convention))
            for column, (layer, convention) in enumerate(zip(layers, conventions, strict=True))
        ]
        self._execute_model = self._runner.execute_model
        self._runner.execute_model = self._step

    def remove(self) -> None:
        """Leave the worker as it was."""
        for hook in self._hooks:
            hook.remove()
        del self._runner.execute_model  # the instance's, which hides the class's
        self._texts.clear()

    def take(self) -> bytes:
        """Return what is ready, and forget it."""
        if self._failure is not None:
            raise self._failure
        pooled = Pooled.joined(self._parts) if self._parts else None
        parcel = Parcel(self._numbers, pooled, self._whole, self._broken)
        self._empty()
        return packed(parcel)

    def _empty(self) -> None:
        self._numbers: list[int] = []
        self._parts: list[Pooled] = []
        self._whole: dict[int, Tensor] = {}
        self._broken: list[int] = []

    def _keep(self, _module: nn.Module, _inputs: Any, output: Any, *, column: int, convention: Convention) -> None:
        hidden, residual = split_output(output)
        value = stream(hidden, residual, convention)
        # vLLM's fused norms write into the tensors that a layer returned.
        self._streams[column] = hidden.to(torch.float32, copy=True) if value is None or value is hidden else value

    def _step(self, scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
        self._streams.clear()
        result = self._execute_model(scheduler_output, *args, **kwargs)
        if result is None and scheduler_output.total_num_scheduled_tokens > 0 and self._failure is None:
            try:
                self._read(scheduler_output)
            except Exception as cause:  # the engine goes on, and `take` raises it
                self._failure = cause
                self._texts.clear()
        return result

    def _read(self, scheduler_output: Any) -> None:
        """Take the rows of this step, and pool the texts that are complete."""
        for name in scheduler_output.finished_req_ids:  # incomplete, or aborted
            self._texts.pop(name, None)
        for new in scheduler_output.scheduled_new_reqs:
            if (wanted := Wanted.of(getattr(new.sampling_params, "extra_args", None))) is not None:
                self._texts.setdefault(new.req_id, _Text(wanted))
        starts, row = starts_of_step(scheduler_output), 0
        streams = [self._streams[column] for column in range(self._n_layers)]
        complete: list[tuple[Wanted, list[int]]] = []
        for name, count in rows_of_step(self._runner, scheduler_output)[0]:
            if (text := self._texts.get(name)) is not None:
                rows = [row + at for at in _own_rows(text, starts[name], count)]
                over = text.done >= len(text.wanted.content)
                if over:
                    del self._texts[name]
                if text.parts or not over:
                    text.parts.append([each[rows] for each in streams])  # copies: a view would keep the whole step
                if over and not text.lost and not text.parts:
                    complete.append((text.wanted, rows))
                elif over and not text.lost:
                    whole = [torch.cat(parts) for parts in zip(*text.parts, strict=True)]
                    self._pool(whole, [(text.wanted, list(range(len(whole[0]))))])
            row += count
        self._pool(streams, complete)

    def _pool(self, streams: Sequence[Tensor], texts: Sequence[tuple[Wanted, list[int]]]) -> None:
        """Pool texts in groups of similar length; they are rows of each layer's stream [row, d_model]."""
        group: list[tuple[Wanted, list[int]]] = []
        for wanted, rows in sorted(texts, key=lambda each: len(each[1]), reverse=True):
            if wanted.whole:
                self._whole[wanted.number] = torch.stack([each[rows] for each in streams], dim=1).cpu()
                continue
            if group and (len(group) + 1) * len(group[0][1]) > _ROWS:
                self._pool_group(streams, group)
                group = []
            group.append((wanted, rows))
        if group:
            self._pool_group(streams, group)

    def _pool_group(self, streams: Sequence[Tensor], group: Sequence[tuple[Wanted, list[int]]]) -> None:
        places = [rows for _, rows in group]
        longest = max(map(len, places))
        index = torch.tensor([[*rows, *[-1] * (longest - len(rows))] for rows in places], device=streams[0].device)
        content = index >= 0
        residuals = torch.stack([each[index] for each in streams], dim=2)
        residuals.masked_fill_(~content[:, :, None, None], 0.0)
        batch = TokenBatch(
            ids=index,
            content=content,
            first=_long(content, [wanted.content.index(1) for wanted, _ in group]),
            last=_long(content, [len(rows) - 1 for rows in places]),
            last_content=_long(content, [wanted.row_of(wanted.last_content) for wanted, _ in group]),
        )
        fine = residuals.isfinite().flatten(1).all(dim=1)
        judged = [(wanted, good) for (wanted, _), good in zip(group, fine.tolist(), strict=True)]
        kept, broken = ([wanted for wanted, good in judged if good is each] for each in (True, False))
        if broken:
            batch, residuals = batch.rows(fine), residuals[fine]
        if kept:
            drawn = [[wanted.row_of(position) for position in wanted.drawn] for wanted in kept]
            self._parts.append(
                pool_batch(residuals, batch, drawn, positions=self._positions, components=self._components)
            )
        self._numbers += [wanted.number for wanted in kept]
        self._broken += [wanted.number for wanted in broken]


def _long(like: Tensor, numbers: Sequence[int]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.long, device=like.device)


def _own_rows(text: _Text, start: int, count: int) -> list[int]:
    """Return which of the `count` tokens from `start` on are the text's own and new, counted from `start`.

    A preempted request begins again, so tokens come twice.
    """
    first, end = max(start, text.done), max(start + count, text.done)
    text.lost |= any(text.wanted.content[text.done : first])
    text.done = end
    return [at - start for at in range(first, min(end, len(text.wanted.content))) if text.wanted.content[at]]
