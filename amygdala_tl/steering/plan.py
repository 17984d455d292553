"""What a causal check measures: which directions, where, how much, after which prompts, as blocks. Runs no model."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from amygdala_tl.directions.erasure import Erasure
from amygdala_tl.errors import InputError
from amygdala_tl.lens.hooks import parse_layers
from amygdala_tl.names import named_concepts
from amygdala_tl.readout.dose import plain_tokens
from amygdala_tl.readout.record import Readout
from amygdala_tl.records import ModelInfo
from amygdala_tl.steering.arms import Arms, LayerMaterial, make_arms, random_directions
from amygdala_tl.steering.blocks import AblationBlock, AdditionBlock, NormBlock, ProbeBlock, SampleBlock
from amygdala_tl.steering.erasing import LayerEraser, erasure_arms, projection_arms
from amygdala_tl.steering.probing import ProbeTexts
from amygdala_tl.steering.prompts import Tokens, open_prompts, sample_prompts
from amygdala_tl.steering.records import SteeringPlan
from amygdala_tl.steering.settings import ABLATION, ABLATION_PLACES, DEFAULTS, AblationPlace, EraseMethod
from amygdala_tl.steering.words import ConceptWords

Probed = tuple[EraseMethod, tuple[int, ...], int | None]
"""How something is taken out, at which layers, and the number of the concept that is, or None for a control."""

NOTHING: Probed = ("leace", (), None)
"""Taken out at no layer."""

ARMS_A_BLOCK = 128

NEW_TOKENS = 32

TEMPERATURE = 0.7
"""At 1 the tail of the vocabulary breaks a small model's sentences before any steering does."""


@dataclass(frozen=True, slots=True)
class SteeringCheck:
    """A check of one model, ready to be measured.

    Attributes:
        model: which model.
        tokenizer: the model's.
        plan: what is checked.
        material: one a layer of the plan, in its order.
        words: of all the readout's concepts, those of the plan marked as tested.
        carriers: number of a concept -> token ids of texts that carry it, for ablation.
        erasers: layer -> what erases concepts there, for all methods but `project`.
        probed: texts that probes are fitted on anew; None for no probes.
    """

    model: ModelInfo
    tokenizer: Any
    plan: SteeringPlan
    material: Sequence[LayerMaterial]
    words: ConceptWords
    carriers: Mapping[int, Tokens] = field(default_factory=dict)
    erasers: Mapping[int, LayerEraser] = field(default_factory=dict)
    probed: ProbeTexts | None = None

    @property
    def model_key(self) -> tuple[str, ...]:
        """What of the model a number depends on."""
        return self.model.key


def make_plan(
    readout: Readout,
    n_layers: int,
    *,
    concepts: Sequence[str] = (),
    layers: str | Sequence[int | float] | None = None,
    doses: Sequence[float] = DEFAULTS.doses,
    random: int = DEFAULTS.random,
    ablate: Sequence[AblationPlace] = ABLATION_PLACES,
    erase: Sequence[EraseMethod] = ABLATION.erase,
    probe_texts: int = ABLATION.probe_texts,
    seed: int = 0,
) -> SteeringPlan:
    """Plan a check of a readout; arguments as in `steer`. Needs no model, so that mistakes show before one is loaded.

    Raises:
        InputError: the readout has no such concept or layer, or the doses or controls make no check.
        ModelError: the model has no such layer.
    """
    spec = layers if isinstance(layers, str) else ",".join(map(str, layers or ()))
    wanted = parse_layers(spec, n_layers) if spec else readout.layers
    for layer in wanted:
        readout.column(layer)
    amounts = tuple(sorted({0.0, *doses}))
    if len(amounts) < 2 or amounts[0] < 0 or not all(map(math.isfinite, amounts)):
        raise InputError(
            "no doses to check", got=", ".join(map(str, doses)), need="numbers above 0", remedy="change `doses`"
        )
    if random < 3:
        raise InputError(
            "too few random directions", got=random, need="3 or more; 10 for significance at 5%",
            remedy="change `random`",
        )  # fmt: skip
    return SteeringPlan(
        concepts=named_concepts(concepts, readout.concepts) or readout.concepts,
        layers=wanted,
        doses=amounts,
        random=random,
        seed=seed,
        ablate=tuple(place for place in ABLATION_PLACES if place in ablate),
        erase=tuple(dict.fromkeys(erase)),
        probe_texts=probe_texts,
    )


