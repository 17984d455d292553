"""Frozen records of a server's readouts.

Scores are raw projections h.v in the units of the residual stream, and NaN (never zero) at positions that were not computed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from amygdala_tl.errors import LiveReadoutError
from amygdala_tl.records import LengthCalibration

Array = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class CombinedScore:
    """One score of each concept from all layers, with its calibration over single tokens.

    Attributes:
        weights: of the raw scores.
        mean, std: of the weighted sum.
        lengths: how sums of means vary with the number of tokens, with a layer axis of length 1; None if the bundle does not say.
    """

    weights: Float[Array, "layer concept"]
    mean: Float[Array, " concept"]
    std: Float[Array, " concept"]
    lengths: LengthCalibration | None = None

    def scores(self, scores: Float[Array, "*rows layer concept"]) -> Float[Array, "*rows concept"]:
        """Sum raw scores over layers, in standard deviations of a layer's scores."""
        total: Float[Array, "*rows concept"] = (scores * self.weights).sum(axis=-2, dtype=np.float32)
        return total

    def z(self, scores: Float[Array, "*rows layer concept"], *, tokens: Any = 1) -> Float[Array, "*rows concept"]:
        """Turn raw scores into z of their sum; `tokens` as for `Served.z`."""
        return self.z_of_sum(self.scores(scores), tokens=tokens)

    def z_of_sum(self, total: Float[Array, "*rows concept"], *, tokens: Any = 1) -> Float[Array, "*rows concept"]:
        """Turn sums over layers, such as `Generated.combined`, into z; `tokens` as for `Served.z`."""
        std = self.std if self.lengths is None else self.std * _shrinkage(self.lengths, tokens)[..., 0, :]
        z: Float[Array, "*rows concept"] = ((total - self.mean) / std).astype(np.float32)
        return z


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """The readout that a server serves.

    Attributes:
        concepts, layers: order of the axes of every score.
        model: the bundle's name for the model it was trained on, or an empty string.
        mean, std: calibration over single tokens, None if the bundle has no calibration.
        manifest: the whole manifest, as the server sent it.
        digest: of the manifest's bytes; another one is another readout.
        reading_layer: layer that most concepts are read at.
        lengths: how scores of means vary with the number of tokens, None if the bundle does not say.
        combined: the score over all layers, None if the bundle has none.
        unread: concepts that nothing shows to be read, with their verdicts.
    """

    concepts: tuple[str, ...]
    layers: tuple[int, ...]
    model: str
    mean: Float[Array, "layer concept"] | None
    std: Float[Array, "layer concept"] | None
    manifest: Mapping[str, Any]
    digest: str = ""
    reading_layer: int | None = None
    lengths: LengthCalibration | None = None
    combined: CombinedScore | None = None
    unread: Mapping[str, str] = field(default_factory=dict)

    @property
    def calibrated(self) -> bool:
        """Whether the readout has z-scores."""
        return self.mean is not None

    def z(self, scores: Float[Array, "*rows layer concept"], *, tokens: Any = 1) -> Float[Array, "*rows layer concept"]:
        """Return (scores - mean) / std, in standard deviations of the scores of ordinary tokens.

        Args:
            scores: raw.
            tokens: how many tokens each score is the mean of: a number, or an array [*rows]. A bundle without a calibration of
                lengths ignores it.

        Raises:
            LiveReadoutError: the bundle has no calibration.
        """
        if self.mean is None or self.std is None:
            raise LiveReadoutError(
                "the served readout has no calibration over single tokens",
                remedy="use the raw scores, or export the readout with `amygdala-tl fit` and `export`",
            )
        std = self.std if self.lengths is None else self.std * _shrinkage(self.lengths, tokens)
        z: Float[Array, "*rows layer concept"] = ((scores - self.mean) / std).astype(scores.dtype)
        return z


def _shrinkage(lengths: LengthCalibration, tokens: Any) -> Any:
    """Return the deviation of means [*rows, layer, concept] as a share of a single token's."""
    return lengths.shrinkage(np.asarray(tokens)[..., None] if np.ndim(tokens) else tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Generated:
    """Tokens that the server has just generated: one event of the stream, with one token if the answer is streamed.

    Attributes:
        request_id: id of the completion; a server that keeps texts to itself sends an opaque name instead.
        index: index of the choice.
        first: index of the first of these tokens among the generated ones, from 0.
        token_ids: ids of the tokens, or none if the server keeps texts to itself.
        text: their text, or an empty string.
        scores: scores of the residual stream from which each token was sampled.
        combined: the same over all layers, raw; None for a readout without that score.
    """

    request_id: str
    index: int
    first: int
    token_ids: tuple[int, ...]
    text: str
    scores: Float[Array, "token layer concept"]
    combined: Float[Array, "token concept"] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """Every position of one sequence of a request.

    Attributes:
        request_id: id of the completion, followed by `-0`, `-1`, ... if it has several prompts.
        index: index of the choice.
        finished: whether the sequence is complete.
        prompt_tokens: number of prompt tokens in `token_ids`.
        token_ids: prompt and generated tokens, or none if the server keeps texts to itself.
        scores: scores of the residual stream at each token.
        combined: the same over all layers, raw; None for a readout without that score.
    """

    request_id: str
    index: int
    finished: bool
    prompt_tokens: int
    token_ids: tuple[int, ...]
    scores: Float[Array, "token layer concept"]
    combined: Float[Array, "token concept"] | None = None
