"""A TransformerLens user's first lines, on every kind of model that they may have."""

import dataclasses

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import amygdala_tl as at
from amygdala_tl.corpus.labels import LabelRules
from amygdala_tl.lens.engines import has_hooked_transformer
from amygdala_tl.lens.model import load_model

KINDS = [
    *(["HookedTransformer", "processed HookedTransformer"] if has_hooked_transformer() else []),
    "TransformerBridge",
    "PreTrainedModel",
]
TYPES = ["llama", "gpt2"]


def model_of(kind, folder):
    """A model as a user holds it, with its tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if kind == "PreTrainedModel":
        return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval(), tokenizer
    model = load_model(str(folder), device="cpu", engine=kind.split()[-1]).model
    if kind == "processed HookedTransformer":
        model.process_weights_()  # as `from_pretrained` does: fold norms, centre what writes, fold value biases
    model.tokenizer = tokenizer
    return model, None


@pytest.fixture(scope="module")
def notes(some_graph):
    """Real notes with their emotions and days, as a user holds them."""
    corpus = at.extract(memory_file=some_graph, rules=LabelRules(emotions=("calm", "grief", "joy")))
    texts = [text for text in corpus.texts if "joy" in text.positive + text.negative]
    texts = sorted(texts, key=lambda text: "joy" not in text.positive)[:100]
    return [text.text for text in texts], [list(text.positive) for text in texts], [text.group for text in texts]


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_lines_of_a_transformer_lens_user_work(kind, model_type, notes, tiny_checkpoint, tmp_path):
    texts, labels, days = notes
    model, tokenizer = model_of(kind, tiny_checkpoint(model_type))

    lens = at.wrap(model, tokenizer=tokenizer)
    corpus = at.Corpus.from_texts(texts, labels, groups=days)
    readout = at.train(corpus, lens, layers="auto", aggregator="mean")
    assert readout.provenance.verdicts
    path = readout.save(tmp_path / "readout.safetensors")
    readout = at.load_readout(path)

    tokens = torch.tensor([lens.tokenizer("The lamp went out.").input_ids])
    running = lens.model if kind == "PreTrainedModel" else model
    _, cache = running.run_with_cache(tokens)
    z = readout.z(cache)
    assert z.shape == (1, tokens.shape[1], len(readout.layers), len(readout.concepts))
    assert torch.isfinite(z).all()
    streams = torch.stack([cache[f"blocks.{layer}.hook_resid_post"] for layer in readout.layers], dim=-2)
    torch.testing.assert_close(readout.z(streams), z)

    scores = at.score(["The lamp went out."], readout, lens)
    assert scores.shape == (1, len(readout.layers), len(readout.concepts))

    layer = readout.layers[-2]
    joy = readout.direction("joy", layer=layer)

    def logits():
        out = model(tokens)
        return out.logits if kind == "PreTrainedModel" else out

    plain = logits()
    with at.intervene(model, {layer: at.Add(joy, dose=0.5)}):
        moved = logits()
        model.generate(tokens, max_new_tokens=2)
    assert not torch.allclose(plain, moved)
    torch.testing.assert_close(logits(), plain)

    name = f"blocks.{layer}.hook_resid_post"
    seen = {}
    hooks = [(name, at.Ablate(joy)), (name, lambda value, hook: seen.update(stream=value.clone()))]
    running.run_with_hooks(tokens, fwd_hooks=hooks)
    assert ((seen["stream"].float() @ joy).abs() < 1e-5 * seen["stream"].norm(dim=-1)).all()

    assert at.cross_talk(readout, torch.randn(len(texts), len(readout.layers), readout.d_model), labels).concepts
    report = at.steer(readout, lens, concepts=["joy"], layers=[layer], doses=[0.2], random=3)
    assert [found.concept for found in report.concepts] == ["joy"]
    assert at.verify(readout, lens, engine="hf").passed


@pytest.mark.skipif(not has_hooked_transformer(), reason="TransformerLens 4 has no HookedTransformer")
@pytest.mark.parametrize("model_type", TYPES)
def test_a_processed_model_the_raw_model_and_the_bundle_give_one_text_the_same_scores(
    model_type, notes, tiny_checkpoint, tmp_path
):
    texts, labels, days = notes
    folder = tiny_checkpoint(model_type)
    raw = load_model(str(folder), device="cpu")
    processed = at.wrap(*model_of("processed HookedTransformer", folder))
    corpus = at.Corpus.from_texts(texts, labels, groups=days)
    readout = at.train(corpus, processed, layers=[1, 2], aggregator="mean", verdicts=False)
    bundle = at.load_readout(readout.save(tmp_path / "readout.safetensors"))
    through = {
        "processed": at.score(texts[:1], readout, processed, calibrated=True),
        "raw": at.score(texts[:1], readout, raw, calibrated=True),
    }
    torch.testing.assert_close(through["processed"], through["raw"], rtol=1e-5, atol=1e-5)
    # float16 on disk: the same vectors on both sides.
    same = dataclasses.replace(readout, vectors=bundle.vectors)
    torch.testing.assert_close(
        at.score(texts[:1], same, processed), at.score(texts[:1], bundle, raw), rtol=1e-5, atol=1e-4
    )
