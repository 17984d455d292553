"""What an estimator is given: activations of texts, and what is known of the texts."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class LabelledActivations:
    """Activations of texts with their labels.

    Attributes:
        activations: [text, layer, d_model] in the units of the residual stream.
        positive: [text, concept], True where the text is an example of the concept.
        negative: [text, concept], True where it is an example of the concept's absence; a text may be neither.
        groups: [text], equal for texts of one day, scene or pair; no fold cuts a group.
        grades: [text, concept], how strongly the text carries the concept, 0-1 (tag score / 10; 0 without the tag), NaN
            where that is not known; None where labels are not graded.
        spread: [text, layer, component, d_model], the leading principal directions of each text's tokens about the text's
            activation, each as long as the tokens' deviation along it; None where they were not captured.
    """

    activations: Float[Tensor, "text layer d_model"]
    positive: Bool[Tensor, "text concept"]
    negative: Bool[Tensor, "text concept"]
    groups: Int[Tensor, " text"]
    grades: Float[Tensor, "text concept"] | None = None
    spread: Float[Tensor, "text layer component d_model"] | None = None

    def take(self, texts: Bool[Tensor, " text"]) -> "LabelledActivations":
        """The texts where `texts` is True."""
        return self.take_rows(texts.nonzero()[:, 0])

    def take_rows(self, rows: Int[Tensor, " row"]) -> "LabelledActivations":
        """The texts of these numbers, in this order."""
        return LabelledActivations(
            activations=self.activations[rows],
            positive=self.positive[rows],
            negative=self.negative[rows],
            groups=self.groups[rows],
            grades=None if self.grades is None else self.grades[rows],
            spread=None if self.spread is None else self.spread[rows],
        )

    def of_concepts(self, concepts: Bool[Tensor, " concept"]) -> "LabelledActivations":
        """The same texts with the labels of the concepts where `concepts` is True."""
        return replace(
            self,
            positive=self.positive[:, concepts],
            negative=self.negative[:, concepts],
            grades=None if self.grades is None else self.grades[:, concepts],
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an estimator gives.

    Attributes:
        vectors: [concept, layer, d_model] of any length; their scale means nothing.
        parameters: what was chosen on the way (a penalty's strength, a shrinkage), JSON-ready, for the manifest.
    """

    vectors: Float[Tensor, "concept layer d_model"]
    parameters: Mapping[str, Any] = field(default_factory=dict)


def ungrouped(
    activations: Float[Tensor, "text layer d_model"],
    positive: Bool[Tensor, "text concept"],
    negative: Bool[Tensor, "text concept"],
) -> LabelledActivations:
    """Labelled activations of texts that each stand alone."""
    return LabelledActivations(activations, positive, negative, torch.arange(len(activations)))