def norm_block(check: SteeringCheck) -> NormBlock:
    """The mean norms of the plan's layers: the unit of dose."""
    return NormBlock(check.model_key, check.plan.layers, plain_tokens(check.tokenizer))


def arms_of(check: SteeringCheck, material: LayerMaterial) -> Arms:
    """All directions of one layer; the random ones depend on the plan's seed and the layer."""
    generator = torch.Generator().manual_seed(check.plan.seed * 1000 + material.layer)
    return make_arms(material, check.plan.random, generator)


def addition_blocks(
    check: SteeringCheck, material: LayerMaterial, arms: Arms, norm: float
) -> Iterator[tuple[list[int], int, AdditionBlock]]:
    """(rows of the arms, number of the dose, block) of one layer: arms with damage first, then the others."""
    damaging = arms.damaged
    others = [row for row in range(len(arms.kinds)) if row not in set(damaging)]
    prompts, plain = open_prompts(check.tokenizer), plain_tokens(check.tokenizer)
    for rows in (damaging, others):
        for column, dose in enumerate(check.plan.doses[1:]):
            for start in range(0, len(rows), ARMS_A_BLOCK):
                some = rows[start : start + ARMS_A_BLOCK]
                yield some, column, AdditionBlock(
                    model=check.model_key,
                    layer=material.layer,
                    dose=dose,
                    amount=dose * norm,
                    kinds=tuple(arms.kinds[row] for row in some),
                    directions=arms.directions[some],
                    prompts=prompts,
                    plain=plain if rows is damaging else (),
                    words=check.words,
                    readers=material.readers,
                )  # fmt: skip


def ablation_blocks(check: SteeringCheck) -> list[AblationBlock]:
    """Every concept taken out by every method at every place of the plan, beside controls; by method, place, then concept."""
    return [_ablation(check, method, place, concept) for method, place in _places(check) for concept in check.carriers]


def probe_blocks(check: SteeringCheck) -> dict[Probed, ProbeBlock]:
    """What is probed, and the block of it.

    All concepts are read with nothing and with a control taken out, and each one with itself taken out.
    """
    probed, concepts = check.probed, tuple(check.carriers)
    places = [] if probed is None else _places(check)
    if probed is None or not places or not concepts:
        return {}
    bottom = min(min(place) for _, place in places)
    blocks: dict[Probed, ProbeBlock] = {NOTHING: _probe(check, probed, "leace", (), bottom, concepts, None)}
    for method, place in places:
        for concept in (None, *concepts):
            some = concepts if concept is None else (concept,)
            blocks[method, place, concept] = _probe(check, probed, method, place, min(place), some, concept)
    return blocks


def _places(check: SteeringCheck) -> list[tuple[EraseMethod, tuple[int, ...]]]:
    """Every method at every set of layers where it takes concepts out."""
    found = []
    for method in check.plan.erase:
        everywhere = tuple(range(check.model.n_layers)) if method == "project" else tuple(sorted(check.erasers))
        found += [(method, place) for place in ablation_places(check.plan, everywhere)]
    return found


