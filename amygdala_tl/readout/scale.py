"""Calibrations of a set of scores, which turn them into z, and the score over all layers with calibrations of its own.

Nothing here imports more than a stock vLLM installs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from einops import einsum
from torch import Tensor

from amygdala_tl.errors import ReadoutError
from amygdala_tl.records import Calibration, LengthCalibration


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """What is known of the scores of ordinary text.

    Attributes:
        texts: mean and deviation of the scores of whole texts at the read position, or None.
        tokens: the same of single tokens without attention sinks, or None.
        lengths: how scores of means vary with the number of tokens, or None; it needs `tokens`.
    """

    texts: Calibration | None = None
    tokens: Calibration | None = None
    lengths: LengthCalibration | None = None

    def of(self, what: Literal["tokens", "texts"]) -> Calibration:
        """Return mean and deviation of the scores of single tokens, or of whole texts.

        Raises:
            ReadoutError: they are not known.
        """
        found = self.texts if what == "texts" else self.tokens
        if found is None:
            remedy = "use raw scores, or train it with amygdala-tl"
            raise ReadoutError(f"the readout has no calibration of {what}", remedy=remedy)
        return found

    def z(self, scores: Tensor, *, of: Literal["tokens", "texts"], tokens: Any = None) -> Tensor:
        """Turn scores [..., layer, concept] into z; arguments and errors as for `Readout.z`."""
        calibration, lengths = self.of(of), self.lengths
        mean, std = calibration.mean, calibration.std
        if lengths is not None and tokens is not None:
            mean = lengths.mean if of == "texts" else mean
            many = tokens.cpu() if isinstance(tokens, Tensor) else tokens
            std = self.of("tokens").std * lengths.shrinkage(many)
        return (scores - mean.to(scores.device)) / std.to(scores.device)

    def of_concepts(self, rows: Sequence[int]) -> "Scale":
        """Return the calibrations of some concepts, by their places."""
        texts, tokens = (
            None if of is None else Calibration(of.mean[:, rows], of.std[:, rows], of.n)
            for of in (self.texts, self.tokens)
        )
        lengths = self.lengths
        if lengths is not None:
            lengths = replace(lengths, mean=lengths.mean[:, rows], floor=lengths.floor[:, rows])
        return Scale(texts, tokens, lengths)


@dataclass(frozen=True, slots=True, eq=False)
class Combined:
    """One score of each concept from all layers: the sum over layers of weight times score.

    The weights are one over the standard deviation of the scores of training texts. No label enters.

    Attributes:
        weights: [layer, concept] float32.
        scale: calibrations of the sum, with a layer axis of length 1.
    """

    weights: Tensor
    scale: Scale

    def scores(self, scores: Tensor) -> Tensor:
        """Sum raw scores [..., layer, concept] over layers: [..., concept], in standard deviations of a layer's scores."""
        return einsum(scores, self.weights.to(scores.device), "... layer concept, layer concept -> ... concept")

    def z(self, scores: Tensor, *, of: Literal["tokens", "texts"], tokens: Any = None) -> Tensor:
        """Turn raw scores [..., layer, concept] into z of their sum, [..., concept]; other arguments as for `Readout.z`."""
        return self.z_of_sum(self.scores(scores), of=of, tokens=tokens)

    def z_of_sum(self, total: Tensor, *, of: Literal["tokens", "texts"], tokens: Any = None) -> Tensor:
        """Turn sums over layers [..., concept] into z; other arguments as for `z`."""
        if isinstance(tokens, Tensor):
            tokens = tokens.amin(dim=-1, keepdim=True).clamp_min(1)
        return self.scale.z(total[..., None, :], of=of, tokens=tokens)[..., 0, :]

    def of_concepts(self, rows: Sequence[int]) -> "Combined":
        """Return the sums of some concepts, by their places."""
        return Combined(self.weights[:, rows], self.scale.of_concepts(rows))
