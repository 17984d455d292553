"""What to believe of a concept's direction, with the reason in one sentence.

    steers       at some layer and dose: the effect on the concept's own words exceeds that of random directions of the same
                 length and of shuffled-label directions (p <= level: one test a concept, of its largest effect over layers and
                 doses, corrected over concepts), its interval over prompts is above 0, and the dose is below the one that breaks
                 the model or the effect
    reads only   it does not steer, but its readout knows the concept on held-out texts
    neither      otherwise

The recommended dose is the one with the largest effect of those that pass.
"""

from collections.abc import Mapping, Sequence

from amygdala_tl.steering.records import (
    Ablation,
    ConceptSteering,
    DoseEffect,
    LayerSteering,
    SteeringPlan,
    SteeringVerdict,
)
from amygdala_tl.steering.settings import FEWEST


def concept_verdict(
    plan: SteeringPlan,
    concept: str,
    layers: Sequence[LayerSteering],
    words: Mapping[str, Sequence[str]],
    readable: Mapping[str, bool],
    ablations: tuple[Ablation | None, Ablation | None] = (None, None),
    every: Sequence[Ablation] = (),
) -> ConceptSteering:
    """One concept's verdict.

    Args:
        plan: what was checked.
        concept: its name.
        layers: its effects, one a layer of the plan.
        words: concept -> words that count.
        readable: concept -> whether its readout knows it on held-out texts.
        ablations: the concept taken out at all layers of the plan, and everywhere.
        every: the concept taken out by all methods at all places.
    """
    passing = [
        (at.effect, of.layer, at)
        for of in layers
        for at in of.doses
        if at.p_value is not None and at.p_value <= plan.level and at.low > 0 and not _broken(of, at)
    ]
    own, removed = tuple(words[concept]), (*ablations, tuple(every))
    if passing:
        _, layer, at = max(passing, key=lambda found: found[0])
        reason = (
            f"At layer {layer} in dose {at.dose:g} its words gain {at.effect:.2f} nats [{at.low:.2f}, {at.high:.2f}] "
            f"(random {at.random_mean:+.2f}, deviation {at.random_deviation:.2f}); plain texts lose {at.loss:.2f} nats a token."
        )
        return ConceptSteering(concept, "steers", reason, layer, at.dose, own, tuple(layers), *removed)
    reads = readable.get(concept, False)
    verdict: SteeringVerdict = "reads only" if reads else "neither"
    return ConceptSteering(concept, verdict, _why_not(plan, layers), None, None, own, tuple(layers), *removed)


def _why_not(plan: SteeringPlan, layers: Sequence[LayerSteering]) -> str:
    """The reason of the dose that came nearest."""
    if plan.least_p > plan.level:
        return (
            f"Nothing can pass: with {plan.random} random directions of each kind, the smallest p is {plan.least_p:.2g}; "
            f"{FEWEST} of each are the fewest."
        )
    sound = [(of, at) for of in layers for at in of.doses if not _broken(of, at)]
    if not sound:
        return "Every dose breaks the model, or has less effect than none."
    of, at = max(sound, key=lambda pair: -1.0 if pair[1].t is None else pair[1].t)
    if at.t is None:
        return "None of its words is a token of its own."
    where = f"at layer {of.layer} in dose {at.dose:g}"
    if at.p_value is not None and at.p_value <= plan.level:
        return f"Prompts disagree {where}: {at.effect:.2f} nats, 95% interval {at.low:.2f} to {at.high:.2f}."
    return f"Random or shuffled directions do as well {where}: {at.effect:.2f} nats, t {at.t:.1f}, corrected p {at.p_value:.2f}."


def _broken(of: LayerSteering, at: DoseEffect) -> bool:
    return of.breaks_at is not None and at.dose >= of.breaks_at
