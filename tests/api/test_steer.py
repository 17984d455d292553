"""`steer` in Python does what the command does, also for a readout that says nothing of itself."""

import inspect
import json
import math
from dataclasses import replace

import pytest
import torch
from typer.main import get_command

import amygdala_tl as at
from amygdala_tl.api.inputs import corpus_of, store_of
from amygdala_tl.api.steer import _probed, _training_texts
from amygdala_tl.cli.app import app
from amygdala_tl.diagnostics.nulls import permuted_texts
from amygdala_tl.directions.folds import group_folds
from amygdala_tl.directions.method import Method, apply_method
from amygdala_tl.errors import InputError, ModelError, ReadoutError
from amygdala_tl.steering.controls import directions_of
from amygdala_tl.steering.erasing import fit_erasers
from amygdala_tl.steering.plan import SteeringCheck, make_plan, probe_blocks
from amygdala_tl.steering.results import read_run
from amygdala_tl.steering.settings import AblationSettings, SteeringSettings
from amygdala_tl.steering.words import concept_words
from tests.cli.conftest import run, workplace  # noqa: F401 (a fixture)

CHEAP = {"concepts": ["joy", "grief"], "layers": [2], "doses": [0.4], "random": 3, "probe_texts": 4}
OPTIONS = ("--concepts", "joy,grief", "--layers", "2", "--doses", "0.4", "--random", 3, "--probe-texts", 4)


@pytest.fixture
def readout(workplace):  # noqa: F811
    return at.load_readout(workplace / "readout.safetensors")


@pytest.fixture
def four_keys(workplace, tmp_path):  # noqa: F811
    """The readout with nothing but the four contracted keys in its manifest."""
    manifest = json.loads((workplace / "readout.json").read_text())
    (tmp_path / "four.json").write_text(
        json.dumps({key: manifest[key] for key in ("concepts", "layers", "hidden_size", "dtype")})
    )
    (tmp_path / "four.safetensors").write_bytes((workplace / "readout.safetensors").read_bytes())
    return tmp_path / "four.safetensors"


def test_the_verb_and_the_command_give_the_same_run(capsys, readout, workplace, tiny_checkpoint, tiny, tmp_path):  # noqa: F811
    data = ("--training-data-dir", workplace / "corpus", "--samples", 1, "--out", tmp_path / "command")
    model = ("--model", tiny_checkpoint("llama"))
    code, _, err = run(capsys, "steer", "--readout", workplace / "readout.safetensors", *OPTIONS, *data, *model)
    assert code == 0, err
    corpus = corpus_of(readout, workplace / "corpus")
    store = store_of(readout, workplace / "activations")
    found = at.steer(readout, tiny, corpus=corpus, store=store, samples=1, out=tmp_path / "verb", **CHEAP)
    command = read_run(tmp_path / "command")
    assert replace(found, name="command") == command
    assert read_run(tmp_path / "verb") == found
    for file in ("report.json", "samples.jsonl", "run.json", "results.jsonl", "summary.tsv", "blocks.jsonl"):
        assert (tmp_path / "verb" / file).read_bytes() == (tmp_path / "command" / file).read_bytes()


def test_several_seeds_are_one_run_with_a_folder_each(readout, tiny, tmp_path):
    calls = []
    found = at.steer(readout, tiny, seeds=[0, 5], out=tmp_path, progress=lambda *state: calls.append(state), **CHEAP)
    assert [report.plan.seed for report in found.reports] == [0, 5]
    assert read_run(tmp_path) == found
    assert (tmp_path / "seed-5" / "report.json").exists()
    assert calls == [(done, len(calls)) for done in range(1, len(calls) + 1)]
    alone = at.steer(readout, tiny, seeds=5, **CHEAP)
    assert alone.reports == found.reports[1:]
    assert alone.name == ""


