"""Corpus to scores on a tiny model: what is counted, calibrated, left out and computed again."""

import dataclasses

import pytest
import torch

from amygdala_tl import capture, fit, fit_eraser, load_readout, score
from amygdala_tl.activations.golden import read_golden
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.api.evaluate import passages
from amygdala_tl.api.score import score_tokens
from amygdala_tl.corpus.build import build_corpus
from amygdala_tl.corpus.labels import LabelRules
from amygdala_tl.demo import demo_graph_path
from amygdala_tl.directions.choice import CANDIDATES
from amygdala_tl.directions.method import Method, parse_method
from amygdala_tl.errors import ActivationStoreError, FitError, InputError, ModelError, ReadoutError
from amygdala_tl.lens.residuals import run_resid_post
from amygdala_tl.memory.graph_file import read_graph_file
from amygdala_tl.records import Node

LAYERS = "0,2"
RULES = LabelRules(heldout_fraction=0.2)
SENTENCES = ["The lamp went out and nobody lit it again.", "Four gulls.", "We laughed until Hal came in, twice!"]


@pytest.fixture(scope="module")
def nodes():
    return read_graph_file(demo_graph_path())


@pytest.fixture(scope="module")
def corpus(nodes):
    return build_corpus(nodes, RULES)


@pytest.fixture(scope="module")
def store(corpus, tiny, tmp_path_factory):
    return capture(corpus, tiny, tmp_path_factory.mktemp("activations"), layers=LAYERS, chat_template="none")[0]


@pytest.fixture(scope="module")
def bundle(corpus, store, tmp_path_factory):
    return fit(corpus, store, aggregator="mean").save(tmp_path_factory.mktemp("readout") / "readout.safetensors")


def test_directions_are_those_of_a_naive_loop_over_training_texts_only(corpus, store):
    result = fit(corpus, store, aggregator="mean")
    assert result.layers == (0, 2)
    train = [text for text in corpus.texts if text.split == "train"]
    activations = dict(zip([t.id for t in train], store.load([t.id for t in train], [2], "pooled")[:, 0], strict=True))
    for concept in ("grief", "joy"):
        positive = [activations[text.id] for text in train if concept in text.positive]
        negative = [activations[text.id] for text in train if concept in text.negative]
        naive = sum(positive) / len(positive) - sum(negative) / len(negative)
        found = result.vectors[1, result.concepts.index(concept)]
        torch.testing.assert_close(found, naive / naive.norm(), rtol=1e-3, atol=1e-4)
        assert result.provenance.counts[concept] == {"positive": len(positive), "negative": len(negative)}


def test_calibrated_training_texts_have_mean_zero_and_deviation_one(corpus, bundle, tiny):
    texts = [text.text for text in corpus.texts if text.split == "train"]
    scores = score(texts, bundle, tiny, calibrated=True)
    torch.testing.assert_close(scores.mean(dim=0), torch.zeros(2, len(corpus.concepts)), rtol=0, atol=2e-2)
    torch.testing.assert_close(scores.std(dim=0), torch.ones(2, len(corpus.concepts)), rtol=2e-2, atol=0)


def test_calibrated_tokens_of_the_training_texts_have_mean_zero_and_deviation_one(corpus, bundle, tiny):
    training = [text.text for text in corpus.texts if text.split == "train"]
    results = score_tokens(training, load_readout(bundle), tiny)
    tokens = torch.cat([result.scores[result.readable[:, 0], 0] for result in results])
    torch.testing.assert_close(tokens.mean(dim=0), torch.zeros(len(corpus.concepts)), rtol=0, atol=2e-2)
    torch.testing.assert_close(tokens.std(dim=0), torch.ones(len(corpus.concepts)), rtol=2e-2, atol=0)


def test_raw_scores_are_projections_of_the_pooled_residual_stream(bundle, tiny):
    readout = load_readout(bundle)
    scores = score(SENTENCES, bundle, tiny)
    for row, text in enumerate(SENTENCES):
        tokens = torch.tensor([tiny.tokenizer(text).input_ids])
        stream = run_resid_post(tiny.model, tokens, [0, 2])[0]
        pooled = stream[1:].mean(dim=0)  # a random model has no sink but the first token
        naive = torch.stack([readout.vectors[layer] @ pooled[layer] for layer in range(2)])
        torch.testing.assert_close(scores[row], naive, rtol=1e-4, atol=1e-4)


def test_token_scores_are_projections_of_each_token_and_their_pieces_make_the_text(bundle, tiny):
    readout = load_readout(bundle)
    for text, result in zip(SENTENCES, score_tokens(SENTENCES, readout, tiny, calibrated=False), strict=True):
        assert "".join(result.pieces) == text
        stream = run_resid_post(tiny.model, torch.tensor([tiny.tokenizer(text).input_ids]), [0, 2])[0]
        naive = torch.einsum("tld,lcd->tlc", stream, readout.vectors)
        torch.testing.assert_close(result.scores, naive, rtol=1e-4, atol=1e-4)


