"""What the causal check plans and finds, as frozen records that become JSON and come back from it.

Numbers are floats, not tensors. One that was not measured is None, or NaN where the record has a plain float; JSON has null for
both.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from amygdala_tl.steering.settings import ABLATION_PLACES, DEFAULTS, FEWEST, AblationPlace, EraseMethod

if TYPE_CHECKING:
    Number = float
else:
    Number = Annotated[float | None, "NaN for null"]
"""A float that is NaN where it was not measured; the decoder finds null there."""

SteeringVerdict = Literal["steers", "reads only", "neither"]

_WITH_NUMBERS = (Number, tuple[Number, ...], tuple[tuple[Number, ...], ...])


class _Measured:
    """Base of records with numbers: turns the decoder's None into NaN."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for each in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            if each.type in _WITH_NUMBERS:
                object.__setattr__(self, each.name, _nan_for_none(getattr(self, each.name)))


def _nan_for_none(value: Any) -> Any:
    return tuple(map(_nan_for_none, value)) if isinstance(value, tuple) else math.nan if value is None else value


@dataclass(frozen=True, slots=True)
class SteeringPlan:
    """What is checked, and with how many controls.

    Attributes:
        concepts: names, in the order of every concept axis.
        layers: where directions are added, as indices from 0.
        doses: ascending, the first is 0; in units of the mean residual norm at the layer.
        random: random directions of each of the two kinds (isotropic, orthogonal to the concepts).
        most_loss: a dose breaks the model where plain texts lose more than this, nats a token (0.69 doubles the perplexity).
        level: of significance, over all concepts; layers and doses are looks of a concept's one test.
        seed: of random directions, bootstrap and generations.
        ablate: where concepts are taken out of texts that carry them.
        erase: how; reports of older versions know `project` only.
        probe_texts: texts of each class that refitted probes see.
    """

    concepts: tuple[str, ...]
    layers: tuple[int, ...]
    doses: tuple[float, ...]
    random: int = DEFAULTS.random
    most_loss: float = 0.69
    level: float = 0.05
    seed: int = 0
    ablate: tuple[AblationPlace, ...] = ABLATION_PLACES
    erase: tuple[EraseMethod, ...] = ("project",)
    probe_texts: int = 0

    @property
    def ablation_controls(self) -> int:
        """A fifth of the random directions of a kind, but 20 if there are so many: each concept runs them anew at each place."""
        return min(self.random, max(2 * FEWEST, self.random // 5))

    @property
    def least_p(self) -> float:
        """The smallest corrected p that any effect can have, from the number of random directions of both kinds."""
        n = len(self.concepts)  # a random direction has one number for all layers and doses, its largest
        return n / (1 + n * 2 * self.random)


@dataclass(frozen=True, slots=True)
class DoseEffect(_Measured):
    """One concept's direction added at one layer in one dose.

    Attributes:
        dose: in units of the mean residual norm.
        effect: shift of the log-probability of the concept's words against the other concepts' words, mean over prompts, nats.
        low, high: its 95% interval over prompts.
        wrong_way: share of prompts whose effect is below 0.
        t: effect in deviations of the random directions' effects on the same words.
        p_value: one-sided, of the concept's largest effect, against that of random directions and, where there are any,
            shuffled-label directions (the larger of the two), corrected over concepts; layers and doses are looks of one test.
        random_mean, random_deviation: of the random directions' effects.
        reads: shift of the concept's readout at a later layer, as z; readout and direction come from different texts.
        reads_beyond: the same without the added vector itself, which passes through the stream.
        reads_random: deviation of that shift over random directions.
        kl: from the unsteered model on plain texts, nats a token.
        loss: rise of the negative log-likelihood of plain texts, nats a token.
        random_kl, random_loss: the same of random directions, means.
        by_prompt: the effect after every prompt, whose mean is `effect`, so that two runs can be compared prompt by prompt.
    """

    dose: float
    effect: Number
    low: Number
    high: Number
    wrong_way: Number
    t: float | None
    p_value: float | None
    random_mean: Number
    random_deviation: Number
    reads: float | None
    reads_beyond: float | None
    reads_random: float | None
    kl: Number
    loss: Number
    random_kl: Number
    random_loss: Number
    by_prompt: tuple[Number, ...] = ()


@dataclass(frozen=True, slots=True)
class Refit(_Measured):
    """A probe of one concept, fitted anew on texts from which the concept has been taken out, read on texts of other groups.

    Attributes:
        layer: where it reads.
        before, after, random: AUROC without any edit, with the concept and with a control taken out; the probe is fitted on texts
            that the erasure was fitted on too.
        unseen_before, unseen: the same without any edit and with the concept taken out, of a probe that is fitted on texts that
            the erasure has not seen (see `probing`).
    """

    layer: int
    before: Number
    after: Number
    random: Number
    unseen_before: Number
    unseen: Number


@dataclass(frozen=True, slots=True)
class Ablation(_Measured):
    """A concept taken out of texts that carry it.

    Attributes:
        layers: one, all of the plan, or every one that can be.
        texts: how many.
        fall: of the log-probability of the concept's words against the others' after the text, nats.
        low, high: its 95% interval over texts; None for a single text.
        random_mean, random_deviation: of the fall when the method's controls are taken out (see `erasing`).
        p_value: one-sided, corrected over concepts and places.
        reads_fall: fall of the concept's readout at a later layer, as z; `reads_random` the same of controls.
        method: how.
        loss: rise of the negative log-likelihood of plain texts, nats a token; `random_loss` the same of controls.
        refits: what a probe fitted anew reads at this layer and later ones; empty without activations of the corpus.
    """

    layers: tuple[int, ...]
    texts: int
    fall: Number
    low: float | None
    high: float | None
    random_mean: Number
    random_deviation: Number
    p_value: float | None
    reads_fall: float | None
    reads_random: float | None
    method: EraseMethod = "project"
    loss: float | None = None
    random_loss: float | None = None
    refits: tuple[Refit, ...] = ()

    @property
    def refit(self) -> Refit | None:
        """The refitted probe at the last layer where the concept is taken out."""
        return next((each for each in self.refits if each.layer == self.layers[-1]), None)


@dataclass(frozen=True, slots=True)
class LayerSteering(_Measured):
    """One concept's direction at one layer.

    Attributes:
        layer: index from 0.
        doses: one a dose above 0, ascending.
        spearman: rank correlation of dose and effect, 0 included.
        slope: effect a unit of dose, over the doses that do not break.
        breaks_at: the smallest dose at which plain texts lose more than the plan allows, or the effect falls with the dose.
        ablation: None where no text carries the concept.
    """

    layer: int
    doses: tuple[DoseEffect, ...]
    spearman: Number
    slope: float | None
    breaks_at: float | None
    ablation: Ablation | None = None


@dataclass(frozen=True, slots=True)
class ConceptSteering:
    """What the check says of one concept.

    Attributes:
        concept: its name.
        verdict, reason: what to believe, and why, in one sentence.
        layer, dose: recommended: the largest effect of those that pass. None unless it steers.
        words: that count.
        layers: one a layer of the plan.
        ablation_together: the concept taken out at all layers of the plan, by the plan's first method.
        ablation_everywhere: the same at every layer that can be.
        ablations: by all methods at all places; those above and that of each layer are among them.
    """

    concept: str
    verdict: SteeringVerdict
    reason: str
    layer: int | None
    dose: float | None
    words: tuple[str, ...]
    layers: tuple[LayerSteering, ...]
    ablation_together: Ablation | None = None
    ablation_everywhere: Ablation | None = None
    ablations: tuple[Ablation, ...] = ()

    @property
    def best(self) -> DoseEffect | None:
        """The recommended dose's effect; None unless it steers."""
        return next(
            (at for of in self.layers for at in of.doses if of.layer == self.layer and at.dose == self.dose), None
        )


@dataclass(frozen=True, slots=True)
class CausalCrossTalk(_Measured):
    """Effect of adding one concept's direction on all concepts' words.

    Attributes:
        layer, dose: where, and how much.
        effect: [added][moved] in nats.
        p_value: [added][moved], one-sided against random directions, not corrected.
    """

    layer: int
    dose: float
    effect: tuple[tuple[Number, ...], ...]
    p_value: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True, slots=True)
class Heard(_Measured):
    """How well a bag of words of the corpus tells a concept's continuations from the other concepts' at the same dose.

    Attributes:
        concept, dose: what was added, and how much.
        texts: number of the concept's continuations.
        auroc, low, high: with its 95% interval over prompts and noises; NaN where the corpus has no example of the concept.
    """

    concept: str
    dose: float
    texts: int
    auroc: Number
    low: Number
    high: Number


@dataclass(frozen=True, slots=True)
class SteeringReport:
    """The causal check of a readout.

    Attributes:
        plan: what was checked.
        model: id of the model.
        norms: layer -> mean residual norm, the unit of dose.
        prompts: how many open prompts.
        controls: kind of control -> how many directions a layer.
        concepts: in the plan's order.
        crosstalk: one a layer and dose.
        heard: one a concept and dose above 0; empty without generations or without a corpus.
    """

    plan: SteeringPlan
    model: str
    norms: Mapping[int, float]
    prompts: int
    controls: Mapping[str, int]
    concepts: tuple[ConceptSteering, ...]
    crosstalk: tuple[CausalCrossTalk, ...]
    heard: tuple[Heard, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The report as JSON-ready values; a number that was not measured is None."""
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return found


@dataclass(frozen=True, slots=True)
class Sample:
    """One generation.

    Attributes:
        concept, layer, dose: what was added, where, and how much.
        prompt: with the chat template, if it is in one.
        seed: of the noise; the same at every dose.
        text: what the model said.
        repetition: share of three-token sequences that repeat earlier ones.
    """

    concept: str
    layer: int
    dose: float
    prompt: str
    seed: int
    text: str
    repetition: float