def test_a_folder_takes_one_run_also_of_one_that_was_stopped(readout, tiny, tmp_path):
    class Stopped(Exception):
        pass

    def stop(done, total):
        raise Stopped

    with pytest.raises(Stopped):
        at.steer(readout, tiny, out=tmp_path, progress=stop, **CHEAP)
    head = (tmp_path / "run.json").read_bytes()
    assert json.loads(head)["readout"]["sha256"] == readout.sha256
    with pytest.raises(InputError, match="finished run"):
        read_run(tmp_path)
    for other, said in (
        ({"doses": [0.2]}, "doses"),
        ({"words": {"joy": ["sun"]}}, "words"),
        ({"seeds": 1}, "seed"),
        ({"seeds": [0]}, "reports"),
        ({"samples": 1}, "generations"),
    ):
        with pytest.raises(InputError, match=f"another run.*{said}"):
            at.steer(readout, tiny, out=tmp_path, **{**CHEAP, **other})
    turned = replace(readout, vectors=-readout.vectors)
    with pytest.raises(InputError, match=r"another run.*readout"):
        at.steer(turned, tiny, out=tmp_path, **CHEAP)
    assert (tmp_path / "run.json").read_bytes() == head
    found = at.steer(readout, tiny, out=tmp_path, **CHEAP)
    assert read_run(tmp_path) == found


def test_concepts_chooses_what_is_tested_and_not_what_it_is_held_against(readout, tiny):
    both, alone = (at.steer(readout, tiny, **{**CHEAP, "concepts": names}) for names in (["joy", "grief"], ["grief"]))
    assert set(both.about.words) == set(alone.about.words) == set(readout.concepts)
    one, other = both.reports[0].concepts[1].layers[0].doses[0], alone.reports[0].concepts[0].layers[0].doses[0]
    assert one.effect == pytest.approx(other.effect, abs=1e-4)
    assert one.random_deviation == pytest.approx(other.random_deviation, abs=1e-4)
    assert [found.concept for found in both.failed(["Grief"])] == ["grief"]


def test_a_concept_that_no_word_list_has_is_named(readout, tiny):
    other = replace(readout, concepts=tuple("Tuesday" if name == "joy" else name for name in readout.concepts))
    with pytest.warns(UserWarning, match="only word: Tuesday"):
        found = at.steer(other, tiny, **{**CHEAP, "concepts": ["Tuesday", "grief"]})
    assert found.about.by_name == ("Tuesday",)
    assert found.reports[0].concepts[0].words == ("Tuesday",)


def test_a_readout_with_four_keys_has_random_controls_and_no_judgement(
    capsys, four_keys, readout, tiny, tiny_checkpoint, tmp_path
):
    bare = at.load_readout(four_keys)
    found = at.steer(bare, tiny, **CHEAP)
    assert set(found.reports[0].controls) == {"random", "orthogonal"}
    assert {each.verdict for each in found.concepts} <= {"steers", "neither"}
    reads = replace(readout, write_vectors=None, provenance=replace(readout.provenance, writer=None))
    whole = at.steer(reads, tiny, **CHEAP)
    numbers = [each.layers for each in found.reports[0].concepts]
    assert numbers == [each.layers for each in whole.reports[0].concepts]
    with pytest.raises(ReadoutError, match="names no model"):
        at.steer(bare, **CHEAP)
    arguments = ("steer", "--readout", four_keys, "--model", tiny_checkpoint("llama"), *OPTIONS)
    assert run(capsys, *arguments, "--out", tmp_path / "out")[0] == 0
    assert read_run(tmp_path / "out").reports == found.reports


def test_methods_stand_side_by_side_with_their_damage_and_what_a_new_probe_reads(readout, tiny, workplace):  # noqa: F811
    corpus, store = corpus_of(readout, workplace / "corpus"), store_of(readout, workplace / "activations")
    where = {"corpus": corpus, "store": store, "ablate": ["each", "everywhere"]}
    found = at.steer(readout, tiny, **where, erase=["leace", "project"], **CHEAP).reports[0].concepts[0]
    assert [(each.method, each.layers) for each in found.ablations] == [
        ("leace", (2,)), ("leace", (2, 3)), ("project", (2,)), ("project", (0, 1, 2, 3)),
    ]  # fmt: skip
    assert found.layers[0].ablation == found.ablations[0]
    for each in found.ablations:
        assert each.loss is not None
        assert [refit.layer for refit in each.refits] == list(range(each.layers[0], 4))
        assert all(0 <= refit.after <= 1 and 0 <= refit.unseen <= 1 for refit in each.refits)
        # Nothing but the erasure differs between the two, and without one the layers below do not matter.
        assert {refit.layer: refit.before for refit in found.ablations[3].refits}[2] == found.ablations[0].refits[
            0
        ].before


