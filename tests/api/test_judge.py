"""From a fit to what can be believed of it: chosen on training groups, judged on held-out ones, kept in the manifest."""

import dataclasses
import json
from functools import partial

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from amygdala_tl import capture, fit, judge, load_readout
from amygdala_tl.activations.embedding import mean_embeddings
from amygdala_tl.activations.pooling import Pooled
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.api import labelled
from amygdala_tl.api.cross_talk import cross_talks
from amygdala_tl.api.judge import with_verdicts
from amygdala_tl.api.labelled import judged_texts, neutral_activations
from amygdala_tl.api.layers import compare_layers
from amygdala_tl.api.score import score_tokens
from amygdala_tl.corpus.build import build_corpus
from amygdala_tl.corpus.labels import LabelRules
from amygdala_tl.diagnostics import diagnose as diagnose_room
from amygdala_tl.diagnostics import nulls
from amygdala_tl.diagnostics import quality as quality_room
from amygdala_tl.diagnostics.cross_fit import cross_fit_streamed, split_half_cosine
from amygdala_tl.diagnostics.diagnose import Diagnoser, verdicts_of
from amygdala_tl.diagnostics.nested import methods_of_folds
from amygdala_tl.diagnostics.separation import best_layers, reading_layers
from amygdala_tl.directions.difference_of_means import mean
from amygdala_tl.directions.estimators import unit_directions
from amygdala_tl.directions.folds import fold_cells, group_folds
from amygdala_tl.directions.linear_regression import linear
from amygdala_tl.directions.method import Method, read_method
from amygdala_tl.errors import CorpusError, FitError, ReadoutError
from amygdala_tl.lens.weights import mlp_outputs, unembedding
from amygdala_tl.memory.graph_file import read_graph_file
from amygdala_tl.records import READ_POSITIONS, CaptureSettings, ModelInfo, Node
from tests.largest import LargestTensor

LAYERS = (0, 1, 2, 3)
D_MODEL = 67
"""Unlike the number of groups of any class, so that `LargestTensor` counts activations."""
PLAIN = CaptureSettings(chat_template="none")
INFO = ModelInfo(
    id="planted",
    revision=None,
    fingerprint="0" * 64,
    architecture="None",
    engine="HookedTransformer",
    versions={},
    dtype="float32",
    n_layers=4,
    d_model=D_MODEL,
    n_ctx=512,
)
STRENGTH = (1.0, 2.0, 5.0, 2.0)
"""How far a concept moves its texts at each layer, in deviations of the noise; the third is the one to choose."""


NOTHING = "boredom"
"""A concept whose labels are drawn blindly: nothing in the texts speaks of it, not even what else they are labelled with."""

EARLY = "grief"
"""A concept that moves its texts at the first layer only."""

OTHERS = (
    "amusement",
    "anxiety",
    "awe",
    "calm",
    "curiosity",
    "frustration",
    "gratitude",
    "joy",
    "loneliness",
    "shame",
    "warmth",
)


def store_of(folder, texts, activations):
    """A store on disk that holds these activations [text, layer, d_model] at every read position."""
    store = ActivationStore.for_model(folder, dataclasses.replace(INFO, d_model=activations.shape[-1]), PLAIN)
    counts = torch.ones(len(texts), len(LAYERS), dtype=torch.int32)
    positions = {position: activations.clone() for position in READ_POSITIONS}
    pooled = Pooled(positions, counts, torch.arange(len(texts)).int(), activations.clone())
    store.add([text.id for text in texts], LAYERS, pooled, 1.0)
    return store


