"""What `capture` asks of an engine that pools its texts itself, such as vLLM, in place of a `Lens`."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from amygdala_tl.activations.pooling import PooledTexts
from amygdala_tl.lens.tokenize import TokenizedText
from amygdala_tl.records import CaptureSettings, ModelInfo


class PoolingEngine(ABC):
    """A model in an engine that pools its texts itself.

    Attributes:
        info: which model it is.
        tokenizer: Hugging Face tokenizer, which makes all token ids.
        vocabulary: number of token ids that the model knows.
    """

    info: ModelInfo
    tokenizer: Any
    vocabulary: int

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