def test_probed_texts_run_with_the_erasure_that_the_stored_activations_get(readout, tiny, workplace):  # noqa: F811
    corpus, store = corpus_of(readout, workplace / "corpus"), store_of(readout, workplace / "activations")
    eraser = at.fit_eraser(readout, corpus, store)
    assert eraser.layers == (2, 3)
    plan = make_plan(readout, 4, concepts=["joy"], layers=[2], probe_texts=8)
    probed = _probed(readout, tiny, corpus, plan, _training_texts(readout, corpus, store))
    stored = store.load(probed.ids, [2], "pooled")[:, 0]
    erasure = eraser.at("joy", layer=2)
    found = probed.run(probed.ids, {2: [at.Erase(erasure)]}, [2])[:, 0]
    torch.testing.assert_close(found, erasure(stored), rtol=1e-3, atol=1e-3)
    assert (found - stored).abs().max() > 1e-2


@pytest.mark.parametrize("method", ["leace", "mean", "flip", "project"])
def test_a_probe_of_a_control_reads_texts_from_which_no_concept_was_taken_out(readout, tiny, workplace, method):  # noqa: F811
    corpus, store = corpus_of(readout, workplace / "corpus"), store_of(readout, workplace / "activations")
    texts = _training_texts(readout, corpus, store)
    plan = make_plan(
        readout, 4, concepts=["joy", "grief"], layers=[2], random=3, ablate=["each"], erase=[method], probe_texts=8
    )
    probed, words = _probed(readout, tiny, corpus, plan, texts), concept_words(tiny.tokenizer, plan.concepts)
    material = directions_of(readout, plan, texts)
    carriers = {0: ((1, 2, 3),), 1: ((1, 2, 3),)}
    erasers = fit_erasers(texts.data, [0, 1], texts.layers, controls=3, seed=0)
    blocks = probe_blocks(SteeringCheck(tiny.info, tiny.tokenizer, plan, material, words, carriers, erasers, probed))
    control, own = blocks[method, (2,), None], [blocks[method, (2,), concept] for concept in (0, 1)]
    assert control.concepts == (0, 1)
    for half in (0, 1):
        taken = [block.erasures[half][0].write[0, 0] for block in (control, *own)]
        cosines = torch.nn.functional.cosine_similarity(taken[0], torch.stack(taken[1:]), dim=-1)
        assert cosines.abs().max() < 0.9
        if method != "project":
            kept = probed.erasers[half][2]
            direction = torch.nn.functional.normalize(kept.difference, dim=-1)
            assert (direction[2:] @ torch.nn.functional.normalize(taken[0], dim=0)).max() == pytest.approx(1, abs=1e-5)


def test_an_erasure_needs_the_activations(readout, tiny, workplace):  # noqa: F811
    corpus = corpus_of(readout, workplace / "corpus")
    with pytest.raises(InputError, match="`store`"):
        at.steer(readout, tiny, corpus=corpus, **CHEAP)
    assert at.steer(readout, tiny, corpus=corpus, erase=["project"], ablate=["each"], **CHEAP).reports[0].concepts


def test_a_corpus_beside_four_keys_adds_ablations_only(four_keys, readout, tiny, workplace):  # noqa: F811
    corpus, store = corpus_of(readout, workplace / "corpus"), store_of(readout, workplace / "activations")
    found = at.steer(at.load_readout(four_keys), tiny, corpus=corpus, store=store, ablate=["each"], **CHEAP)
    assert set(found.reports[0].controls) == {"random", "orthogonal"}
    assert found.reports[0].concepts[0].layers[0].ablation.texts == 4


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"concepts": ["nothing"]}, InputError, "nothing"),
        ({"layers": [0]}, InputError, "does not have the layer"),
        ({"layers": [9]}, ModelError, "no layer"),
        ({"doses": [0.0]}, InputError, "`doses`"),
        ({"doses": [-1.0, 1.0]}, InputError, "`doses`"),
        ({"random": 2}, InputError, "`random`"),
        ({"words": {"joy": ["glad"], "grief": ["glad"]}}, InputError, "`words`"),
    ],
)
def test_a_mistake_names_the_parameter(readout, tiny, changes, error, said):
    with pytest.raises(error, match=said):
        at.steer(readout, tiny, **{**CHEAP, **changes})


