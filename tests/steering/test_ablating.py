"""Taking directions out at one layer, at several and everywhere: against whole forward passes, one arm at a time."""

import pytest
import torch

from amygdala_tl.steering.arms import LayerMaterial
from amygdala_tl.steering.bench import Bench
from amygdala_tl.steering.check import run_check
from amygdala_tl.steering.edits import NOT_FIRST, Ablate, Erase
from amygdala_tl.steering.hooks import intervene
from amygdala_tl.steering.journal import Journal
from amygdala_tl.steering.measure import measure_ablations
from amygdala_tl.steering.plan import SteeringCheck, ablation_blocks, ablation_places
from amygdala_tl.steering.records import SteeringPlan
from amygdala_tl.steering.words import concept_words

CONCEPTS = ("joy", "grief", "calm")
TEXTS = ((5, 900, 77, 3000), (40, 8, 21, 9, 1111, 70))


def unit(*shape, seed=0):
    rows = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return rows / rows.norm(dim=-1, keepdim=True)


def check_of(model, ablate, carriers=(1,), random=3):
    plan = SteeringPlan(concepts=CONCEPTS, layers=(0, 2), doses=(0.0, 0.1), random=random, ablate=ablate)
    material = [LayerMaterial(layer, unit(3, 64, seed=layer)) for layer in plan.layers]
    words = concept_words(model.tokenizer, CONCEPTS)
    return SteeringCheck(model.info, model.tokenizer, plan, material, words, dict.fromkeys(carriers, TEXTS))


@pytest.mark.parametrize(
    ("layers", "ablate", "places"),
    [
        ((1, 2), ("each", "together", "everywhere"), [(1,), (2,), (1, 2), (0, 1, 2, 3)]),
        ((1, 2), ("everywhere",), [(0, 1, 2, 3)]),
        ((1,), ("each", "together"), [(1,)]),
        ((0, 1, 2, 3), ("together", "everywhere"), [(0, 1, 2, 3)]),
        ((1, 2), (), []),
    ],
)
def test_no_set_of_layers_is_measured_twice(layers, ablate, places):
    plan = SteeringPlan(concepts=CONCEPTS, layers=layers, doses=(0.0, 0.1), ablate=ablate)
    assert ablation_places(plan, (0, 1, 2, 3)) == places


def test_everywhere_equals_whole_passes_in_which_every_layer_loses_the_direction_of_the_nearest_one(model):
    check = check_of(model, ("everywhere",))
    (found,) = measure_ablations(check, model, Journal(), lambda: None)
    assert found.layers == (0, 1, 2, 3)
    assert found.words.shape == (4, 2)  # the concept's own direction and three random ones, two texts
    assert found.reads is None
    # Layer 1 is as near to 0 as to 2: the lower one.
    own = {layer: check.material[at].concepts[1] for layer, at in ((0, 0), (1, 0), (2, 1), (3, 1))}
    edits = {layer: Ablate(direction, where=NOT_FIRST) for layer, direction in own.items()}
    for place, text in enumerate(TEXTS):
        means = []
        for todo in ({}, edits):
            with torch.no_grad(), intervene(model, todo):
                said = model.model(torch.tensor([text]))[0, -1].double().log_softmax(dim=-1)
            means.append(check.words.contrast(said[check.words.tokens])[1])
        assert abs(float(found.words[0, place]) - float(means[1] - means[0])) < 1e-3


@pytest.mark.parametrize(("random", "controls"), [(3, 3), (19, 19), (20, 20), (100, 20), (500, 100)])
def test_ablations_have_a_fifth_of_the_random_directions_but_enough_for_significance(tiny, random, controls):
    (block,) = ablation_blocks(check_of(tiny, ("together",), random=random))
    assert [len(each.read) for each in block.erasures] == [1 + controls] * 2


def test_every_concept_has_the_damage_of_its_own_map_and_of_the_controls_that_all_share(tiny):
    check = check_of(tiny, ("each",), carriers=(0, 1))
    measured = measure_ablations(check, tiny, Journal(), lambda: None)
    for block, found in zip(ablation_blocks(check), measured, strict=True):
        (layer,), (erasure,) = block.layers, block.erasures

        def edits(some, layer=layer, erasure=erasure):
            return {layer: [Erase(erasure.rows(some), where=NOT_FIRST)]}

        together = Bench(tiny, layer, block.plain).damage(4, edits).loss
        torch.testing.assert_close(found.loss, together, rtol=1e-3, atol=1e-5)
        assert len(set(found.loss.tolist())) == 4


def test_a_report_has_single_layers_all_of_them_and_everywhere(model):
    report, _ = run_check(check_of(model, ("each", "together", "everywhere")), model)
    found = report.concepts[1]
    assert [of.ablation.layers for of in found.layers] == [(0,), (2,)]
    assert found.ablation_together.layers == (0, 2)
    assert found.ablation_everywhere.layers == (0, 1, 2, 3)
    assert report.concepts[0].ablation_everywhere is None  # no text carries it
