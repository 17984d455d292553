"""`intervene` on the model that a researcher has, of any kind: the same edits, the same unit of dose."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import amygdala_tl as at
from amygdala_tl.errors import ModelError
from amygdala_tl.lens.decoder import decoder_of
from amygdala_tl.lens.hugging_face import run_decoder_layers
from amygdala_tl.lens.model import load_model
from amygdala_tl.steering.edits import NOT_FIRST, mean_norm
from amygdala_tl.steering.norms import mean_norms
from tests.models import VOCABULARY
from tests.steering.conftest import ENGINES

TOKENS = torch.randint(3, VOCABULARY, (2, 7), generator=torch.Generator().manual_seed(0))
DIRECTION = torch.nn.functional.normalize(torch.randn(64, generator=torch.Generator().manual_seed(1)), dim=0)
TYPES = ("llama", "gpt2", "qwen3", "gemma2", "qwen3_5_text")


@pytest.fixture(scope="module", params=TYPES)
def hugging_face(request, tiny_checkpoint):
    """A tiny Hugging Face model, as it comes from `from_pretrained`."""
    folder = tiny_checkpoint(request.param)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


@pytest.fixture(scope="module", params=ENGINES)
def lens(request, tiny_checkpoint):
    return load_model(str(tiny_checkpoint("llama")), device="cpu", engine=request.param)


def test_a_hugging_face_model_is_edited_after_the_named_layer(hugging_face):
    plain = run_decoder_layers(hugging_face, TOKENS)
    with at.intervene(hugging_face, {2: [at.Add(DIRECTION, amount=3.0), at.Ablate(DIRECTION, where=NOT_FIRST)]}):
        edited = run_decoder_layers(hugging_face, TOKENS)
    for below in (0, 1):
        assert torch.equal(edited[below], plain[below])
    torch.testing.assert_close(edited[2][:, 0], plain[2][:, 0] + 3 * DIRECTION)
    assert (edited[2][:, 1:] @ DIRECTION).abs().max() < 1e-4
    assert not torch.equal(edited[3], plain[3])
    for after, before in zip(run_decoder_layers(hugging_face, TOKENS), plain, strict=True):
        assert torch.equal(after, before)


def test_hugging_faces_own_generation_is_the_same_with_and_without_a_cache(hugging_face):
    def generate(use_cache):
        # The first token is left out, so a step that mistook its token for the first would show.
        edits = {1: at.Add(DIRECTION, amount=40.0, where=NOT_FIRST), 2: at.Add(DIRECTION, dose=2.0)}
        with at.intervene(hugging_face, edits):
            return hugging_face.generate(TOKENS, max_new_tokens=6, do_sample=False, use_cache=use_cache)

    assert torch.equal(generate(True), generate(False))
    assert not torch.equal(generate(True), hugging_face.generate(TOKENS, max_new_tokens=6, do_sample=False))


def test_a_model_a_lens_and_the_wrapped_model_are_edited_alike(lens, tiny_checkpoint):
    raw = AutoModelForCausalLM.from_pretrained(tiny_checkpoint("llama"), dtype=torch.float32).eval()
    tokens = TOKENS[:1]
    edits = {1: at.Add(DIRECTION, amount=3.0), 2: at.Ablate(DIRECTION)}
    with torch.no_grad():
        with at.intervene(raw, edits):
            expected = raw(tokens).logits
        for model in (lens, lens.model):
            with at.intervene(model, edits):
                torch.testing.assert_close(lens.model(tokens), expected, rtol=1e-4, atol=1e-4)


def test_a_dose_is_that_of_the_check(lens):
    norm = mean_norms(decoder_of(lens), [1])[1]
    seen = []

    def watch(residual, *, positions):
        seen.append(residual.clone())
        return residual

    with at.intervene(lens, {1: [watch, at.Add(DIRECTION, dose=0.3), watch]}):
        lens.model(TOKENS)
    plain, moved = seen
    torch.testing.assert_close((moved - plain) @ DIRECTION, torch.full((2, 7), 0.3 * norm), rtol=1e-3, atol=1e-3)


def test_a_hugging_face_model_with_its_tokenizer_has_the_same_dose(lens, tiny_checkpoint):
    model = AutoModelForCausalLM.from_pretrained(tiny_checkpoint("llama"), dtype=torch.float32).eval()
    model.tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint("llama"))
    assert mean_norms(decoder_of(model), [1, 3]) == pytest.approx(mean_norms(decoder_of(lens), [1, 3]), rel=1e-4)


def test_without_a_tokenizer_the_dose_is_of_the_first_forward_pass(hugging_face):
    plain = run_decoder_layers(hugging_face, TOKENS)[1]
    with at.intervene(hugging_face, {1: at.Add(DIRECTION, dose=0.3)}):
        for tokens in (TOKENS, TOKENS[:, :3]):  # the second pass keeps the unit of the first
            moved = run_decoder_layers(hugging_face, tokens)[1] - plain[:, : tokens.shape[1]]
            expected = 0.3 * float(mean_norm(plain).mean())
            torch.testing.assert_close(moved @ DIRECTION, torch.full(tokens.shape, expected), rtol=1e-3, atol=1e-3)


def test_on_real_text_a_bare_hooks_dose_is_within_a_quarter_of_the_checks(embedded):
    text = "We walked along the harbour in the rain, and nobody said a word until the lamp at the end of the pier went out."
    tokens = torch.tensor([embedded.tokenizer(text).input_ids])
    for layer, norm in mean_norms(decoder_of(embedded), [5, 14, 25]).items():
        stream = decoder_of(embedded).resid_post(tokens, [layer])[:, :, 0]
        assert float(mean_norm(stream)) == pytest.approx(norm, rel=0.25)


def test_edits_are_hook_functions_of_transformer_lens(lens):
    model, name = lens.model, "blocks.1.hook_resid_post"
    for edit in (at.Ablate(DIRECTION), at.Clamp(DIRECTION, 2.0), at.Add(DIRECTION, amount=3.0)):
        through_hooks = model.run_with_hooks(TOKENS, fwd_hooks=[(name, edit)])
        with at.intervene(model, {1: edit}):
            torch.testing.assert_close(model(TOKENS), through_hooks)
    seen = []
    hooks = [
        (name, lambda value, hook: seen.append(value)),
        (name, at.Add(DIRECTION, dose=0.3)),
        (name, lambda value, hook: seen.append(value)),
    ]
    model.run_with_hooks(TOKENS, fwd_hooks=hooks)
    plain, moved = seen
    torch.testing.assert_close((moved - plain) @ DIRECTION, 0.3 * mean_norm(plain)[:, None].expand(-1, 7))


@pytest.mark.parametrize("model", [object(), torch.nn.Linear(2, 2), "embedded"])
def test_something_else_is_refused(model):
    with pytest.raises(ModelError, match="unknown kind"), at.intervene(model, {0: at.Ablate(DIRECTION)}):
        pass
