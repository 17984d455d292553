"""`capture` in vLLM against TransformerLens: one engine on the embedded model, in steps so small that they cut texts."""

import json

import pytest
import torch

from amygdala_tl import Corpus, capture, fit, load_vllm
from amygdala_tl.activations.golden import check_store, read_golden
from amygdala_tl.activations.hashed_files import write_hashed
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.corpus.io import write_corpus
from amygdala_tl.demo import demo_graph_path
from amygdala_tl.errors import ActivationStoreError, InputError, ModelError
from amygdala_tl.lens.identity import same_model
from amygdala_tl.memory.graph_file import read_graph_file
from amygdala_tl.records import READ_POSITIONS
from amygdala_tl.vllm import model as vllm_model
from amygdala_tl.vllm.golden import has_vllm
from tests.cli.conftest import run

LAYERS = [9, 18, 29]
STEP = 96


@pytest.fixture(scope="module")
def engine(converted):
    """The embedded model in vLLM, with blocks of 32 tokens in its cache, and its counters on."""
    small = {"max_num_batched_tokens": STEP, "max_num_seqs": 8, "block_size": 32, "disable_log_stats": False}
    with load_vllm("embedded", "float32", **small) as model:
        yield model


@pytest.fixture(scope="module")
def corpus():
    """Notes, one of them longer than a step, one of one token, and two that begin as another one does."""
    notes = [node.content[:200] for node in read_graph_file(demo_graph_path())][:8]
    texts = [*notes, "\n".join(notes), "Hi", *(f"{notes[0]} {notes[1]} {end}" for end in ("Good night.", "So be it."))]
    return corpus_of(texts)


@pytest.fixture(scope="module")
def reference(corpus, embedded, tmp_path_factory):
    """The store of TransformerLens."""
    return capture(corpus, embedded, tmp_path_factory.mktemp("reference"), layers=LAYERS, token_components=2)[0]


def corpus_of(texts):
    return Corpus.from_texts(texts, ["calm" if index % 2 else "grief" for index in range(len(texts))], min_examples=1)


def cached(engine):
    """How many tokens the engine has taken from its cache so far."""
    return next(each.value for each in engine.engine.llm.get_metrics() if each.name == "vllm:prefix_cache_hits")


def relative(found, expected):
    return float(((found - expected).norm(dim=-1) / expected.norm(dim=-1)).max())


def assert_same(store, reference, corpus):
    ids = [text.id for text in corpus.texts]
    for position in READ_POSITIONS:
        assert relative(store.load(ids, LAYERS, position), reference.load(ids, LAYERS, position)) < 1e-4


@pytest.mark.needs_vllm
def test_the_store_is_that_of_transformer_lens(engine, corpus, reference, embedded, tmp_path):
    before = cached(engine)
    store, summary = capture(corpus, engine, tmp_path, layers=LAYERS, token_components=2)
    assert summary.texts_run == len(corpus.texts)
    assert cached(engine) == before  # the template does not fill a block, and a text's own tokens run
    assert_same(store, reference, corpus)
    readout, expected = (fit(corpus, each, aggregator="subspace", min_examples=1) for each in (store, reference))
    assert relative(readout.vectors, expected.vectors) < 1e-3
    for ours, theirs in (
        (readout.text_calibration, expected.text_calibration),
        (readout.token_calibration, expected.token_calibration),
    ):
        assert ours.n == theirs.n
        torch.testing.assert_close(ours.std, theirs.std, rtol=1e-3, atol=0.0)
    assert (store.info.engine, store.info.versions["vllm"][:1]) == ("vLLM", "0")
    assert store.folder.name != reference.folder.name
    assert same_model(store.info, embedded.info) == "same"


@pytest.mark.needs_vllm
def test_texts_that_lose_tokens_to_the_cache_run_again(engine, corpus, reference, tmp_path, monkeypatch):
    monkeypatch.setattr(vllm_model, "_BLOCK", 10**6)  # so that no text is kept from reading another's blocks
    before = cached(engine)
    store, _ = capture(corpus, engine, tmp_path, layers=LAYERS, token_components=2)
    assert cached(engine) > before
    assert_same(store, reference, corpus)


@pytest.mark.needs_vllm
def test_the_golden_texts_run_in_the_engine(engine, corpus, tmp_path):
    texts = corpus_of([text.text for text in corpus.texts[:4]])
    store, _ = capture(texts, engine, tmp_path, layers=LAYERS)
    golden = read_golden(store)
    assert sorted(golden.streams) == LAYERS
    assert capture(texts, engine, tmp_path, layers=LAYERS)[1].texts_run == 0
    (path,) = store.folder.glob("golden-*")
    path.unlink()
    header = {"texts": golden.texts, "ids": golden.ids, "layers": LAYERS}
    changed = {"streams": 1.01 * golden.at(LAYERS)}
    write_hashed(store.folder, "golden", changed, {name: json.dumps(value) for name, value in header.items()})
    with pytest.raises(ActivationStoreError, match="no longer computes"):
        check_store(engine, ActivationStore.find(store.folder), LAYERS)


@pytest.mark.needs_vllm
def test_after_an_error_in_a_worker_and_a_capture_that_was_stopped_the_engine_goes_on(engine):
    ids = [[1, 2, 3, 4]]
    expected = engine.streams(ids, [9])
    with pytest.raises(ModelError, match="out of range"):
        engine.streams(ids, [99])
    for _ in engine.engine.run(vllm_model.whole([[7] * 80] * 40), [9], at_once=1):
        break
    assert relative(engine.streams(ids, [9]), expected) < 1e-5


@pytest.mark.needs_vllm
def test_the_command_captures_a_text_as_long_as_the_context(capsys, served_checkpoint, tmp_path):
    checkpoint, long = served_checkpoint("llama"), "The tide came in again, as it does. " * 90
    write_corpus(corpus_of([f"{index}. {long}" for index in range(10)]), tmp_path / "corpus")
    common = ("capture", "--training-data-dir", tmp_path / "corpus", "--model", checkpoint, "--target-layers", "1,3")
    for name, more in (("lens", ()), ("vllm", ("--engine", "vllm"))):
        code, out, err = run(capsys, *common, "--activations-dir", tmp_path / name, *more)
        assert code == 0, err
    assert "vLLM" in out
    stores = [ActivationStore.find(tmp_path / name) for name in ("vllm", "lens")]
    ids = [text.id for text in corpus_of([f"{index}. {long}" for index in range(10)]).texts]
    found, expected = (store.load(ids, [1, 3], "last") for store in stores)
    assert relative(found, expected) < 1e-4


@pytest.mark.skipif(has_vllm(), reason="vLLM is installed here")
def test_without_vllm_it_is_an_error_that_says_so():
    with pytest.raises(InputError, match="vLLM is not installed"):
        load_vllm()


def test_what_vllm_decides_itself_cannot_be_chosen(capsys, tmp_path):
    for flag, value in (("--device", "cpu"), ("--batch-size", "4")):
        where = ("--training-data-dir", tmp_path, "--activations-dir", tmp_path / "a")
        code, _, err = run(capsys, "capture", "--engine", "vllm", *where, flag, value)
        assert code == 2
        assert f"Leave {flag} out" in err
