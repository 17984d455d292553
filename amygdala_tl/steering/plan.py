"""What a causal check measures: which directions, where, how much, after which prompts, as blocks. Runs no model."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from amygdala_tl.errors import InputError
from amygdala_tl.lens.hooks import parse_layers
from amygdala_tl.names import named_concepts
from amygdala_tl.readout.record import Readout
from amygdala_tl.records import ModelInfo
from amygdala_tl.steering.arms import ArmKind, Arms, LayerMaterial, make_arms, random_directions
from amygdala_tl.steering.blocks import AblationBlock, AdditionBlock, NormBlock, SampleBlock
from amygdala_tl.steering.prompts import Tokens, open_prompts, plain_tokens, sample_prompts
from amygdala_tl.steering.records import SteeringPlan
from amygdala_tl.steering.settings import ABLATION_PLACES, DEFAULTS, AblationPlace
from amygdala_tl.steering.words import ConceptWords

DAMAGE_KINDS: tuple[ArmKind, ...] = ("concept", "random")
"""Arms with a measured damage: unembedding all tokens of the plain texts costs as much as a third of the model."""

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
    """

    model: ModelInfo
    tokenizer: Any
    plan: SteeringPlan
    material: Sequence[LayerMaterial]
    words: ConceptWords
    carriers: Mapping[int, Tokens] = field(default_factory=dict)

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
    damaging = arms.rows(*DAMAGE_KINDS)
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
    """Every concept's direction taken out at every place of the plan, beside random directions; by place, then concept."""
    return [
        _ablation(check, place, concept)
        for place in ablation_places(check.plan, check.model.n_layers)
        for concept in check.carriers
    ]


def ablation_places(plan: SteeringPlan, n_layers: int) -> list[tuple[int, ...]]:
    """Sets of layers at which directions are taken out at once, no set twice."""
    places: list[tuple[int, ...]] = []
    for kind in ABLATION_PLACES:
        if kind in plan.ablate:
            whole = plan.layers if kind == "together" else tuple(range(n_layers))
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


def _ablation(check: SteeringCheck, place: tuple[int, ...], concept: int) -> AblationBlock:
    # A layer outside the plan takes the directions of the nearest one in it; of two, the lower one's.
    nearest = [_nearest(check.material, layer) for layer in place]
    # A readout above the highest ablated layer, or none: one below would not see the edit.
    readers = nearest[-1].readers if nearest[-1].layer == place[-1] else None
    return AblationBlock(
        model=check.model_key,
        layers=place,
        concept=concept,
        directions=torch.stack([_own_and_random(check.plan, of, concept) for of in nearest]),
        prompts=check.carriers[concept],
        words=check.words,
        readers=readers,
    )


def _nearest(material: Sequence[LayerMaterial], layer: int) -> LayerMaterial:
    return min(material, key=lambda of: abs(of.layer - layer))


def _own_and_random(plan: SteeringPlan, material: LayerMaterial, concept: int) -> torch.Tensor:
    """The concept's direction, then random ones that are the same for all concepts."""
    own = material.concepts[concept]
    generator = torch.Generator().manual_seed(plan.seed * 1000 + material.layer + 500)
    return torch.cat([own[None].float(), random_directions(plan.random, len(own), generator)])