def planted(corpus, strength=STRENGTH, seed=0):
    """Noise, and a direction a concept and layer along which its positive texts move; NOTHING moves none, EARLY its own way."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(
        torch.randn(len(corpus.concepts), len(LAYERS), D_MODEL, generator=generator), dim=-1
    )
    activations = torch.randn(len(corpus.texts), len(LAYERS), D_MODEL, generator=generator)
    for row, text in enumerate(corpus.texts):
        for concept in set(text.positive) - {NOTHING}:
            moved = (6.0, 0.0, 0.0, 0.0) if concept == EARLY else strength
            activations[row] += torch.tensor(moved)[:, None] * directions[corpus.concepts.index(concept)]
    return activations


def exactly(one, other):
    """Equal bit for bit; NaN equals NaN."""
    torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@pytest.fixture(scope="module")
def corpus(some_graph):
    made = build_corpus(
        read_graph_file(some_graph), LabelRules(emotions=(NOTHING, EARLY, *OTHERS), heldout_fraction=0.2)
    )
    drawn = torch.rand(len(made.texts), generator=torch.Generator().manual_seed(8)) < 0.15
    texts = []
    for text, yes in zip(made.texts, drawn.tolist(), strict=True):
        if not text.neutral:
            positive, negative = (set(side) - {NOTHING} for side in (text.positive, text.negative))
            (positive if yes else negative).add(NOTHING)
            text = dataclasses.replace(text, positive=tuple(sorted(positive)), negative=tuple(sorted(negative)))
        texts.append(text)
    return dataclasses.replace(made, texts=tuple(texts))


@pytest.fixture(scope="module")
def store(corpus, tmp_path_factory):
    return store_of(tmp_path_factory.mktemp("planted"), corpus.texts, planted(corpus))


@pytest.fixture(scope="module")
def fitted(corpus, store):
    return fit(corpus, store, aggregator="mean")


@pytest.fixture(scope="module")
def diagnosis(corpus, store, fitted):
    return judge(fitted, corpus, store)


@pytest.fixture(scope="module")
def judged(fitted, diagnosis):
    return with_verdicts(fitted, diagnosis)


@pytest.fixture(scope="module")
def real(corpus, tiny, tmp_path_factory):
    """Corpus, store, fit and diagnosis of a model that runs."""
    store = capture(corpus, tiny, tmp_path_factory.mktemp("real"), layers="1,2", chat_template="none")[0]
    fitted = fit(corpus, store, aggregator="mean")
    return store, fitted, judge(fitted, corpus, store, tiny)


def held_out_labels_shuffled(corpus, seed=1):
    texts = [text for text in corpus.texts if text.split == "heldout" and not text.neutral]
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed)).tolist()
    given_to = {text.id: texts[place] for text, place in zip(texts, order, strict=True)}
    shuffled = tuple(
        dataclasses.replace(text, positive=other.positive, negative=other.negative, scores=other.scores)
        if (other := given_to.get(text.id)) is not None
        else text
        for text in corpus.texts
    )
    return dataclasses.replace(corpus, texts=shuffled)


# What is chosen never sees the held-out texts


def assert_choices_are_equal(one, other):
    for measure in ("auroc", "d_prime", "fisher_ratio"):
        for end in ("value", "low", "high"):
            exactly(getattr(getattr(one.by_layer, measure), end), getattr(getattr(other.by_layer, measure), end))
    assert torch.equal(reading_layers(one.by_layer), reading_layers(other.by_layer))
    assert torch.equal(one.evaluation.reading_layer, other.evaluation.reading_layer)
    assert [quality.layer for quality in one.quality] == [quality.layer for quality in other.quality]
    for slots in (1, 2, 3):
        assert best_layers(one.by_layer, slots) == best_layers(other.by_layer, slots)


def test_shuffled_held_out_labels_change_the_judgement_and_no_choice(corpus, store, fitted, diagnosis):
    shuffled = held_out_labels_shuffled(corpus)
    refitted = fit(shuffled, store, aggregator="mean")
    assert torch.equal(refitted.vectors, fitted.vectors)
    found = judge(refitted, shuffled, store)
    assert_choices_are_equal(found, diagnosis)
    one, other = found.held_out.auroc.value, diagnosis.held_out.auroc.value
    assert (other - one)[[concept != NOTHING for concept in corpus.concepts]].mean() > 0.2
    one, other = found.evaluation.auroc.value, diagnosis.evaluation.auroc.value
    assert (other - one)[[concept != NOTHING for concept in corpus.concepts]].mean() > 0.02


def test_held_out_activations_that_speak_for_another_layer_change_no_choice(corpus, diagnosis, tmp_path):
    activations = planted(corpus)
    other_world = planted(corpus, strength=(6.0, 0.0, 0.0, 0.0))
    held_out = torch.tensor([text.split == "heldout" for text in corpus.texts])
    activations[held_out] = other_world[held_out]
    replaced = store_of(tmp_path, corpus.texts, activations)
    refitted = fit(corpus, replaced, aggregator="mean")
    found = judge(refitted, corpus, replaced)
    assert_choices_are_equal(found, diagnosis)
    before, after = (each.crosstalk[2].auroc.diagonal() for each in (diagnosis, found))
    assert (before - after).nanmean() > 0.02  # at the layer that is still chosen
    before, after = (each.held_out.auroc.value for each in (diagnosis, found))
    assert (before - after).nanmean() > 0.05
    separation = compare_layers(corpus, replaced, aggregator="mean")
    exactly(separation.auroc.value, diagnosis.by_layer.auroc.value)


def test_the_layers_that_were_planted_strongest_are_chosen(diagnosis):
    assert best_layers(diagnosis.by_layer, 1) == (2,)
    assert best_layers(diagnosis.by_layer, 2) == (0, 2)
    layer = {quality.concept: quality.layer for quality in diagnosis.quality if quality.verdict == "readable"}
    assert layer.pop(EARLY) == 0
    assert set(layer.values()) == {2}
    assert len(layer) > 8


# No group on both sides


@pytest.mark.parametrize("aggregator", ["mean", "whitened"])
def test_what_only_a_group_has_is_not_readable(corpus, tmp_path, aggregator):
    """Texts of a group are one point, and labels know the group: any group on both sides of any split would be recognised."""
    groups = sorted({text.group for text in corpus.texts})
    generator = torch.Generator().manual_seed(3)
    point = dict(zip(groups, 10 * torch.randn(len(groups), len(LAYERS), D_MODEL, generator=generator), strict=True))
    has = {group: torch.rand(3, generator=generator) < 0.3 for group in groups}
    concepts = corpus.concepts[:3]
    texts = tuple(
        dataclasses.replace(
            text,
            positive=tuple(c for c, yes in zip(concepts, has[text.group].tolist(), strict=True) if yes),
            negative=tuple(c for c, yes in zip(concepts, has[text.group].tolist(), strict=True) if not yes),
        )
        for text in corpus.texts
    )
    by_groups = dataclasses.replace(corpus, concepts=concepts, texts=texts)
    store = store_of(tmp_path, texts, torch.stack([point[text.group] for text in texts]))
    result = fit(by_groups, store, aggregator=aggregator)
    found = judge(result, by_groups, store)
    assert {quality.verdict for quality in found.quality} <= {"not readable", "undecided"}
    assert found.by_layer.auroc.value.mean() < 0.6
    # The directions do know the groups that they were fitted on.
    train = [text for text in texts if text.split == "train"]
    scores = store.load([text.id for text in train], [2], "pooled")[:, 0] @ result.vectors[2, 0]
    assert roc_auc_score([concepts[0] in text.positive for text in train], scores.numpy()) > 0.7


@st.composite
def graphs(draw):
    """Notes of a few days and documents; every one has a tag or none."""
    days = draw(st.lists(st.integers(1, 28), min_size=6, max_size=14, unique=True))
    seed = draw(st.integers(0, 10_000))
    nodes = []
    for number in range(draw(st.integers(40, 90))):
        day = days[draw(st.integers(0, len(days) - 1))]
        tag = draw(st.sampled_from(["joy:9", "grief:9", "joy:8 awe:10", "awe:9", ""]))
        key = draw(st.sampled_from([f"journal-2031-03-{day:02}.md#{number}", f"notes-{day}.md#{number}"]))
        nodes.append(Node(key, "note", f"Note {number}: the harbour lay still until the ferry came in.\n\n{tag}"))
    return nodes, seed


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(graphs())
def test_no_group_is_both_fitted_on_and_judged_on(tmp_path_factory, graph):
    nodes, seed = graph
    try:
        corpus = build_corpus(nodes, LabelRules(min_examples=2, seed=seed, heldout_fraction=0.3))
    except CorpusError:  # all notes of a concept are held out
        return
    if not any(text.split == "heldout" and not text.neutral for text in corpus.texts):
        return
    activations = torch.randn(len(corpus.texts), len(LAYERS), 8, generator=torch.Generator().manual_seed(seed))
    store = store_of(tmp_path_factory.mktemp("graph"), corpus.texts, activations)
    result = fit(corpus, store, aggregator="mean", min_examples=1)
    if len({text.group for text in corpus.texts if text.split == "train" and not text.neutral}) < 2:
        with pytest.raises(FitError, match="one group"):
            judge(result, corpus, store)
        return
    group = {text.text: text.group for text in corpus.texts}
    train, held_out = (judged_texts(result, corpus, store, split) for split in ("train", "heldout"))
    diagnoser = Diagnoser(result, train, neutral_activations(result, corpus, store))
    fitted_on = {group[text] for text in diagnoser.train.texts}
    judged_on = {group[text] for text in held_out.texts}
    assert fitted_on.isdisjoint(judged_on)
    assert judged_on == {t.group for t in corpus.texts if t.split == "heldout" and not t.neutral}
    # ... and the numbers beside the names are those of these texts.
    where = {text.id: row for row, text in enumerate(corpus.texts)}
    exactly(held_out.data.whole().activations, activations[[where[name] for name in held_out.ids]])
    exactly(train.data.whole().activations, activations[[where[name] for name in train.ids]])
    for concept, counts in result.provenance.counts.items():
        assert counts["positive"] == sum(concept in corpus.texts[where[name]].positive for name in train.ids)


# Judged as a plain loop would


def test_the_held_out_evaluation_is_scikit_learns_on_held_out_texts(corpus, store, fitted, diagnosis):
    texts = [text for text in corpus.texts if text.split == "heldout" and not text.neutral]
    found = diagnosis.held_out
    assert found.n_groups == len({text.group for text in texts})
    ids = [text.id for text in texts]
    raw = fitted.scores(store.load(ids, fitted.layers, "pooled"))
    z = fitted.combined_z(raw, of="texts", tokens=store.load_counts(ids, fitted.layers))
    assert_scikit_learn_agrees(found, fitted, texts, z)


def test_the_evaluation_is_scikit_learns_on_all_texts_by_directions_of_other_groups(corpus, store, fitted, diagnosis):
    sides = [
        [text for text in corpus.texts if text.split == side and not text.neutral] for side in ("train", "heldout")
    ]
    train, held_out = ([text.id for text in side] for side in sides)
    data = judged_texts(fitted, corpus, store, "train").data.whole()
    fold, total = group_folds(data.groups, 5), torch.zeros(len(train) + len(held_out), len(fitted.concepts))
    for layer in range(len(fitted.layers)):

        def standardised(kept, new, directions, layer=layer):
            known = kept.activations[:, layer] @ directions.T
            return (new[:, layer] @ directions.T - known.mean(dim=0)) / known.std(dim=0)

        for held in range(5):
            kept = data.take(fold != held)
            directions = unit_directions(mean(kept).vectors, list(fitted.concepts))[:, layer]
            total[: len(train)][fold == held] += standardised(kept, data.activations[fold == held], directions)
        total[len(train) :] += standardised(data, store.load(held_out, fitted.layers, "pooled"), fitted.vectors[layer])
    assert diagnosis.evaluation.n_groups == len({text.group for side in sides for text in side})
    assert_scikit_learn_agrees(diagnosis.evaluation, fitted, sides[0] + sides[1], total, tolerance=2e-4)


def assert_scikit_learn_agrees(found, fitted, texts, z, tolerance=1e-6):
    for place, concept in enumerate(fitted.concepts):
        scores = z[:, place]
        labelled = [
            (float(score), concept in text.positive)
            for text, score in zip(texts, scores, strict=True)
            if concept in text.positive + text.negative
        ]
        labels = [yes for _, yes in labelled]
        values = [score for score, _ in labelled]
        assert float(found.auroc.value[place]) == pytest.approx(roc_auc_score(labels, values), abs=tolerance)
        expected = average_precision_score(labels, values)
        assert float(found.average_precision.value[place]) == pytest.approx(expected, abs=10 * tolerance)
        assert int(found.n_positive[place]) == sum(labels)
        assert int(found.n_negative[place]) == len(labels) - sum(labels)


def test_what_was_planted_is_readable_and_what_was_not_is_not(diagnosis):
    verdicts = {quality.concept: quality.verdict for quality in diagnosis.quality}
    assert verdicts[NOTHING] in ("not readable", "undecided")
    assert sum(verdict == "readable" for verdict in verdicts.values()) >= 10


def test_a_diagnosis_repeats_itself(corpus, store, fitted, diagnosis):
    told = []
    again = judge(fitted, corpus, store, progress=lambda *state: told.append(state))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (2 * len(LAYERS), 2 * len(LAYERS)), "layers of the cross-fit and of cross-talk"
    assert verdicts_of(again) == verdicts_of(diagnosis)
    assert again.quality == diagnosis.quality


def test_a_judgement_in_parts_holds_parts_only_and_is_that_of_all_texts_at_once(
    corpus, fitted, diagnosis, tmp_path, monkeypatch
):
    activations = planted(corpus)
    for start in range(0, len(corpus.texts), 20):
        some = slice(start, start + 20)
        store = store_of(tmp_path, corpus.texts[some], activations[some])
    n_random = 100
    monkeypatch.setattr(
        diagnose_room, "random_direction_nulls", partial(nulls.random_direction_nulls, directions=n_random)
    )
    monkeypatch.setattr(labelled, "PART_NUMBERS", 1)
    monkeypatch.setattr(labelled, "FEWEST", 20)
    monkeypatch.setattr(quality_room, "MOST_NUMBERS", 20 * D_MODEL)
    n_train = len(judged_texts(fitted, corpus, store, "train").ids)
    with LargestTensor(D_MODEL) as parts:
        found = judge(fitted, corpus, store)
    assert parts.most <= n_random < n_train
    monkeypatch.setattr(Method, "streamable", False)
    with LargestTensor(D_MODEL) as whole:
        expected = judge(fitted, corpus, store)
    assert whole.most >= n_train
    assert verdicts_of(found) == verdicts_of(expected)
    by_default, others = (
        {name: dataclasses.replace(of, random_directions=None, reason="") for name, of in verdicts_of(each).items()}
        for each in (diagnosis, found)
    )
    assert others == by_default  # but for the number of random directions
    assert torch.equal(reading_layers(found.by_layer), reading_layers(expected.by_layer))
    for one, other in zip(found.quality, expected.quality, strict=True):
        assert one.split_half_cosine == pytest.approx(other.split_half_cosine, abs=1e-5)
        assert one.agreement == pytest.approx(other.agreement, abs=1e-5)
        assert [each.text for each in one.outliers] == [each.text for each in other.outliers]


def test_halves_of_a_regression_have_its_penalty(corpus, store):
    concepts = corpus.concepts[:3]
    texts = tuple(
        dataclasses.replace(
            text,
            positive=tuple(name for name in text.positive if name in concepts),
            negative=tuple(name for name in text.negative if name in concepts),
        )
        for text in corpus.texts
    )
    few = dataclasses.replace(corpus, concepts=concepts, texts=texts)
    readout = fit(few, store, layers="1,2", aggregator="linear")
    train = judged_texts(readout, few, store, "train")
    found = Diagnoser(readout, train).cross_fit.halves
    n_texts = len(train.ids)
    for layer, strength in enumerate(readout.provenance.estimator["strength"]):

        def directions(half, strength=strength):
            vectors = linear(half, strength=strength * n_texts / len(half.groups)).vectors
            return vectors / vectors.norm(dim=-1, keepdim=True)

        expected = split_half_cosine(train.data.whole(layer), directions)[:, 0]
        torch.testing.assert_close(found[:, layer], expected, rtol=0, atol=1e-4)


def test_a_corpus_without_held_out_texts_is_judged_by_other_groups(corpus, store, diagnosis):
    texts = tuple(dataclasses.replace(text, split="train") for text in corpus.texts)
    whole = dataclasses.replace(corpus, texts=texts)
    readout = fit(whole, store, aggregator="mean")
    found = judge(readout, whole, store)
    assert found.held_out is None
    for alone, beside in zip(cross_talks(readout, store, whole, readout.layers), found.crosstalk, strict=True):
        exactly(alone.auroc, beside.auroc)
        exactly(alone.score_correlation, beside.score_correlation)
    assert found.evaluation.n_groups == diagnosis.evaluation.n_groups
    same = sum(one.verdict == other.verdict for one, other in zip(found.quality, diagnosis.quality, strict=True))
    assert same >= len(found.quality) - 1
    assert all(verdict.held_out is None for verdict in verdicts_of(found).values())


def test_the_method_of_a_fold_is_chosen_without_it_and_scores_it(corpus, store, fitted, monkeypatch):
    candidates = [read_method(name) for name in ("mean", "whitened")]
    compared = {**fitted.provenance.estimator, "chosen_from": [{"method": str(each)} for each in candidates]}
    diagnoser = Diagnoser(
        saying(fitted, estimator=compared), judged_texts(fitted, corpus, store, "train"), halves=False
    )
    sample, few = diagnoser.train.data.sample(), torch.arange(len(fitted.concepts)) < 3
    fold = fold_cells(sample.groups, 5).fold
    flipped = dataclasses.replace(
        sample,
        positive=torch.where(fold[:, None] == 2, sample.negative, sample.positive),
        negative=torch.where(fold[:, None] == 2, sample.positive, sample.negative),
    )
    folds = []
    one, other = (
        methods_of_folds(
            each.of_concepts(few).whole(2), diagnoser.neutral[:, 2:3], candidates, fold, lambda: folds.append(1)
        )
        for each in (sample, flipped)
    )
    assert one[2] == other[2]
    assert len(folds) == 2 * 5
    chosen = [candidates[number % 2] for number in range(5)]
    monkeypatch.setattr(diagnose_room, "methods_of_folds", lambda *_: chosen)
    found = diagnoser.nested_scores()
    by_whitened = cross_fit_streamed(candidates[1], diagnoser.train.data, halves=False).scores
    for held, method in enumerate(chosen):
        expected = by_whitened if method == candidates[1] else diagnoser.cross_fit.scores
        exactly(found[:, fold == held], expected[:, fold == held])


# Verdicts on disk


def test_verdicts_are_json_and_come_back_from_a_bundle_with_all_that_the_fit_says(judged, tmp_path):
    path = judged.save(tmp_path / "readout.safetensors")
    said = json.loads(path.with_suffix(".json").read_text())["amygdala_tl"]["verdicts"]
    entries = {concept: dataclasses.asdict(verdict) for concept, verdict in judged.verdicts.items()}
    assert json.loads(json.dumps(said, allow_nan=False)) == json.loads(json.dumps(entries, allow_nan=False))
    back = load_readout(path)
    assert (back.concepts, back.layers) == (judged.concepts, judged.layers)
    for field in dataclasses.fields(judged.provenance):
        assert getattr(back.provenance, field.name) == getattr(judged.provenance, field.name), field.name
    torch.testing.assert_close(back.vectors, judged.vectors, rtol=1e-3, atol=1e-3)
    for name in ("text_calibration", "token_calibration"):
        one, other = getattr(back, name), getattr(judged, name)
        assert one.n == other.n
        torch.testing.assert_close(one.mean, other.mean, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(one.std, other.std, rtol=1e-5, atol=1e-6)


def test_a_verdict_has_the_numbers_that_it_rests_on(diagnosis, judged):
    found = diagnosis.evaluation
    for place, quality in enumerate(diagnosis.quality):
        entry = judged.verdicts[quality.concept]
        assert (entry.verdict, entry.reason, entry.layer) == (quality.verdict, quality.reason, quality.layer)
        assert entry.auroc == pytest.approx(float(found.auroc.value[place]), abs=5e-5)
        low, high = entry.interval
        assert low - 5e-5 <= float(found.auroc.low[place]) <= entry.auroc <= high
        assert high == pytest.approx(float(found.auroc.high[place]), abs=5e-5)
        assert entry.p_value == pytest.approx(float(found.p_value[place]), abs=5e-5)
        assert entry.random_directions == pytest.approx(float(found.random_null[place]), abs=5e-5)
        assert entry.bag_of_words == pytest.approx(float(found.bag_of_words[place]), abs=5e-5)
        assert (entry.n_positive, entry.n_negative) == (int(found.n_positive[place]), int(found.n_negative[place]))


def test_a_concept_that_one_fold_alone_has_is_null_in_the_manifest_and_not_nan(corpus, store, tmp_path):
    days = {text.group for text in corpus.texts if text.split == "train" and "grief" in text.positive}
    day = sorted(days)[0]
    texts = tuple(
        dataclasses.replace(text, positive=tuple(name for name in text.positive if name != "grief"))
        if text.group != day
        else text
        for text in corpus.texts
    )
    without = dataclasses.replace(corpus, texts=texts)
    result = fit(without, store, aggregator="mean", min_examples=1)
    judged = with_verdicts(result, judge(result, without, store))
    path = judged.save(tmp_path / "r.safetensors")
    said = json.loads(path.with_suffix(".json").read_text(), parse_constant=pytest.fail)
    entry = said["amygdala_tl"]["verdicts"]["grief"]
    assert (entry["auroc"], entry["interval"], entry["p_value"]) == (None, [None, None], None)
    assert entry["held_out"] is None
    assert entry["verdict"] == "undecided"
    assert load_readout(path).verdicts == judged.verdicts


def test_a_bundle_is_judged_as_the_readout_that_was_saved(corpus, store, diagnosis, judged, tmp_path):
    back = load_readout(judged.save(tmp_path / "readout.safetensors"))
    assert not torch.equal(back.vectors, judged.vectors)  # float16
    found = judge(back, corpus, store)
    assert [q.verdict for q in found.quality] == [q.verdict for q in diagnosis.quality]
    assert [q.layer for q in found.quality] == [q.layer for q in diagnosis.quality]
    torch.testing.assert_close(found.evaluation.auroc.value, diagnosis.evaluation.auroc.value, rtol=0, atol=5e-3)
    assert_choices_are_equal(found, diagnosis)


def test_a_bundle_that_does_not_say_how_it_was_fitted_is_not_judged(corpus, store, judged, tmp_path):
    path = judged.save(tmp_path / "readout.safetensors")
    said = json.loads(path.with_suffix(".json").read_text())
    del said["amygdala_tl"]["estimator"]
    path.with_suffix(".json").write_text(json.dumps(said))
    with pytest.raises(ReadoutError, match="does not say how it was fitted"):
        judge(load_readout(path), corpus, store)


# Only what is readable


def saying(readout, **said):
    return dataclasses.replace(readout, provenance=dataclasses.replace(readout.provenance, **said))


def test_only_readable_keeps_exactly_the_readable_rows_in_their_order(judged):
    some = ("amusement", "calm", "warmth")
    verdicts = {
        concept: dataclasses.replace(
            entry, verdict="readable" if concept in some else "weak", reason=f"because of {concept}"
        )
        for concept, entry in judged.verdicts.items()
    }
    kept = saying(judged, verdicts=verdicts, left_out={"envy": "2 texts"}).only_readable()
    rows = [judged.concepts.index(concept) for concept in some]
    assert kept.concepts == some
    said, whole = kept.provenance, judged.provenance
    assert tuple(said.counts) == tuple(said.verdicts) == some
    assert all(said.counts[concept] == whole.counts[concept] for concept in some)
    assert torch.equal(kept.vectors, judged.vectors[:, rows])
    for name in ("text_calibration", "token_calibration"):
        one, other = getattr(kept, name), getattr(judged, name)
        assert torch.equal(one.mean, other.mean[:, rows])
        assert torch.equal(one.std, other.std[:, rows])
        assert one.n == other.n
    assert said.left_out["envy"] == "2 texts"
    assert said.left_out["grief"] == "weak: because of grief"
    assert set(said.left_out) == {"envy", *judged.concepts} - set(some)
    assert (kept.layers, said.corpus_sha256, said.model) == (judged.layers, whole.corpus_sha256, whole.model)


def test_only_readable_of_a_real_judgement_leaves_the_unreadable_out_of_the_bundle(judged, tmp_path):
    concepts = load_readout(judged.only_readable().save(tmp_path / "readout.safetensors")).concepts
    assert NOTHING not in concepts
    assert set(concepts) == {name for name, entry in judged.verdicts.items() if entry.verdict == "readable"}


def test_a_readout_that_was_not_judged_or_has_nothing_readable_is_refused(judged):
    with pytest.raises(ReadoutError, match="not judged"):
        saying(judged, verdicts={}).only_readable()
    weak = {concept: dataclasses.replace(entry, verdict="weak") for concept, entry in judged.verdicts.items()}
    with pytest.raises(ReadoutError, match="no concept is readable"):
        saying(judged, verdicts=weak).only_readable()


# With the model and without


def test_neurons_are_the_nearest_rows_of_the_mlps_up_to_the_reading_layer(tiny, real):
    _, fitted, found = real
    rows = dict(mlp_outputs(tiny))
    for place, quality in enumerate(found.quality):
        direction = fitted.vectors[fitted.layers.index(quality.layer), place]
        cosines = {
            (layer, neuron): float(value)
            for layer in range(quality.layer + 1)
            for neuron, value in enumerate(torch.cosine_similarity(rows[layer], direction, dim=-1))
        }
        best = max(cosines, key=lambda key: abs(cosines[key]))
        layer, neuron, cosine = quality.neuron
        assert (layer, neuron) == best
        assert cosine == pytest.approx(cosines[best], abs=1e-5)


def test_tokens_are_those_that_the_direction_raises_and_lowers_most(tiny, real):
    _, fitted, found = real
    head = unembedding(tiny)
    for place in (0, 7):
        quality = found.quality[place]
        direction = fitted.vectors[fitted.layers.index(quality.layer), place]
        order = ((direction * head.gain) @ head.matrix).argsort(descending=True)
        assert quality.tokens_up == tuple(tiny.tokenizer.decode([token]) for token in order[:8].tolist())
        assert quality.tokens_down == tuple(tiny.tokenizer.decode([token]) for token in order.flip(0)[:8].tolist())


def test_the_embedding_baseline_is_the_same_method_on_mean_embeddings(corpus, tiny, real):
    _, fitted, found = real
    sides = [
        [text for text in corpus.texts if text.split == side and not text.neutral] for side in ("train", "heldout")
    ]
    train, held_out = (mean_embeddings(tiny, [text.text for text in side], PLAIN)[:, 0] for side in sides)
    for place, concept in enumerate(fitted.concepts):
        positive, negative = (
            train[[concept in getattr(text, side) for text in sides[0]]].mean(dim=0)
            for side in ("positive", "negative")
        )
        rows = [row for row, text in enumerate(sides[1]) if concept in text.positive + text.negative]
        labels = [concept in sides[1][row].positive for row in rows]
        expected = roc_auc_score(labels, (held_out[rows] @ (positive - negative)).numpy())
        assert float(found.held_out.embedding[place]) == pytest.approx(expected, abs=1e-3)
    assert found.evaluation.embedding.isfinite().all()


def test_texts_to_look_at_are_held_out_and_their_tokens_make_the_text(corpus, tiny, real):
    _, fitted, found = real
    texts = {text.id: text for text in corpus.texts}
    assert len(found.texts) == len({text.id for text in found.texts}) == 24
    for shown in found.texts:
        text = texts[shown.id]
        assert text.split == "heldout"
        assert "".join(shown.tokens) == text.text
        assert shown.labels == text.positive
        assert shown.z.shape == (len(shown.tokens), len(fitted.layers), len(fitted.concepts))
        assert shown.z.isfinite().any()
        assert shown.combined.shape == (len(shown.tokens), len(fitted.concepts))
        assert torch.equal(shown.combined.isnan().any(dim=1), shown.z.isnan().any(dim=2).any(dim=1))
    assert {label for text in found.texts for label in text.labels} == set(fitted.concepts)
    (read,), scored = score_tokens(["".join(shown.tokens)], fitted, tiny), shown.combined.isfinite()
    torch.testing.assert_close(shown.combined[scored], read.combined[scored], atol=1e-3, rtol=0)


def test_the_model_adds_to_a_diagnosis_and_changes_nothing_of_it(corpus, real):
    store, fitted, found = real
    without = judge(fitted, corpus, store)
    assert without.texts == ()
    assert without.evaluation.embedding.isnan().all()
    for quality in without.quality:
        assert (quality.neuron, quality.tokens_up, quality.tokens_down) == (None, (), ())
    assert verdicts_of(without) == verdicts_of(found)
    assert_choices_are_equal(without, found)
