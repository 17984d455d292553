"""What `capture` asks of an engine that pools its texts itself, such as vLLM, in place of a `Lens`."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from amygdala_tl.activations.plan import PlannedShard
from amygdala_tl.activations.pooling import PooledTexts
from amygdala_tl.lens.tokenize import TokenizedText
from amygdala_tl.records import CaptureSettings, ModelInfo


class PoolingEngine(ABC):
    """A model in an engine that pools its texts itself.

    Attributes:
        info: which model it is.
        tokenizer: Hugging Face tokenizer, which makes all token ids.
        vocabulary: number of token ids that the model knows.
        on_cpu: whether it runs on a CPU.
    """

    info: ModelInfo
    tokenizer: Any
    vocabulary: int
    on_cpu: bool = False

    @abstractmethod
    def streams(self, prompts: Sequence[Sequence[int]], layers: Sequence[int]) -> Float[Tensor, "token layer d_model"]:
        """Return the residual stream of all tokens of all prompts in order, float32 on the CPU.

        Raises:
            ModelError: the engine fails.
        """

    @abstractmethod
    def pooled_shards(
        self, plan: Sequence[PlannedShard], said: CaptureSettings, batch_size: int | None
    ) -> Iterator[tuple[int, PooledTexts]]:
        """Run the texts of some shards, and yield what `pool_batch` keeps of them, each part after the number of its shard.

        Parts come in any order. Positions in a part are those in its shard.

        Args:
            plan: the shards.
            said: read positions and components to keep, see `pool_batch`.
            batch_size: most texts a batch, where the engine does not decide.

        Raises:
            ModelError: the engine fails.
        """


Pool = Callable[[Sequence[TokenizedText], Sequence[Sequence[int]], Sequence[int]], Iterable[PooledTexts]]
"""Texts, the positions of the sampled tokens of each, and layers -> what `pool_batch` keeps of the texts, part by part."""


def together(plan: Sequence[PlannedShard], pool: Pool) -> Iterator[tuple[int, PooledTexts]]:
    """Run the texts of several shards at once, and take the parts apart again: see `PoolingEngine.pooled_shards`."""
    by_layers = defaultdict[tuple[int, ...], list[int]](list)
    for number, shard in enumerate(plan):
        by_layers[shard.layers].append(number)
    for layers, numbers in by_layers.items():
        places = [(number, place) for number in numbers for place in range(len(plan[number].ids))]
        texts = [plan[number].texts[place] for number, place in places]
        drawn = [plan[number].drawn[place] for number, place in places]
        for part in pool(texts, drawn, layers):
            yield from _by_shard(part, places)


def _by_shard(part: PooledTexts, places: Sequence[tuple[int, int]]) -> Iterator[tuple[int, PooledTexts]]:
    """Take a part of a run apart, given the shard of each text and its place there."""
    rows, broken = defaultdict[int, list[int]](list), defaultdict[int, list[int]](list)
    for row, index in enumerate(part.indices):
        rows[places[index][0]].append(row)
    for index in part.not_finite:
        broken[places[index][0]].append(places[index][1])
    for number in sorted({*rows, *broken}):
        indices = [places[part.indices[row]][1] for row in rows[number]]
        pooled = part.pooled.ordered(rows[number]) if part.pooled is not None and indices else None
        yield number, PooledTexts(indices, pooled, broken[number])
