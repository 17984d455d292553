"""What the causal check finds, as frozen records that become JSON as they are.

Numbers are floats and not tensors; one that was not measured is None.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

SteeringVerdict = Literal["steers", "reads only", "neither"]

AblationPlace = Literal["each", "together", "everywhere"]
"""Where directions are projected out: at each layer of the plan alone, at all of them together, or at every layer of the model,
where a layer that is not in the plan has the directions of the nearest one that is."""

ABLATION_PLACES: tuple[AblationPlace, ...] = ("each", "together", "everywhere")


@dataclass(frozen=True, slots=True)
class SteeringPlan:
    """What is checked, and with how many controls.

    Attributes:
        concepts: names, in the order of every concept axis.
        layers: where directions are added, as indices from 0.
        doses: ascending, the first is 0; in units of the mean residual norm at the layer.
        random: random directions of each of the two kinds (isotropic, orthogonal to the concepts).
        most_loss: a dose breaks the model where plain texts lose more than this, nats a token (0.69 doubles the perplexity).
        level: of the family of all concepts, layers and doses.
        seed: of random directions, bootstrap and generations.
        ablate: where directions are projected out of texts that carry their concept.
    """

    concepts: tuple[str, ...]
    layers: tuple[int, ...]
    doses: tuple[float, ...]
    random: int = 20
    most_loss: float = 0.69
    level: float = 0.05
    seed: int = 0
    ablate: tuple[AblationPlace, ...] = ABLATION_PLACES


@dataclass(frozen=True, slots=True)
class DoseEffect:
    """One concept's direction added at one layer in one dose.

    Attributes:
        dose: in units of the mean residual norm.
        effect: shift of the log-probability of the concept's words against the other concepts' words, mean over prompts, nats.
        low, high: its 95% interval over prompts.
        wrong_way: share of prompts whose effect is below 0.
        t: effect in deviations of the random directions' effects on the same words.
        p_value: one-sided, against random directions and, where there are any, shuffled-label directions (the larger of the
            two), corrected over all concepts, layers and doses.
        random_mean, random_deviation: of the random directions' effects.
        reads: shift of the concept's readout at a later layer, as z; readout and direction are of different texts.
        reads_beyond: of it, what is not the added vector itself passing through the stream.
        reads_random: deviation of that shift over random directions.
        kl: from the unsteered model on plain texts, nats a token.
        loss: rise of the negative log-likelihood of plain texts, nats a token.
        random_kl, random_loss: the same of random directions, means.
        by_prompt: the effect after every prompt, whose mean is `effect`, so that two runs can be compared prompt by prompt.
    """

    dose: float
    effect: float
    low: float
    high: float
    wrong_way: float
    t: float | None
    p_value: float | None
    random_mean: float
    random_deviation: float
    reads: float | None
    reads_beyond: float | None
    reads_random: float | None
    kl: float
    loss: float
    random_kl: float
    random_loss: float
    by_prompt: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Ablation:
    """A concept's direction projected out of texts that carry the concept.

    Attributes:
        layers: where; one, all of the plan, or every layer of the model.
        texts: how many.
        fall: of the log-probability of the concept's words against the others' behind the text, nats.
        low, high: its 95% interval over texts; None for a single text.
        random_mean, random_deviation: of the fall when random directions are projected out.
        p_value: one-sided, corrected over concepts and places.
        reads_fall: fall of the concept's readout at a later layer, as z; `reads_random` the same of random directions.
    """

    layers: tuple[int, ...]
    texts: int
    fall: float
    low: float | None
    high: float | None
    random_mean: float
    random_deviation: float
    p_value: float | None
    reads_fall: float | None
    reads_random: float | None


@dataclass(frozen=True, slots=True)
class LayerSteering:
    """One concept's direction at one layer.

    Attributes:
        layer: index from 0.
        doses: one a dose above 0, ascending.
        spearman: rank correlation of dose and effect, 0 included.
        slope: effect a unit of dose, over the doses that do not break.
        breaks_at: the least dose that breaks: plain texts lose more than the plan allows, or the effect falls with the dose; None
            if none does.
        ablation: None where no text carries the concept.
    """

    layer: int
    doses: tuple[DoseEffect, ...]
    spearman: float
    slope: float | None
    breaks_at: float | None
    ablation: Ablation | None = None


@dataclass(frozen=True, slots=True)
class ConceptSteering:
    """All that the check says of one concept.

    Attributes:
        verdict, reason: what may be believed, and why, in one sentence.
        layer, dose: recommended; of those that pass, the one with the largest effect. None unless it steers.
        words: that are counted.
        layers: one a layer of the plan.
        ablation_together: the concept's directions projected out at all layers of the plan.
        ablation_everywhere: the same at every layer of the model.
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

    @property
    def best(self) -> DoseEffect | None:
        """The recommended dose's effect; None unless it steers."""
        return next(
            (at for of in self.layers for at in of.doses if of.layer == self.layer and at.dose == self.dose), None
        )


@dataclass(frozen=True, slots=True)
class CausalCrossTalk:
    """Effect of adding one concept's direction on all concepts' words.

    Attributes:
        layer, dose: where, and how much.
        effect: [added][moved] in nats.
        p_value: [added][moved], one-sided against random directions, not corrected.
    """

    layer: int
    dose: float
    effect: tuple[tuple[float, ...], ...]
    p_value: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True, slots=True)
class SteeringReport:
    """The causal check of a readout.

    Attributes:
        plan: what was checked.
        model: id of the model.
        norms: layer -> mean residual norm, what a dose is a multiple of.
        prompts: how many open prompts.
        controls: kind of control -> how many directions a layer.
        concepts: in the plan's order.
        crosstalk: one a layer and dose.
    """

    plan: SteeringPlan
    model: str
    norms: Mapping[int, float]
    prompts: int
    controls: Mapping[str, int]
    concepts: tuple[ConceptSteering, ...]
    crosstalk: tuple[CausalCrossTalk, ...]

    def as_json(self) -> dict[str, Any]:
        """The report as JSON-ready values; a number that could not be measured is None."""
        found: dict[str, Any] = _finite(asdict(self))
        return found


@dataclass(frozen=True, slots=True)
class Sample:
    """One generation.

    Attributes:
        concept, layer, dose: what was added, where, and how much.
        prompt: what it was given, template included.
        seed: of its noise; the same at every dose.
        text: what it said.
        repetition: share of its three-token sequences that it had said before.
    """

    concept: str
    layer: int
    dose: float
    prompt: str
    seed: int
    text: str
    repetition: float


def _finite(value: Any) -> Any:
    """None for every float that JSON does not know."""
    if isinstance(value, dict):
        return {key: _finite(some) for key, some in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(some) for some in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
