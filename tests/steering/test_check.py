"""The causal check on a tiny model whose unembedding is wired by hand, so that the truth is known."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from amygdala_tl.lens.model import Lens, load_model
from amygdala_tl.readout.record import Readout
from amygdala_tl.steering.arms import LayerMaterial, Readers
from amygdala_tl.steering.check import run_check
from amygdala_tl.steering.journal import Journal
from amygdala_tl.steering.plan import SteeringCheck
from amygdala_tl.steering.records import SteeringPlan
from amygdala_tl.steering.words import ConceptWords, concept_words
from tests.cli.conftest import run
from tests.models import VOCABULARY
from tests.steering.conftest import ENGINES

CONCEPTS = ("joy", "grief", "calm", "anxiety", "boredom", "pride")
PLANTED = ("joy", "grief")
LAYER = 1


def unit(*shape, seed=0):
    rows = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return rows / rows.norm(dim=-1, keepdim=True)


DIRECTIONS = unit(len(CONCEPTS), 64, seed=7)


def words_of_one_token(tokenizer):
    return sorted(token[1:] for token in tokenizer.get_vocab() if token.startswith("\u0120") and token[1:].isalpha())


@pytest.fixture(scope="module", params=ENGINES)
def planted(request, tiny_checkpoint: Callable[[str], Path], tmp_path_factory) -> tuple[Lens, ConceptWords]:
    """A tiny Llama in which a stream along the first two directions makes the words of joy and grief more likely."""
    tiny = tiny_checkpoint("llama")
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    one_token = words_of_one_token(tokenizer)
    own = {concept: one_token[50 * place : 50 * place + 4] for place, concept in enumerate(CONCEPTS)}
    words = concept_words(tokenizer, CONCEPTS, own)
    folder = tmp_path_factory.mktemp("planted") / "llama"
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    with torch.no_grad():
        for place, concept in enumerate(CONCEPTS):
            if concept in PLANTED:
                own = words.tokens[words.share[:, place] > 0]
                model.lm_head.weight[own] += 1.5 * DIRECTIONS[place] / model.model.norm.weight
    model.save_pretrained(folder)
    for file in tiny.glob("*token*"):
        (folder / file.name).write_bytes(file.read_bytes())
    return load_model(str(folder), device="cpu", engine=request.param), words


def checked(planted, directions=DIRECTIONS, doses=(0.0, 0.4), material=None, carriers=None, plan=None, **given):
    """The report of a check."""
    lens, words = planted
    plan = plan or SteeringPlan(concepts=CONCEPTS, layers=(LAYER,), doses=doses)
    material = material or LayerMaterial(LAYER, directions)
    check = SteeringCheck(lens.info, lens.tokenizer, plan, [material], words, carriers or {})
    return run_check(check, lens, **given)[0]


@pytest.fixture(scope="module")
def report(planted):
    return checked(planted, doses=(0.0, 0.2, 0.4, 0.8), readable={"calm": True})


def test_planted_directions_steer_with_the_right_sign_and_dose_order_and_no_others_do(report):
    for found in report.concepts:
        (at_layer,) = found.layers
        if found.concept in PLANTED:
            assert found.verdict == "steers", found.reason
            effects = [at.effect for at in at_layer.doses]
            assert 0 < effects[0] < effects[1] < effects[2]
            assert at_layer.spearman == 1.0
            assert at_layer.slope > 0
            assert found.best.p_value <= 0.05
            assert found.best.wrong_way == 0
        else:
            assert found.verdict == ("reads only" if found.concept == "calm" else "neither"), found.reason
            assert found.dose is None


def test_the_opposite_direction_lowers_the_words_and_does_not_steer(planted):
    report = checked(planted, -DIRECTIONS)
    for found in report.concepts[:2]:
        assert found.verdict == "neither"
        assert [at.effect < 0 for at in found.layers[0].doses] == [True]
        assert found.layers[0].spearman == -1.0


def test_a_concept_tested_alone_has_the_effect_that_it_has_among_all_and_steers(planted, report):
    lens, words = planted
    alone = replace(words, tested=(1,))
    plan = replace(report.plan, concepts=("grief",))
    material = LayerMaterial(LAYER, DIRECTIONS[1:2], every=DIRECTIONS)
    (found,) = checked((lens, alone), plan=plan, material=material).concepts
    among = report.concepts[1]
    assert found.verdict == among.verdict == "steers"
    for one, other in zip(found.layers[0].doses, among.layers[0].doses, strict=True):
        assert one.effect == pytest.approx(other.effect, abs=1e-4)
        assert one.random_deviation == pytest.approx(other.random_deviation, abs=1e-4)


@pytest.mark.parametrize("planted", ENGINES[:1], indirect=True)
def test_shuffled_labels_that_move_words_as_much_veto_what_random_directions_let_pass(planted):
    lens, words = planted
    plan = SteeringPlan(("grief",), (LAYER,), (0.0, 0.4), random=10)
    alone = lens, replace(words, tested=(1,))
    near = torch.nn.functional.normalize(DIRECTIONS[1] + 0.3 * unit(24, 64, seed=8), dim=-1)
    found = {}
    for name, shuffled in {"weak": unit(24, 64, seed=9), "strong": near}.items():
        material = LayerMaterial(LAYER, DIRECTIONS[1:2], shuffled=shuffled, every=DIRECTIONS)
        (found[name],) = checked(alone, plan=plan, material=material).concepts
    assert found["weak"].verdict == "steers"
    assert found["strong"].verdict == "neither"
    weak, strong = (each.layers[0].doses[-1] for each in (found["weak"], found["strong"]))
    assert (strong.effect, strong.t) == (weak.effect, weak.t)
    assert weak.p_value <= plan.level < strong.p_value


@pytest.mark.parametrize("planted", ENGINES[:1], indirect=True)
def test_the_command_exits_with_0_if_all_checked_concepts_steer(planted, tmp_path, capsys):
    lens, _ = planted
    own = words_of_one_token(lens.tokenizer)
    (tmp_path / "words.json").write_text(
        json.dumps({name: own[50 * place : 50 * place + 4] for place, name in enumerate(CONCEPTS)})
    )
    directions = {name: {LAYER: DIRECTIONS[place]} for place, name in enumerate(CONCEPTS)}
    bundle = Readout.from_directions(directions).save(tmp_path / "readout.safetensors")
    model = ("--readout", bundle, "--model", lens.source, "--words", tmp_path / "words.json")
    plan = ("--doses", "0,0.4", "--concepts", "grief", "--random", 10, "--check", "--out", tmp_path / "out")
    code, _, err = run(capsys, "steer", *model, *plan)
    assert code == 0, err


@pytest.mark.parametrize(("random", "can"), [(9, False), (10, True)])
def test_the_smallest_p_is_what_a_perfect_concept_gets_and_too_few_directions_are_named(planted, random, can):
    plan = SteeringPlan(CONCEPTS, (LAYER,), (0.0, 0.4), random=random)
    found = checked(planted, plan=plan).concepts[0]
    assert found.layers[0].doses[0].p_value == pytest.approx(plan.least_p)
    assert replace(plan, layers=(0, LAYER)).least_p == plan.least_p  # layers are looks of one test
    assert (plan.least_p <= plan.level) == can
    assert (found.verdict == "steers") == can
    assert ("Nothing can pass" in found.reason) != can


def test_the_causal_crosstalk_of_planted_directions_is_on_the_diagonal(report):
    effect = torch.tensor(report.crosstalk[-1].effect)
    assert report.crosstalk[-1].dose == 0.8
    for place in range(2):
        assert int(effect[place].argmax()) == place


def test_a_report_is_json(report):
    text = json.dumps(report.as_json())
    assert json.loads(text)["concepts"][0]["verdict"] == "steers"


def test_taking_a_planted_direction_out_of_texts_that_carry_it_lowers_its_words(planted):
    loaded, _ = planted
    seed = 0
    # Texts that carry joy: their last token lies along the planted direction.
    from amygdala_tl.lens.residuals import run_resid_post

    generator = torch.Generator().manual_seed(seed)
    candidates = torch.randint(3, VOCABULARY, (200, 6), generator=generator)
    projections = run_resid_post(loaded.model, candidates, [LAYER])[:, -1, 0].float() @ DIRECTIONS[0]
    texts = tuple(map(tuple, candidates[projections.argsort(descending=True)[:4]].tolist()))
    found = checked(planted, carriers={0: texts}).concepts[0].layers[0].ablation
    assert found.texts == 4
    assert found.fall > 0
    assert found.low <= found.fall <= found.high
    assert found.fall > found.random_mean + 3 * found.random_deviation
    assert found.p_value <= 0.05


def test_the_readout_of_another_half_sees_the_direction_and_what_merely_passes_through_is_known(planted):
    halves = torch.stack([DIRECTIONS, DIRECTIONS])
    readers = Readers(LAYER + 1, halves, torch.full((2, len(CONCEPTS)), 2.0))
    material = LayerMaterial(LAYER, DIRECTIONS, halves=halves, readers=readers)
    report = checked(planted, material=material)
    norm = report.norms[LAYER]
    for found in report.concepts:
        for at in found.layers[0].doses:
            passing = at.dose * norm / 2.0
            assert at.reads - at.reads_beyond == pytest.approx(passing, rel=1e-3)
            assert at.reads > 3 * at.reads_random


def test_dose_zero_changes_nothing(planted):
    for found in checked(planted, doses=(0.0, 1e-9)).concepts:
        (at,) = found.layers[0].doses
        assert abs(at.effect) < 1e-4
        assert abs(at.kl) < 1e-4
        assert abs(at.loss) < 1e-4


def test_a_second_run_runs_no_model_and_gives_the_same_report(planted, tmp_path):
    loaded, _ = planted
    path = tmp_path / "blocks.jsonl"
    first = checked(planted, journal=Journal(path), carriers={0: ((5, 6, 7, 8),)})
    with path.open("a") as file:
        file.write('{"key": "a line that was cut o')
    passes = []
    handle = loaded.model.blocks[0].register_forward_hook(lambda *_: passes.append(1))
    try:
        again = checked(planted, journal=Journal(path), carriers={0: ((5, 6, 7, 8),)})
        assert not passes
        assert again == first
        checked(planted, doses=(0.0, 0.3, 0.4), journal=Journal(path))
        assert passes
    finally:
        handle.remove()
    assert again.as_json() == first.as_json()


def test_random_directions_steer_no_more_often_than_the_level(tiny):
    names = tuple(f"random {number}" for number in range(200))
    one_token = words_of_one_token(tiny.tokenizer)
    words = concept_words(tiny.tokenizer, names, {name: [one_token[10 * row]] for row, name in enumerate(names)})
    plan = SteeringPlan(concepts=names, layers=(LAYER,), doses=(0.0, 0.4))
    material = [LayerMaterial(LAYER, unit(200, 64, seed=3))]
    report, _ = run_check(SteeringCheck(tiny.info, tiny.tokenizer, plan, material, words), tiny)
    steering = sum(found.verdict == "steers" for found in report.concepts)
    assert steering <= 0.05 * 200
