"""What `capture` asks of an engine that pools its texts itself, such as vLLM, in place of a `Lens`."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
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
            said: read positions and components to keep, see `pool_batch`.

        Raises:
            ModelError: the engine fails.
        """

    def pooled_shards(
        self,
        plan: Sequence[PlannedShard],
        said: CaptureSettings,
        batch_size: int | None,  # for engines that do not decide themselves
    ) -> Iterator[tuple[int, PooledTexts]]:
        """Run the texts of some shards, and yield parts of them in any order, each after the number of its shard.

        Positions in a part are those in its shard. Texts of several shards run at once, as many as the engine takes.

        Args:
            plan: the shards.
            said: see `pooled`.
            batch_size: most texts a batch, where the engine does not decide.

        Raises:
            ModelError: the engine fails.
        """
        together = defaultdict[tuple[int, ...], list[int]](list)
        for number, shard in enumerate(plan):
            together[shard.layers].append(number)
        for layers, numbers in together.items():
            places = [(number, place) for number in numbers for place in range(len(plan[number].ids))]
            texts = [plan[number].texts[place] for number, place in places]
            drawn = [plan[number].drawn[place] for number, place in places]
            for part in self.pooled(texts, drawn, layers, said):
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