def test_a_notebook_shows_tokens_by_the_strongest_concept(bundle, tiny):
    (found,) = score_tokens(["The lamp went out <again>."], load_readout(bundle), tiny)
    z = found.combined[found.readable.all(dim=1)].mean(dim=0)
    shown = found._repr_html_()
    assert f"coloured by {found.concepts[int(z.argmax())]};" in shown
    assert f"{float(z.max()):+.1f}" in shown
    assert "&lt;" in shown
    assert "nan" not in shown, "a sink has no score"


def test_z_of_texts_are_those_of_their_numbers_of_tokens(corpus, bundle, tiny):
    readout, some = load_readout(bundle), [text for text in corpus.texts if text.split == "heldout"][:3]
    texts = [text.text for text in some]
    # A random model has no sink but the first token.
    counts = torch.tensor([[len(tiny.tokenizer(text).input_ids) - 1] * 2 for text in texts])
    expected = readout.calibrated(score(texts, bundle, tiny), of="texts", tokens=counts)
    torch.testing.assert_close(score(texts, bundle, tiny, calibrated=True), expected, rtol=1e-4, atol=1e-4)
    found = passages(readout, dataclasses.replace(corpus, texts=tuple(some)), tiny)[0]
    shown = {text: z for z, text in (*found.top, *found.bottom)}
    assert found.layer is None
    combined = readout.combined_z(score(texts, bundle, tiny), of="texts", tokens=counts)
    assert shown == pytest.approx(dict(zip(texts, combined[:, 0].tolist(), strict=True)), abs=1e-4)


def test_only_pooled_texts_are_calibrated_by_length(corpus, store):
    assert fit(corpus, store, aggregator="mean", read_position="last").length_calibration is None


def test_a_text_that_is_only_a_sink_has_no_calibrated_score(bundle, tiny):
    scores = score(["a", "a longer text"], bundle, tiny, calibrated=True)
    assert scores[0].isnan().all()
    assert not scores[1].isnan().any()


def test_removing_a_concepts_texts_or_adding_ten_nodes_runs_only_new_texts(nodes, corpus, store, tiny, tmp_path):
    seen = []
    handle = tiny.model.embed.register_forward_pre_hook(lambda _module, args: seen.append(int((args[0] != 0).sum())))
    capture(corpus, tiny, store.folder.parent, layers=LAYERS, chat_template="none")
    without = build_corpus([node for node in nodes if "grief:" not in node.content], RULES)
    assert len(without.texts) < len(corpus.texts)
    capture(without, tiny, store.folder.parent, layers=LAYERS, chat_template="none")
    golden = sum(map(len, read_golden(store).ids))
    assert sum(seen) == 2 * golden
    news = [
        f"Entry {index}. The harbour froze over in the night and {'nobody ' * index}noticed." for index in range(10)
    ]
    added = [Node(f"journal-2032-01-{10 + index}.md#x", "episodicSession", text) for index, text in enumerate(news)]
    more = build_corpus([*nodes, *[Node(node.key, node.kind, f"{node.content}\n\nawe:9") for node in added]], RULES)
    _, summary = capture(more, tiny, store.folder.parent, layers=LAYERS, chat_template="none")
    handle.remove()
    expected = sum(len(tiny.tokenizer(text).input_ids) for text in news)
    assert summary.texts_run == 10
    assert sum(seen) - 3 * golden == summary.tokens_run == expected


def test_a_concept_with_too_few_examples_is_named_and_left_out_and_the_rest_goes_on(corpus, store):
    most = {c: sum(c in t.positive for t in corpus.texts if t.split == "train") for c in corpus.concepts}
    limit = sorted(most.values())[3]
    result = fit(corpus, store, aggregator="mean", min_examples=limit)
    assert set(result.provenance.left_out) == {concept for concept, count in most.items() if count < limit}
    assert set(result.concepts) == set(corpus.concepts) - set(result.provenance.left_out)
    with pytest.raises(FitError, match="no concept has enough examples"):
        fit(corpus, store, min_examples=10_000)


@pytest.fixture(scope="module")
def chosen(corpus, store):
    """The fit of the method that `auto` chooses."""
    return fit(corpus, store)


def test_vectors_to_steer_with_are_those_of_their_own_estimator_unless_the_readout_reads_with_them(corpus, store):
    quarters = fit(corpus, store, aggregator="quarter_whitened")
    other = fit(corpus, store, aggregator="whitened")
    torch.testing.assert_close(other.write_vectors, quarters.vectors)
    assert other.provenance.writer == "quarter_whitened"
    means = fit(corpus, store, aggregator="mean")
    torch.testing.assert_close(fit(corpus, store, aggregator="linear", writer="mean").write_vectors, means.vectors)
    assert torch.equal(quarters.writing, quarters.vectors)
    for plain in (quarters, fit(corpus, store, aggregator="whitened", writer="read")):
        assert plain.write_vectors is None
        assert plain.provenance.writer is None


