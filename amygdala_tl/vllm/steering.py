"""Edits of the residual stream inside a served model: each layer of the bundle adds what its rows' requests ask for.

A layer runs one custom op on fixed buffers, whether or not a request is steered, so that a compiler and a CUDA graph see the
same computation at every step. Before a step, the rows of steered requests get the number of their request's edits; all other
rows have number 0, and their stream leaves the op as it came, to the bit.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from amygdala_tl.vllm.edits import MOST_EDITS, Edit, edits_in, is_measured
from amygdala_tl.vllm.failures import Failures
from amygdala_tl.vllm.mapping import required_convention, split_output
from amygdala_tl.vllm.projection import LIBRARY
from amygdala_tl.vllm.steps import starts_of_step


def steer(
    hidden: Tensor,
    residual: Tensor | None,
    vectors: Tensor,
    numbers: Tensor,
    reads: Tensor,
    writes: Tensor,
    keeps: Tensor,
    amounts: Tensor,
    norms: Tensor,
) -> Tensor:
    """Return `hidden` with the edits of (hidden + residual) in it, and write the norms of the edited stream into `norms`.

    Args:
        hidden: [token, d_model].
        residual: [token, d_model], or None if `hidden` is the stream.
        vectors: [row, d_model] float32, of unit length.
        numbers: [token or more], which edits each token gets; 0 for none.
        reads, writes: [number, edit], rows of the vectors w and v of each edit, see `edits`.
        keeps, amounts: [number, edit] float32.
        norms: [token or more] float32.
    """
    own = numbers[: len(hidden)]
    stream = hidden.to(torch.float32)
    if residual is not None:
        stream = stream + residual.to(torch.float32)
    moved = torch.zeros_like(stream)
    for at in range(reads.shape[1]):
        part = ((stream + moved) * vectors[reads[own, at]]).sum(dim=-1)
        moved += (amounts[own, at] - keeps[own, at] * part)[:, None] * vectors[writes[own, at]]
    norms[: len(hidden)] = (stream + moved).norm(dim=-1)
    return torch.where((own > 0)[:, None], (hidden.to(torch.float32) + moved).to(hidden.dtype), hidden)


def _steer_nothing(hidden: Tensor, *_: Any) -> Tensor:
    """Stand in for `steer` while tracing."""
    return torch.empty_like(hidden)


LIBRARY.define("steer" + torch.library.infer_schema(steer, mutates_args=("norms",)))
LIBRARY.impl("steer", steer, "CompositeExplicitAutograd")
torch.library.register_fake("amygdala_tl::steer", _steer_nothing, lib=LIBRARY)


class _Table(NamedTuple):
    """The edits of one layer, [number, edit] each: see `steer`."""

    reads: Tensor
    writes: Tensor
    keeps: Tensor
    amounts: Tensor


_KINDS = (torch.long, torch.long, torch.float32, torch.float32)


class Steering:
    """Hooks on the layers of a bundle, which come before those of `Projection`, and the buffers that they read."""

    def __init__(
        self, members: Sequence[nn.Module], indices: Sequence[int], vectors: Tensor, rows: int, requests: int
    ) -> None:
        """Hook decoder layers.

        Args:
            members: all decoder layers.
            indices: the bundle's layers.
            vectors: [layer, row, d_model], from `vectors_of`.
            rows: largest number of tokens in a step, padding included.
            requests: largest number of requests in a step.

        Raises:
            ModelError: the convention of a layer's class is unknown.
        """
        device = next(members[indices[0]].parameters()).device
        self._shape = vectors.shape
        self._numbers = torch.zeros(rows, dtype=torch.long, device=device)
        self._used = 0  # rows of `numbers` that may differ from 0
        self._chosen: list[list[Edit]] = []
        self._measured: dict[str, list[Tensor]] | None = {}
        self._tables: list[_Table] = []
        self._norms: list[Tensor] = []
        for column, index in enumerate(indices):
            layer, sizes = members[index], (requests + 1, MOST_EDITS)
            table = _Table(*(torch.zeros(sizes, dtype=kind, device=device) for kind in _KINDS))
            self._tables.append(table)
            self._norms.append(torch.zeros(rows, device=device))
            for name, tensor in (
                ("vectors", vectors[column].to(device).contiguous()),
                ("numbers", self._numbers),
                *table._asdict().items(),
                ("norms", self._norms[column]),
            ):
                layer.register_buffer(f"steering_{name}", tensor, persistent=False)
            layer.register_forward_hook(_HOOKS[required_convention(layer)])

    def watch(self, worker: Any, failures: Failures) -> None:
        """Fill the buffers before every forward pass of a worker's model runner V1, and let `measured_norms` be called on it."""
        runner = worker.model_runner
        prepare = runner._prepare_inputs

        @functools.wraps(prepare)
        def and_fill(scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
            result = prepare(scheduler_output, *args, **kwargs)
            names, starts = list(runner.input_batch.req_ids), starts_of_step(scheduler_output)
            try:
                self.fill(
                    [edits_in(runner.requests[name].sampling_params, self._shape) for name in names],
                    [scheduler_output.num_scheduled_tokens[name] for name in names],
                    [starts[name] == 0 for name in names],
                )
            except Exception as cause:  # must not stop the other requests
                self.fill([], [], [])
                failures.note("engine", cause)
            return result

        runner._prepare_inputs = and_fill
        worker.measured_norms = self.take_norms  # for `Steers.measure`

    def keep_norms(self, runner: Any, requests: Sequence[tuple[str, int]]) -> None:
        """After a forward pass, keep the norms of the requests that are measured, until `take_norms`."""
        if self._measured is None:
            return
        row = 0
        for name, count in requests:
            if is_measured(runner.requests[name].sampling_params):
                norms = torch.stack([each[row : row + count] for each in self._norms]).cpu()
                self._measured.setdefault(name, []).append(norms)
            row += count

    def take_norms(self) -> list[list[list[float]]]:
        """Return the norms [layer][token] of every measured request, and measure no more."""
        found, self._measured = self._measured or {}, None
        return [torch.cat(parts, dim=1).tolist() for parts in found.values()]

    def fill(self, edits: Sequence[list[Edit]], counts: Sequence[int], begin: Sequence[bool]) -> None:
        """Fill the buffers for a step of these requests: their edits, numbers of tokens, and whether they begin in it."""
        chosen = [each for each in edits if each]
        if not chosen and not self._used:
            return
        if chosen != self._chosen:
            self._write(chosen)
        numbers: list[int] = []
        number = 0
        for own, count, first in zip(edits, counts, begin, strict=True):
            number += bool(own)
            numbers += [number if own else 0] * count
            if own and first:  # position 0 is an attention sink, and no edit of the causal check touches it
                numbers[-count] = 0
        used = len(numbers) if chosen else 0
        padded = torch.tensor(numbers[:used] + [0] * (self._used - used), dtype=torch.long)
        self._numbers[: len(padded)].copy_(padded)
        self._used = used

    def _write(self, chosen: Sequence[list[Edit]]) -> None:
        for column, buffers in enumerate(self._tables):
            table = _Table(*(torch.zeros_like(buffer, device="cpu") for buffer in buffers))
            for number, edits in enumerate(chosen, start=1):
                for at, edit in enumerate(edit for edit in edits if edit.column == column):
                    table.reads[number, at] = edit.read
                    table.writes[number, at] = edit.write
                    table.keeps[number, at] = edit.keep
                    table.amounts[number, at] = edit.amount
            for buffer, filled in zip(buffers, table, strict=True):
                buffer.copy_(filled)
        self._chosen = list(chosen)


def _hook_first(module: nn.Module, _inputs: Any, output: Any) -> Any:
    return _edited(module, output, split_output(output)[0], None)


def _hook_sum(module: nn.Module, _inputs: Any, output: Any) -> Any:
    return _edited(module, output, *split_output(output))


def _edited(module: Any, output: Any, hidden: Tensor, residual: Tensor | None) -> Any:
    found = torch.ops.amygdala_tl.steer(
        hidden,
        residual,
        module.steering_vectors,
        module.steering_numbers,
        module.steering_reads,
        module.steering_writes,
        module.steering_keeps,
        module.steering_amounts,
        module.steering_norms,
    )
    if isinstance(output, Tensor):
        return found.reshape(output.shape)
    return (found.reshape(output[0].shape), *output[1:])


_HOOKS = {"sum": _hook_sum, "first": _hook_first, "tensor": _hook_first, "sum-if-not-none": _hook_sum}
