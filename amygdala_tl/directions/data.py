"""Records that estimators take and return: labelled activations in, an estimate out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor


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