def test_a_saved_bundle_erases_without_the_corpus_as_the_eraser_that_is_fitted_on_it_does(corpus, store, bundle):
    kept, fitted = load_readout(bundle).eraser, fit_eraser(load_readout(bundle), corpus, store)
    graded = fit(corpus, store, aggregator="whitened", labels="graded").eraser
    train = [text for text in corpus.texts if text.split == "train" and not text.neutral]
    streams = store.load([text.id for text in train], [2], "pooled")[:, 0]
    for concept in ("grief", "joy"):
        after = kept.at(concept, layer=2)(streams)
        torch.testing.assert_close(after, fitted.at(concept, layer=2)(streams), rtol=1e-3, atol=2e-3)
        torch.testing.assert_close(after, graded.at(concept, layer=2)(streams), rtol=1e-3, atol=2e-3)
        sides = [torch.tensor([concept in getattr(text, side) for text in train]) for side in ("positive", "negative")]
        before, left = (
            (values[sides[0]].mean(dim=0) - values[sides[1]].mean(dim=0)).norm() for values in (streams, after)
        )
        assert left < 2e-3 * before


def test_held_out_texts_do_not_move_the_fit(corpus, store, chosen):
    flipped = tuple(
        dataclasses.replace(text, positive=text.negative, negative=text.positive) if text.split == "heldout" else text
        for text in corpus.texts
    )
    other = fit(dataclasses.replace(corpus, texts=flipped), store)
    assert chosen.provenance.estimator == other.provenance.estimator
    assert torch.equal(chosen.vectors, other.vectors)
    for name in ("mean", "floor", "reach"):
        assert torch.equal(getattr(chosen.length_calibration, name), getattr(other.length_calibration, name))
    assert chosen.length_calibration.n == sum(text.split == "train" for text in corpus.texts)


def test_auto_takes_the_best_of_its_table_and_says_what_it_compared(chosen):
    table = chosen.provenance.estimator["chosen_from"]
    assert [row["method"] for row in table] == [str(method) for method in CANDIDATES]
    best = max(table, key=lambda row: row["auroc"])
    assert best["method"].split(" + ")[0] == chosen.provenance.estimator["aggregator"]


def test_named_methods_are_compared_concept_by_concept(corpus, store):
    found = fit(corpus, store, aggregator="mean, whitened", denoise="grand-mean").provenance.estimator
    rows = {row["method"]: row for row in found["chosen_from"]}
    assert set(rows) == {"mean + grand-mean", "whitened + grand-mean"}
    assert rows[found["method"]]["auroc"] == max(row["auroc"] for row in rows.values())
    for row in rows.values():
        assert len(row["auroc_by_concept"]) == len(corpus.concepts)
        assert sum(row["auroc_by_concept"]) / len(corpus.concepts) == pytest.approx(row["auroc"], abs=0.01)
    with pytest.raises(InputError, match="Name it alone"):
        fit(corpus, store, aggregator="mean,subspace")


def test_graded_labels_move_a_fit_and_are_refused_where_they_mean_nothing(corpus, store):
    graded = fit(corpus, store, aggregator="whitened", labels="graded")
    classes = fit(corpus, store, aggregator="whitened")
    cosine = (graded.vectors * classes.vectors).sum(dim=-1)
    assert 0.5 < float(cosine.mean()) < 0.999
    assert graded.provenance.estimator["labels"] == "graded"
    with pytest.raises(InputError, match="graded"):
        fit(corpus, store, aggregator="mean", labels="graded")


def test_denoised_directions_have_nothing_of_what_was_removed(corpus, store):
    plain = fit(corpus, store, aggregator="mean")
    denoised = fit(corpus, store, aggregator="mean", denoise="neutral-pca:0.5,grand-mean")
    assert [step["name"] for step in denoised.provenance.denoisers] == ["neutral-pca", "grand-mean"]
    neutral = [text.id for text in corpus.texts if text.neutral and text.split == "train"]
    values = store.load(neutral, [2], "pooled")[:, 0]
    first = torch.linalg.svd(values - values.mean(dim=0), full_matrices=False).Vh[0]
    assert (plain.vectors[1] @ first).abs().max() > 1e-2
    assert (denoised.vectors[1] @ first).abs().max() < 1e-4
    with pytest.raises(InputError, match="auto chooses"):
        fit(corpus, store, denoise="grand-mean")


