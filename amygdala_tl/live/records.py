"""What a server tells of its readouts, as frozen records.

Scores are raw projections h.v in the units of the residual stream, NaN in rows of positions that were not computed (never zero).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from amygdala_tl.errors import LiveReadoutError

Array = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """The readout that a server serves.

    Attributes:
        concepts, layers: order of the axes of every score.
        model: what the bundle calls the model it was trained on; empty where it does not say.
        mean, std: calibration over single tokens, None where the bundle carries none.
        manifest: the whole manifest, as the server sent it.
    """

    concepts: tuple[str, ...]
    layers: tuple[int, ...]
    model: str
    mean: Float[Array, "layer concept"] | None
    std: Float[Array, "layer concept"] | None
    manifest: Mapping[str, Any]

    @property
    def calibrated(self) -> bool:
        """Whether there are z-scores."""
        return self.mean is not None

    def z(self, scores: Float[Array, "*rows layer concept"]) -> Float[Array, "*rows layer concept"]:
        """(scores - mean) / std of single tokens, in standard deviations of what ordinary tokens score.

        Raises:
            LiveReadoutError: the bundle carries no calibration.
        """
        if self.mean is None or self.std is None:
            raise LiveReadoutError(
                "the served readout has no calibration over single tokens",
                remedy="use the raw scores, or export the readout with `amygdala-tl fit` and `export`",
            )
        return (scores - self.mean) / self.std


@dataclass(frozen=True, slots=True, eq=False)
class Generated:
    """Tokens that the server has just generated: one event of the stream, of one token where the answer is streamed.

    Attributes:
        request_id: of the completion.
        index: which of its choices.
        first: which generated token is the first of these, from 0.
        token_ids: of the tokens.
        text: what they stand for together.
        scores: of the stream that each token was sampled from.
    """

    request_id: str
    index: int
    first: int
    token_ids: tuple[int, ...]
    text: str
    scores: Float[Array, "token layer concept"]


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """Every position of one sequence of a request.

    Attributes:
        request_id: of the completion; with `-0`, `-1`, ... behind it where it has several prompts.
        index: which of its choices.
        finished: no more tokens will come.
        prompt_tokens: how many of `token_ids` are the prompt.
        token_ids: prompt and generated tokens.
        scores: of the stream at each token.
    """

    request_id: str
    index: int
    finished: bool
    prompt_tokens: int
    token_ids: tuple[int, ...]
    scores: Float[Array, "token layer concept"]
