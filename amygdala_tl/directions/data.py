"""Records that estimators take and return: labelled activations in, an estimate out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor


@runtime_checkable
class LabelledTexts(Protocol):
    """Labelled texts with activations that come in parts, so that memory need not grow with their number.

    `LabelledActivations` holds its activations and is one part; the texts of a store are read from it in each pass.
    """

    @property
    def positive(self) -> Bool[Tensor, "text concept"]:
        """True where the text is an example of the concept."""

    @property
    def negative(self) -> Bool[Tensor, "text concept"]:
        """True where it is an example of the concept's absence."""

    @property
    def groups(self) -> Int[Tensor, " text"]:
        """Equal for texts that no fold may separate."""

    @property
    def grades(self) -> Float[Tensor, "text concept"] | None:
        """Strength of the concept in the text, if labels are graded."""

    @property
    def n_layers(self) -> int:
        """Number of layers of the activations."""

    @property
    def d_model(self) -> int:
        """Number of coordinates of the activations."""

    def passes(
        self, layer: int | None = None, rows: Int[Tensor, " row"] | None = None
    ) -> Iterator[tuple[Int[Tensor, " _"], "LabelledActivations"]]:
        """Pass over the texts once, in parts: the rows of a part, and the part.

        Args:
            layer: place of the only layer to read; all layers if None.
            rows: the texts to read; all if None.
        """

    def whole(self, layer: int | None = None) -> "LabelledActivations":
        """Return all texts with their activations at once, of one layer or of all."""

    def sample(self) -> "LabelledActivations":
        """Return the texts that methods are compared on, with their activations at all layers."""


@dataclass(frozen=True, slots=True)
class LabelledActivations:
    """Activations and labels of texts.

    Attributes:
        activations: [text, layer, d_model] in the units of the residual stream.
        positive: [text, concept], True where the text is an example of the concept.
        negative: [text, concept], True where it is an example of the concept's absence; a text may be neither.
        groups: [text], equal for texts of one day, scene or pair; no fold cuts a group.
        grades: [text, concept], strength of the concept in the text, 0-1 (tag score / 10; 0 without the tag), NaN where it is
            unknown; None for labels without grades.
        spread: [text, layer, component, d_model], the leading principal directions of each text's tokens about the text's
            activation, each as long as the tokens' deviation along it; None if they were not captured.
    """

    activations: Float[Tensor, "text layer d_model"]
    positive: Bool[Tensor, "text concept"]
    negative: Bool[Tensor, "text concept"]
    groups: Int[Tensor, " text"]
    grades: Float[Tensor, "text concept"] | None = None
    spread: Float[Tensor, "text layer component d_model"] | None = None

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return self.activations.shape[1]

    @property
    def d_model(self) -> int:
        """Number of coordinates."""
        return self.activations.shape[2]

    def passes(
        self, layer: int | None = None, rows: Int[Tensor, " row"] | None = None
    ) -> Iterator[tuple[Int[Tensor, " _"], "LabelledActivations"]]:
        """Yield the rows and the texts as one part (see `LabelledTexts`)."""
        part = self.whole(layer)
        yield (torch.arange(len(self.groups)), part) if rows is None else (rows, part.take(rows))

    def whole(self, layer: int | None = None) -> "LabelledActivations":
        """Return the texts with the activations of one layer, or as they are."""
        if layer is None:
            return self
        at = slice(layer, layer + 1)
        return replace(
            self, activations=self.activations[:, at], spread=None if self.spread is None else self.spread[:, at]
        )

    def sample(self) -> "LabelledActivations":
        """Return all texts (see `LabelledTexts`)."""
        return self

    def take(self, texts: Bool[Tensor, " text"] | Int[Tensor, " row"]) -> "LabelledActivations":
        """Keep the texts where `texts` is True, or the texts of these rows, in this order."""
        return LabelledActivations(
            activations=self.activations[texts],
            positive=self.positive[texts],
            negative=self.negative[texts],
            groups=self.groups[texts],
            grades=None if self.grades is None else self.grades[texts],
            spread=None if self.spread is None else self.spread[texts],
        )

    def of_concepts(self, concepts: Bool[Tensor, " concept"]) -> "LabelledActivations":
        """Keep the labels of the concepts where `concepts` is True, and all texts."""
        return replace(
            self,
            positive=self.positive[:, concepts],
            negative=self.negative[:, concepts],
            grades=None if self.grades is None else self.grades[:, concepts],
        )

    def pairs(self, concept: int) -> Int[Tensor, "pair 2"] | None:
        """Find the rows (positive, negative) of every group; None unless each group of the concept has exactly one of each."""
        plus, minus = (labels[:, concept].nonzero()[:, 0] for labels in (self.positive, self.negative))
        plus, minus = (rows[self.groups[rows].argsort(stable=True)] for rows in (plus, minus))
        groups = self.groups[plus]
        if not len(plus) or len(torch.unique(groups)) != len(plus) or not torch.equal(groups, self.groups[minus]):
            return None
        return torch.stack([plus, minus], dim=1)

    def complete(self) -> Bool[Tensor, " concept"]:
        """Find the concepts with a text in each class."""
        return self.positive.any(dim=0) & self.negative.any(dim=0)

    def scores(self, directions: Float[Tensor, "concept layer d_model"]) -> Float[Tensor, "layer text concept"]:
        """Project every text's activation onto the directions of its layer, in float32."""
        return einsum(
            self.activations.float(), directions, "text layer d_model, concept layer d_model -> layer text concept"
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """Vectors from an estimator.

    Attributes:
        vectors: [concept, layer, d_model] of any length; their scale has no meaning.
        parameters: choices made while fitting (a penalty's strength, a shrinkage), JSON-ready, for the manifest.
    """

    vectors: Float[Tensor, "concept layer d_model"]
    parameters: Mapping[str, Any] = field(default_factory=dict)
