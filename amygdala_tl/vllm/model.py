"""A checkpoint in vLLM, which `capture` takes in place of a `Lens`."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.activations.engine import PoolingEngine, together
from amygdala_tl.activations.plan import PlannedShard
from amygdala_tl.activations.pooling import PooledTexts
from amygdala_tl.errors import ModelError
from amygdala_tl.lens.tokenize import TokenizedText
from amygdala_tl.records import CaptureSettings, ModelInfo
from amygdala_tl.vllm.offline import Engine
from amygdala_tl.vllm.parcels import Prompt, Wanted

_BLOCK = 16
"""Tokens of the smallest block in vLLM's caches."""

_TEXTS, _BYTES = 512, 1 << 28
"""The workers return what they have pooled after so many texts, and at about so many bytes."""


class VllmModel(PoolingEngine):
    """A checkpoint that runs in vLLM. It gives activations and nothing else; its processes end with `close` or a `with` block.

    Attributes:
        engine: vLLM's processes.
        info, tokenizer, vocabulary, on_cpu: see `PoolingEngine`.
    """

    def __init__(self, engine: Engine, info: ModelInfo, tokenizer: Any, vocabulary: int) -> None:
        self.info, self.tokenizer, self.vocabulary, self.engine = info, tokenizer, vocabulary, engine
        self.on_cpu = not torch.cuda.is_available()

    def __repr__(self) -> str:
        info = self.info
        return f"VllmModel({info.id}: {info.architecture}, {info.n_layers} layers of {info.d_model}, {info.dtype})"

    def __enter__(self) -> "VllmModel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop vLLM's processes and free their memory."""
        self.engine.close()

    def streams(self, prompts: Sequence[Sequence[int]], layers: Sequence[int]) -> Float[Tensor, "token layer d_model"]:
        return streams(self.engine, prompts, layers)

    def pooled_shards(
        self, plan: Sequence[PlannedShard], said: CaptureSettings, batch_size: int | None
    ) -> Iterator[tuple[int, PooledTexts]]:
        return together(plan, partial(self.pooled, said=said))

    def pooled(
        self,
        texts: Sequence[TokenizedText],
        drawn: Sequence[Sequence[int]],
        layers: Sequence[int],
        said: CaptureSettings,
    ) -> Iterator[PooledTexts]:
        """Run texts, and yield what `pool_batch` keeps of them, part by part in any order.

        Args:
            texts: with tokens of their own.
            drawn: for each text, the positions of its sampled tokens.
            layers: decoder layers.
            said: read positions and components to keep.

        Raises:
            ModelError: vLLM returned nothing for some texts.
        """
        if not texts:
            return
        rows = len(layers) * (3 + said.token_components + max(map(len, drawn)))
        at_once = max(1, min(_TEXTS, _BYTES // (4 * rows * self.info.d_model)))
        waiting = sorted(range(len(texts)), key=lambda index: texts[index].last, reverse=True)
        for from_cache in (True, False):  # the second time for texts that have lost tokens to the cache
            prompts = _prompts(texts, drawn, waiting, from_cache=from_cache)
            returned: set[int] = set()
            for parcel in self.engine.run(prompts, layers, said, at_once=at_once):
                returned |= {*parcel.numbers, *parcel.broken}
                yield PooledTexts(parcel.numbers, parcel.pooled, parcel.broken)
            if not (waiting := [index for index in waiting if index not in returned]):
                return
        what, got = "vLLM returned nothing for some texts", f"{len(waiting)} of {len(texts)}"
        raise ModelError(what, label=self.info.id, got=got, remedy="capture with TransformerLens")


def streams(
    engine: Engine, prompts: Sequence[Sequence[int]], layers: Sequence[int]
) -> Float[Tensor, "token layer d_model"]:
    """Return the residual stream of all tokens of all prompts in order; see `VllmModel.streams`."""
    found: dict[int, Tensor] = {}
    for parcel in engine.run(whole(prompts), layers):
        found |= parcel.whole
    return torch.cat([found[number] for number in range(len(prompts))])


def whole(prompts: Sequence[Sequence[int]]) -> list[Prompt]:
    """Ask for all rows of these prompts."""
    return [Prompt(ids, Wanted(at, b"\1" * len(ids), whole=True), anew=True) for at, ids in enumerate(prompts)]


def _prompts(
    texts: Sequence[TokenizedText], drawn: Sequence[Sequence[int]], chosen: Sequence[int], *, from_cache: bool
) -> list[Prompt]:
    """Return the prompts of the chosen texts, up to their last token.

    Tokens of a template may come from the cache. A text's own must run, so a text reads no cache if an earlier one has the same
    first block with tokens of a text in it.
    """
    prompts, seen = [], set[int]()
    for index in chosen:
        text = texts[index]
        content = bytes(text.content[: text.last + 1])
        block = hash(text.ids[: (content.index(1) // _BLOCK + 1) * _BLOCK])
        wanted = Wanted(index, content, text.last_content, tuple(drawn[index]))
        prompts.append(Prompt(text.ids[: len(content)], wanted, block in seen or not from_cache))
        seen.add(block)
    return prompts