def test_an_unknown_aggregator_is_refused(corpus, store):
    with pytest.raises(InputError, match="no such aggregator"):
        fit(corpus, store, aggregator="median")


def test_a_bundle_is_not_read_with_another_model(bundle, embedded, tiny_checkpoint):
    with pytest.raises(ReadoutError, match="does not fit the model"):
        score(SENTENCES, bundle, embedded)
    with pytest.raises(ReadoutError, match="other activations"):
        score(SENTENCES, bundle, str(tiny_checkpoint("qwen3")))


def test_an_empty_text_is_refused(bundle, tiny):
    with pytest.raises(InputError, match="text 2 of 2"):
        score(["a b", " \n"], bundle, tiny)


@pytest.mark.parametrize(
    ("aggregator", "labels"), [("mean", "classes"), ("whitened", "classes"), ("whitened", "graded")]
)
def test_a_fit_in_parts_is_the_fit_in_memory(corpus, store, monkeypatch, aggregator, labels):
    parts = []
    batches = ActivationStore.batches

    def small(self, *arguments, **_):
        for rows, values in batches(self, *arguments, size=50):
            parts.append(len(rows))
            yield rows, values

    monkeypatch.setattr(ActivationStore, "batches", small)
    streamed = fit(corpus, store, aggregator=aggregator, labels=labels)
    assert len(parts) > 10
    assert max(parts) == 50
    monkeypatch.undo()
    monkeypatch.setattr(Method, "streamable", False)
    whole = fit(corpus, store, aggregator=aggregator, labels=labels)
    one, other = (dataclasses.replace(each.provenance, golden=None) for each in (streamed, whole))
    assert one == other
    assert torch.cosine_similarity(streamed.vectors, whole.vectors, dim=-1).min() > 0.99999
    for name in ("text_calibration", "token_calibration"):
        one, other = getattr(streamed, name), getattr(whole, name)
        assert one.n == other.n
        torch.testing.assert_close(one.mean, other.mean, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(one.std, other.std, rtol=1e-3, atol=1e-3)


def test_subspaces_are_captured_on_demand_and_fitted_and_asked_for_where_they_are_missing(
    corpus, store, tiny, tmp_path
):
    with pytest.raises(ActivationStoreError, match=r"token.components"):
        fit(corpus, store, aggregator="subspace")
    with pytest.raises(InputError, match="read_position"):
        fit(corpus, store, aggregator="subspace", read_position="last")
    kept, _ = capture(corpus, tiny, tmp_path, layers=LAYERS, chat_template="none", token_components=3)
    result = fit(corpus, kept, aggregator="subspace", denoise="neutral-pca")
    assert result.provenance.estimator["components"] == 3
    assert result.provenance.capture.token_components == 3
    # The rest of what is captured does not change.
    train = [text.id for text in corpus.texts]
    torch.testing.assert_close(kept.load(train, [2], "pooled"), store.load(train, [2], "pooled"))
    one = tiny.tokenizer(corpus.texts[5].text, return_tensors="pt").input_ids
    tokens = run_resid_post(tiny.model, one, [0, 2])[
        0, 1:, 1
    ].double()  # a random model has no sink but the first token
    eigenvalues = torch.linalg.eigvalsh(torch.cov(tokens.T, correction=0)).flip(0)[:3]
    spread = kept.load_spread([corpus.texts[5].id], [2])[0, 0]
    torch.testing.assert_close(spread.square().sum(dim=-1), eigenvalues.float(), rtol=2e-2, atol=0)


def test_texts_run_as_the_users_turn_where_the_tokenizer_has_a_template_and_as_they_are_where_not(
    corpus, tiny, tmp_path, monkeypatch
):
    few = dataclasses.replace(corpus, texts=corpus.texts[:3])
    assert capture(few, tiny, tmp_path, layers=LAYERS)[0].settings.chat_template == "user"
    monkeypatch.setattr(tiny.tokenizer, "chat_template", None)
    assert capture(few, tiny, tmp_path, layers=LAYERS)[0].settings.chat_template == "none"
    with pytest.raises(ModelError, match="no chat template"):
        capture(few, tiny, tmp_path, layers=LAYERS, chat_template="assistant")


def test_auto_compares_methods_on_a_bounded_number_of_texts_and_fits_on_all(corpus, store, monkeypatch):
    seen = []

    def compared(data, neutral, _candidates):
        seen.append((len(data.groups), len(neutral)))
        return parse_method("mean", ""), []

    monkeypatch.setattr("amygdala_tl.api.fit.choose_method", compared)
    monkeypatch.setattr("amygdala_tl.api.labelled.COMPARED", 20)
    found = fit(corpus, store, aggregator="auto")
    assert [max(counts) for counts in seen] == [20]
    assert torch.equal(found.vectors, fit(corpus, store, aggregator="mean").vectors)