def _probe(
    check: SteeringCheck,
    probed: ProbeTexts,
    method: EraseMethod,
    place: tuple[int, ...],
    bottom: int,
    concepts: tuple[int, ...],
    own: int | None,
) -> ProbeBlock:
    """Texts of `concepts`, read from layer `bottom` on, with the concept `own`, or else a control, taken out at `place`."""
    rows, columns = probed.of(concepts), list(concepts)
    return ProbeBlock(
        model=check.model_key,
        layers=place,
        read=tuple(range(bottom, check.model.n_layers)),
        concepts=concepts,
        method=method,
        erasures=tuple(
            tuple(_of_half(check, probed, half, method, layer, own) for layer in place) for half in (0, 1) if place
        ),
        texts=tuple(probed.ids[row] for row in rows.tolist()),
        positive=probed.positive[rows][:, columns],
        negative=probed.negative[rows][:, columns],
        groups=probed.groups[rows],
        half=probed.half[rows],
    )


def _of_half(
    check: SteeringCheck, probed: ProbeTexts, half: int, method: EraseMethod, layer: int, own: int | None
) -> Erasure:
    """The map of one concept, or of a control, fitted on one half of the groups, as one row."""
    if method != "project":
        arms = erasure_arms(probed.erasers[half][layer], own or 0, method)
        return arms.rows(slice(1, 2) if own is None else slice(0, 1))
    material = _nearest(check.material, layer)
    if own is None:
        generator = torch.Generator().manual_seed(check.plan.seed * 1000 + material.layer + 500)
        return projection_arms(random_directions(1, material.concepts.shape[1], generator))
    fitted = material.concepts if material.halves is None else material.halves[half]
    return projection_arms(fitted[own : own + 1])


def ablation_places(plan: SteeringPlan, everywhere: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Sets of layers at which concepts are taken out at once, no set twice.

    Args:
        plan: what is checked.
        everywhere: all layers where that is possible.
    """
    places: list[tuple[int, ...]] = []
    for kind in ABLATION_PLACES:
        if kind in plan.ablate:
            whole = plan.layers if kind == "together" else everywhere
            places += [(layer,) for layer in plan.layers] if kind == "each" else [whole]
    return list(dict.fromkeys(places))


def sample_block(check: SteeringCheck, concept: int, layer: int, norm: float, samples: int) -> SampleBlock:
    """Generations with one concept's direction in all doses of the plan."""
    material = next(of for of in check.material if of.layer == layer)
    return SampleBlock(
        model=check.model_key,
        concept=check.plan.concepts[concept],
        layer=layer,
        direction=material.concepts[concept],
        doses=check.plan.doses,
        norm=norm,
        prompts=sample_prompts(check.tokenizer),
        samples=samples,
        seed=check.plan.seed,
        new_tokens=NEW_TOKENS,
        temperature=TEMPERATURE,
        end=check.tokenizer.eos_token_id,
    )


def _ablation(check: SteeringCheck, method: EraseMethod, place: tuple[int, ...], concept: int) -> AblationBlock:
    # A layer outside the plan takes the directions of the nearest one in it; of two, the lower one's.
    nearest = [_nearest(check.material, layer) for layer in place]
    # A readout above the highest ablated layer, or none: one below would not see the edit.
    readers = nearest[-1].readers if nearest[-1].layer == place[-1] else None
    return AblationBlock(
        model=check.model_key,
        layers=place,
        concept=concept,
        method=method,
        erasures=tuple(
            projection_arms(_own_and_random(check.plan, of, concept))
            if method == "project"
            else erasure_arms(check.erasers[layer], concept, method)
            for layer, of in zip(place, nearest, strict=True)
        ),
        prompts=check.carriers[concept],
        plain=plain_tokens(check.tokenizer),
        words=check.words,
        readers=readers,
    )


def _nearest(material: Sequence[LayerMaterial], layer: int) -> LayerMaterial:
    return min(material, key=lambda of: abs(of.layer - layer))


def _own_and_random(plan: SteeringPlan, material: LayerMaterial, concept: int) -> torch.Tensor:
    """The concept's direction, then random ones that are the same for all concepts."""
    own = material.concepts[concept]
    generator = torch.Generator().manual_seed(plan.seed * 1000 + material.layer + 500)
    return torch.cat([own[None].float(), random_directions(plan.ablation_controls, len(own), generator)])
