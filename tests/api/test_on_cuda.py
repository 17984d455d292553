"""The package on a CUDA device; skipped where there is none."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import amygdala_tl as at
from amygdala_tl.activations.runner import pool_texts
from amygdala_tl.demo import demo_graph_path
from amygdala_tl.lens.engines import has_hooked_transformer
from amygdala_tl.records import CaptureSettings

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

ENGINES = [*(["HookedTransformer"] if has_hooked_transformer() else []), "TransformerBridge"]
KINDS = [*ENGINES, "PreTrainedModel"]
LAYERS = [6, 14, 23]


@pytest.fixture(scope="module")
def corpus():
    """Real notes, of which some have joy."""
    found = at.extract(memory_file=demo_graph_path())
    texts = [text for text in found.texts if "joy" in text.positive + text.negative][:160]
    return at.Corpus.from_texts(
        [text.text for text in texts], [list(text.positive) for text in texts], groups=[text.group for text in texts]
    )


@pytest.mark.parametrize("template", ["none", "user"])
@pytest.mark.parametrize("engine", ENGINES)
def test_activations_are_those_of_the_cpu(engine, template, corpus, embedded):
    texts, settings = [text.text for text in corpus.texts[:40]], CaptureSettings(chat_template=template)
    lens = at.load_model("embedded", "float32", "cuda", engine=engine)
    ours, counts = pool_texts(lens, texts, LAYERS, "pooled", settings)
    theirs, expected = pool_texts(embedded, texts, LAYERS, "pooled", settings)
    assert torch.equal(counts, expected)
    assert ((ours - theirs).norm(dim=-1) < 1e-4 * theirs.norm(dim=-1)).all()


def test_a_model_loads_in_bfloat16_unless_told(embedded):
    lens = at.load_model("embedded")
    assert (lens.info.dtype, lens.device.type) == ("bfloat16", "cuda")
    assert lens.info.fingerprint == embedded.info.fingerprint


def test_a_batch_that_does_not_fit_runs_in_halves(corpus):
    lens = at.load_model("embedded", "float32", "cuda")
    texts = [text.text for text in corpus.texts] * 4
    plain, _ = pool_texts(lens, texts, LAYERS, "pooled", CaptureSettings())
    torch.cuda.empty_cache()
    held, whole = torch.cuda.memory_allocated(), torch.cuda.get_device_properties(0).total_memory
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.set_per_process_memory_fraction((held + 300 * 2**20) / whole)
    try:
        halved, _ = pool_texts(lens, texts, LAYERS, "pooled", CaptureSettings())
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert torch.cuda.memory_stats()["num_ooms"] > 0
    assert ((plain - halved).norm(dim=-1) < 1e-4 * plain.norm(dim=-1)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_way_works(kind, corpus, tiny_checkpoint, tmp_path):
    folder = tiny_checkpoint("llama")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if kind == "PreTrainedModel":
        model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval().cuda()
    else:
        model = at.load_model(str(folder), "float32", "cuda", engine=kind).model
    lens = at.wrap(model, tokenizer=tokenizer)
    assert lens.device.type == "cuda"
    at.train(corpus, lens, layers="auto", aggregator="whitened").save(tmp_path / "readout.safetensors")
    readout = at.load_readout(tmp_path / "readout.safetensors")

    tokens = torch.tensor([lens.tokenizer("The lamp went out.").input_ids], device="cuda")
    _, cache = (lens.model if kind == "PreTrainedModel" else model).run_with_cache(tokens)
    assert torch.isfinite(readout.z(cache)).all()
    assert torch.isfinite(at.score(["The lamp went out."], readout, lens)).all()

    def logits():
        out = model(tokens)
        return out.logits if kind == "PreTrainedModel" else out

    plain, layer = logits(), readout.layers[-2]
    joy = readout.direction("joy", layer=layer)
    with at.intervene(model, {layer: at.Add(joy, dose=0.5)}):
        assert not torch.allclose(plain, logits())
    torch.testing.assert_close(logits(), plain)
    with at.intervene(model, {layer: at.Ablate(joy)}):
        assert not torch.equal(plain, logits())

    report = at.steer(readout, lens, concepts=["joy"], layers=[layer], doses=[0.2], random=3)
    assert [found.concept for found in report.concepts] == ["joy"]
    assert at.verify(readout, lens, engine="hf").passed


def test_a_readout_from_the_gpu_reads_on_the_cpu(corpus, embedded, tmp_path):
    lens = at.load_model("embedded", "float32", "cuda")
    at.train(corpus, lens, layers=LAYERS, aggregator="mean", verdicts=False).save(tmp_path / "readout.safetensors")
    readout = at.load_readout(tmp_path / "readout.safetensors")
    texts = [text.text for text in corpus.texts[:10]]
    torch.testing.assert_close(at.score(texts, readout, embedded), at.score(texts, readout, lens), atol=0.01, rtol=0)
