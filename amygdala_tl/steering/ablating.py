"""Directions projected out of texts that carry their concept: does the concept go?"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.steering.bench import Bench
from amygdala_tl.steering.interventions import NOT_FIRST, Ablate, Intervention
from amygdala_tl.steering.journal import key_of
from amygdala_tl.steering.measured import MeasuredAblation, entry, from_rows
from amygdala_tl.steering.records import ABLATION_PLACES, SteeringPlan

if TYPE_CHECKING:
    from amygdala_tl.steering.check import LayerMaterial, SteeringCheck

OPENING = "\n\nI feel"
"""Stands behind every text, so that a word for what it carries may follow."""

LONGEST = 32
"""Tokens of a text that are kept."""

TEXTS = 4
"""Texts a concept."""


def carrier_tokens(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text that carries a concept, cut, with the opening behind it."""
    ids: list[int] = list(tokenizer(text).input_ids)[:LONGEST]
    opening: list[int] = list(tokenizer(OPENING, add_special_tokens=False).input_ids)
    return ids + opening


def measure_ablations(check: "SteeringCheck", advance: Callable[[], None]) -> list[MeasuredAblation]:
    """Every concept's direction taken out at every place of the plan, beside random directions."""
    found = []
    for place in ablation_places(check.plan, check.loaded.info.n_layers):
        for concept in check.carriers:
            found.append(_one(check, place, concept))
            advance()
    return found


def ablation_places(plan: SteeringPlan, n_layers: int) -> list[tuple[int, ...]]:
    """Sets of layers at which directions are taken out at once, no set twice."""
    places: list[tuple[int, ...]] = []
    for kind in ABLATION_PLACES:
        if kind in plan.ablate:
            whole = plan.layers if kind == "together" else tuple(range(n_layers))
            places += [(layer,) for layer in plan.layers] if kind == "each" else [whole]
    return list(dict.fromkeys(places))


def _one(check: "SteeringCheck", place: tuple[int, ...], concept: int) -> MeasuredAblation:
    nearest = [_nearest(check.material, layer) for layer in place]
    by_layer = {of.layer: _directions(check, of.layer, of.concepts[concept]) for of in nearest}
    directions = torch.stack([by_layer[of.layer] for of in nearest])
    # A readout above the highest ablated layer, or none: one below would not see the edit.
    readers = nearest[-1].readers if nearest[-1].layer == place[-1] else None
    prompts = [list(tokens) for tokens in check.carriers[concept]]

    def compute() -> Mapping[str, object]:
        def edits(rows: slice) -> dict[int, list[Intervention]]:
            return {layer: [Ablate(directions[number, rows], NOT_FIRST)] for number, layer in enumerate(place)}

        bench = Bench(check.loaded, min(place), prompts, readers=readers)
        shift, read = bench.word_shift(check.words, directions.shape[1], edits)
        return entry(words=shift[:, :, concept], reads=None if read is None else read[:, :, concept].mean(dim=1))

    key = key_of(
        "ablation", check.loaded.info.fingerprint, check.loaded.info.engine, check.loaded.info.dtype, place, prompts,
        directions, check.words.tokens, check.words.share, concept,
        None if readers is None else readers.layer, None if readers is None else readers.vectors,
    )  # fmt: skip
    row = check.journal.block(key, {"ablated": check.plan.concepts[concept], "layers": list(place)}, compute)
    return MeasuredAblation(
        layers=place,
        concept=concept,
        words=from_rows(row["words"]),
        reads=None if row["reads"] is None else from_rows(row["reads"]),
    )


def _nearest(material: Sequence["LayerMaterial"], layer: int) -> "LayerMaterial":
    """The layer that is checked and nearest; the lower of two."""
    return min(material, key=lambda of: abs(of.layer - layer))


def _directions(
    check: "SteeringCheck", layer: int, own: Float[Tensor, " d_model"]
) -> Float[Tensor, "direction d_model"]:
    """The concept's direction, then random ones that are the same for all concepts."""
    generator = torch.Generator().manual_seed(check.plan.seed * 1000 + layer + 500)
    random = torch.randn(check.plan.random, len(own), generator=generator)
    return torch.cat([own[None].float(), random / random.norm(dim=-1, keepdim=True)])