def test_the_commands_defaults_are_those_of_the_settings_and_the_verb():
    settings, verb = SteeringSettings(), inspect.signature(at.steer).parameters
    options = {parameter.name: parameter for parameter in get_command(app).commands["steer"].params}
    named = ("doses", "random", "samples", "seed", "ablate", "erase", "probe_texts")
    shown = {name: options[name].show_default for name in named}
    assert all(options[name].default is None for name in (*shown, "concepts", "layers", "words"))
    assert tuple(map(float, shown["doses"].split(","))) == settings.doses == verb["doses"].default
    assert int(shown["random"]) == settings.random == verb["random"].default
    assert int(shown["samples"]) == settings.samples == verb["samples"].default
    assert (int(shown["seed"]),) == settings.seeds == (verb["seeds"].default,)
    assert tuple(shown["ablate"].split(",")) == AblationSettings().layers == verb["ablate"].default
    assert tuple(shown["erase"].split(",")) == AblationSettings().erase == verb["erase"].default
    assert int(shown["probe_texts"]) == AblationSettings().probe_texts == verb["probe_texts"].default
    assert settings.concepts == verb["concepts"].default == ()
    assert settings.layers == verb["layers"].default == ""
    assert settings.words is verb["words"].default is None


def test_a_recommended_dose_is_what_intervene_adds(readout, tiny):
    report = at.steer(readout, tiny, **CHEAP).reports[0]
    direction = readout.direction("joy", layer=2)
    tokens = torch.tensor([tiny.tokenizer("I feel").input_ids])
    logits = {}
    for name, edit in {
        "dose": at.Add(direction, dose=0.4),
        "amount": at.Add(direction, amount=0.4 * report.norms[2]),
    }.items():
        with at.intervene(tiny, {2: edit}):
            logits[name] = tiny.model(tokens)
    torch.testing.assert_close(logits["dose"], logits["amount"])


def test_controls_steer_by_the_writer_and_read_by_the_method(readout, workplace):  # noqa: F811
    corpus, store = corpus_of(readout, workplace / "corpus"), store_of(readout, workplace / "activations")
    fitted = at.fit(corpus, store, aggregator="whitened")
    plan = make_plan(fitted, fitted.provenance.model.n_layers, concepts=["joy", "grief"], random=5)
    texts = _training_texts(fitted, corpus, store)
    material = directions_of(fitted, plan, texts)
    columns = [fitted.concepts.index(name) for name in plan.concepts]
    assert [each.layer for each in material] == list(fitted.layers)
    half, names = group_folds(texts.data.groups, 2, plan.seed), list(fitted.concepts)
    times = math.ceil(2 * plan.random / len(names))
    sources = permuted_texts(texts.data.groups, torch.Generator().manual_seed(plan.seed), times).long()
    assert len(sources) > 1
    assert not any(torch.equal(texts.data.positive[source], texts.data.positive) for source in sources)
    shuffled = [
        replace(texts.data, positive=texts.data.positive[source], negative=texts.data.negative[source])
        for source in sources
    ]
    null = torch.cat(
        [apply_method(Method("quarter_whitened"), some, texts.neutral, names).directions for some in shuffled]
    )
    for index, each in enumerate(material):
        torch.testing.assert_close(each.shuffled, null[:, index])
        assert torch.equal(each.concepts, fitted.write_vectors[index, columns])
        for number in (0, 1):
            some = texts.data.take(half == number)
            steers, reads = (
                apply_method(Method(name), some, texts.neutral, names).directions[columns]
                for name in ("quarter_whitened", "whitened")
            )
            torch.testing.assert_close(each.halves[number], steers[:, index])
            if each.readers is not None:
                torch.testing.assert_close(
                    each.readers.vectors[number], reads[:, texts.layers.index(each.readers.layer)]
                )
    assert any(each.readers is not None for each in material)


def test_a_readout_whose_write_vectors_were_not_copied_does_not_steer(readout, workplace, tiny, tmp_path):  # noqa: F811
    corpus, store = corpus_of(readout, workplace / "corpus"), store_of(readout, workplace / "activations")
    path = at.fit(corpus, store, aggregator="whitened").save(tmp_path / "readout.safetensors")
    (tmp_path / "readout.write.safetensors").unlink()
    with pytest.raises(ReadoutError, match="write vectors are missing"):
        at.steer(at.load_readout(path), tiny, **CHEAP)
