"""Models that the caller has loaded, on every engine, processed or not: the same scores, the same model, and left untouched."""

import functools
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from amygdala_tl.activations.golden import TEXTS, golden_ids, run_golden
from amygdala_tl.activations.runner import pool_texts
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.api.models import check_fit
from amygdala_tl.errors import ModelError, ReadoutError
from amygdala_tl.lens.engines import build_hooked_transformer, has_hooked_transformer
from amygdala_tl.lens.generation import generate
from amygdala_tl.lens.identity import same_model
from amygdala_tl.lens.model import Lens, load_model
from amygdala_tl.lens.residuals import on_resid_post, run_resid_post
from amygdala_tl.lens.upper import can_start_above, head, run_above
from amygdala_tl.lens.weights import mlp_outputs, token_embeddings, unembedding
from amygdala_tl.lens.wrap import exported, reads_mean, wrap
from amygdala_tl.readout.provenance import Provenance
from amygdala_tl.readout.record import Readout
from amygdala_tl.records import CaptureSettings
from tests.models import VOCABULARY

CPU = torch.device("cpu")
TEXT = "The lamp went out and nobody lit it again."
TOKENS = torch.randint(3, VOCABULARY, (2, 12), generator=torch.Generator().manual_seed(5))
TYPES = ["gpt2", "llama"]
KINDS = [
    *(["HookedTransformer", "processed HookedTransformer"] if has_hooked_transformer() else []),
    "TransformerBridge",
    "processed TransformerBridge",
    "PreTrainedModel",
]
needs_hooked_transformer = pytest.mark.skipif(
    not has_hooked_transformer(), reason="TransformerLens 4 has no HookedTransformer"
)


def hugging_face(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def bridge_of(folder):
    """A bridge as TransformerLens itself boots it from a checkpoint."""
    from transformer_lens.model_bridge import TransformerBridge

    return TransformerBridge.boot_transformers(str(folder), device="cpu", dtype=torch.float32)


def build(kind, folder):
    """A model as a user holds it."""
    if kind == "PreTrainedModel":
        return hugging_face(folder)
    if kind.endswith("TransformerBridge"):
        bridge = bridge_of(folder)
        if kind.startswith("processed"):
            bridge.enable_compatibility_mode(disable_warnings=True)
        return bridge
    raw = build_hooked_transformer(hugging_face(folder), CPU)
    if not kind.startswith("processed"):
        return raw
    from transformer_lens import HookedTransformer

    model = HookedTransformer(raw.cfg)
    model.load_and_process_state_dict(raw.state_dict())  # the defaults are those of `from_pretrained`
    return model


@pytest.fixture(scope="module")
def lens_of(tiny_checkpoint):
    """A wrapped model of a kind and type."""

    @functools.cache
    def make(kind, model_type) -> Lens:
        folder = tiny_checkpoint(model_type)
        return wrap(build(kind, folder), AutoTokenizer.from_pretrained(folder))

    return make


@pytest.fixture(scope="module")
def loaded(tiny_checkpoint):
    """The same checkpoint, loaded by name."""
    return functools.cache(lambda model_type: load_model(str(tiny_checkpoint(model_type)), device="cpu"))


def unit(*shape, seed=1):
    rows = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return rows / rows.norm(dim=-1, keepdim=True)


def processed(kind):
    return kind.startswith("processed")


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_done_to_the_weights_is_found(kind, model_type, lens_of):
    info = lens_of(kind, model_type).info
    # TransformerLens centres only where a LayerNorm takes the mean away anyway.
    assert info.weights == ("centred" if processed(kind) and model_type == "gpt2" else "as stored")
    assert (info.n_layers, info.d_model, info.n_ctx, info.dtype) == (4, 64, 512, "float32")
    assert info.architecture == {"gpt2": "GPT2LMHeadModel", "llama": "LlamaForCausalLM"}[model_type]
    stream = run_resid_post(lens_of(kind, model_type).model, TOKENS, range(4))
    mean = stream.mean(dim=-1).abs().max() / stream.abs().max()
    assert (mean < 1e-6) == (info.weights == "centred")


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_exported_vectors_score_a_text_alike_through_this_model_and_the_stored_one(kind, model_type, lens_of, loaded):
    ours, theirs = lens_of(kind, model_type), loaded(model_type)
    vectors = exported(unit(4, 5, 64), ours.info)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(4, 5))
    scores = []
    for lens in (ours, theirs):
        activations, _ = pool_texts(lens, [TEXT], range(4), "pooled", CaptureSettings())
        scores.append(torch.einsum("tld,lcd->tlc", activations, vectors))
    torch.testing.assert_close(*scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if processed(kind)])
def test_without_the_projection_the_scores_of_a_centred_model_are_others(kind, lens_of, loaded):
    vectors = unit(5, 64)
    assert reads_mean(vectors)
    assert not reads_mean(exported(vectors, lens_of(kind, "gpt2").info).half())
    ours, theirs = (
        run_resid_post(lens.model, TOKENS, [2])[:, :, 0] @ vectors.T for lens in (lens_of(kind, "gpt2"), loaded("gpt2"))
    )
    assert (ours - theirs).abs().max() > 1e-2


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_form_of_one_checkpoint_is_the_same_model_and_every_other_is_another(kind, model_type, lens_of, loaded):
    info = lens_of(kind, model_type).info
    for other in KINDS:
        assert same_model(info, lens_of(other, model_type).info) == "same"
    assert same_model(info, loaded(model_type).info) == "same"
    assert same_model(loaded(model_type).info, info) == "same"
    (other_type,) = {*TYPES} - {model_type}
    assert same_model(info, loaded(other_type).info) == "other"


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_weight_makes_another_model(kind, tiny_checkpoint, loaded):
    folder = tiny_checkpoint("gpt2")
    model = build(kind, folder)
    name, weight = next((n, w) for n, w in model.named_parameters() if "1" in n and w.ndim > 1)
    with torch.no_grad():
        weight.mul_(1.5)
    assert same_model(wrap(model, AutoTokenizer.from_pretrained(folder)).info, loaded("gpt2").info) == "other", name


@needs_hooked_transformer
def test_refactored_attention_leaves_the_stream_and_so_the_model(tiny_checkpoint, loaded):
    from transformer_lens import HookedTransformer

    folder = tiny_checkpoint("gpt2")  # TransformerLens refactors no rotary attention
    raw = build_hooked_transformer(hugging_face(folder), CPU)
    model = HookedTransformer(raw.cfg)
    model.load_and_process_state_dict(raw.state_dict(), refactor_factored_attn_matrices=True)
    lens = wrap(model, AutoTokenizer.from_pretrained(folder))
    assert lens.info.weights == "centred"
    assert same_model(lens.info, loaded("gpt2").info) == "same"


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_callers_model_stays_as_it_was(kind, model_type, tiny_checkpoint):
    folder = tiny_checkpoint(model_type)
    model = build(kind, folder).train(kind == "PreTrainedModel")
    modules = [model, *([] if kind.endswith("HookedTransformer") else [getattr(model, "original_model", model)])]
    if not kind.startswith("Pre"):
        model.blocks[1].hook_resid_post.register_forward_hook(lambda *_: None)
        model.add_hook("blocks.1.hook_resid_pre", lambda value, hook: value)

    def state():
        return [
            (
                [(name, id(weight), weight.requires_grad, weight.device) for name, weight in module.named_parameters()],
                [(name, id(each), each.training) for name, each in module.named_modules()],
                [len(each._forward_hooks) + len(each._forward_pre_hooks) for each in module.modules()],
            )
            for module in modules
        ]

    def logits():
        with torch.no_grad():
            found = model.eval()(TOKENS)
        return getattr(found, "logits", found)

    with torch.no_grad():
        model(TOKENS)  # the bridge completes itself in its first pass
    before = state()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lens = wrap(model, tokenizer)
    assert state() == before
    plain = logits()
    generate(lens, TOKENS, 2)
    run_resid_post(lens.model, TOKENS, [0, 3])
    torch.testing.assert_close(logits(), plain, rtol=0, atol=0)


@pytest.mark.parametrize("model_type", ["gemma2", "qwen3_5_text", "stablelm"])
def test_a_hugging_face_model_on_the_bridge_stays_as_it_was_and_shares_its_weights(model_type, tiny_checkpoint):
    folder = tiny_checkpoint(model_type)
    model = hugging_face(folder)
    names = [name for name, _ in model.named_modules()]
    lens = wrap(model, AutoTokenizer.from_pretrained(folder))
    assert lens.info.engine == "TransformerBridge"
    assert [name for name, _ in model.named_modules()] == names
    mine = {weight.data_ptr() for weight in model.parameters()}
    assert mine <= {weight.data_ptr() for weight in lens.model.parameters()}
    assert same_model(lens.info, load_model(str(folder), device="cpu").info) == "same"


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_rest_of_the_package_works_on_it(kind, model_type, lens_of, loaded):
    lens, raw = lens_of(kind, model_type), loaded(model_type)
    centred = lens.info.weights == "centred"
    last = run_resid_post(lens.model, TOKENS, [3])[:, :, 0]
    with torch.no_grad():
        own = lens.model(TOKENS)
    torch.testing.assert_close(head(lens, last), own, rtol=1e-4, atol=1e-4)
    some = torch.tensor([5, 77, VOCABULARY - 1])
    torch.testing.assert_close(head(lens, last, some), own[..., some], rtol=1e-4, atol=1e-4)
    # Processing changes no prediction: the same tokens, with and without a cache.
    assert torch.equal(generate(lens, TOKENS, 4), generate(raw, TOKENS, 4))
    assert torch.equal(generate(lens, TOKENS, 4, cached=False), generate(raw, TOKENS, 4))
    # The logits that a direction adds, up to a constant, are those of the stored model.
    ours, theirs = unembedding(lens), unembedding(raw)
    assert ours.centred == theirs.centred
    moved = unit(1, 64)
    moved = moved - moved.mean(dim=-1, keepdim=True) if centred else moved
    logits = [(moved * each.gain) @ each.matrix for each in (ours, theirs)]
    torch.testing.assert_close(*(each - each.mean() for each in logits), rtol=1e-3, atol=1e-4)
    expected = dict(mlp_outputs(raw))
    for layer, rows in mlp_outputs(lens):
        stored = expected[layer] - expected[layer].mean(dim=-1, keepdim=True) if centred else expected[layer]
        torch.testing.assert_close(rows, stored, rtol=1e-4, atol=1e-5)
    assert token_embeddings(lens).shape == token_embeddings(raw).shape
    if can_start_above(lens):
        prefix = run_resid_post(lens.model, TOKENS, [1])[:, :, 0]
        torch.testing.assert_close(run_above(lens, prefix, 1, [3])[:, :, 0], last, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "PreTrainedModel"])
def test_capture_keeps_the_callers_hooks_and_runs_behind_them(kind, tiny_checkpoint):
    folder = tiny_checkpoint("llama")
    model = build(kind, folder)
    lens = wrap(model, AutoTokenizer.from_pretrained(folder))
    plain = run_resid_post(model, TOKENS, [1, 3])
    model.add_hook("blocks.1.hook_resid_post", lambda value, hook: value + 1.0)
    handle = on_resid_post(model, 3, lambda value: value * 2.0)
    for _ in range(2):  # a first pass must not remove them
        edited = run_resid_post(lens.model, TOKENS, [1, 3])
        torch.testing.assert_close(edited[:, :, 0], plain[:, :, 0] + 1.0)
        assert not torch.allclose(edited[:, :, 1], plain[:, :, 1])
    handle.remove()
    model.reset_hooks()
    torch.testing.assert_close(run_resid_post(model, TOKENS, [1, 3]), plain)


@needs_hooked_transformer
def test_a_tokenizer_that_pads_on_the_left_masks_no_leading_token(tiny_checkpoint):
    folder = tiny_checkpoint("gpt2")
    model = build("HookedTransformer", folder)
    model.set_tokenizer(AutoTokenizer.from_pretrained(folder), default_padding_side="right")
    tokens = TOKENS.clone()
    tokens[:, :2] = model.tokenizer.pad_token_id
    expected = run_resid_post(model, tokens, [2])
    model.tokenizer.padding_side = "left"
    torch.testing.assert_close(run_resid_post(model, tokens, [2]), expected)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "PreTrainedModel"])
def test_the_tokenizer_is_the_models_own_without_the_bos_that_transformer_lens_makes_it_add(kind, tiny_checkpoint):
    folder = tiny_checkpoint("llama")
    model = build(kind, folder)
    own = AutoTokenizer.from_pretrained(folder)
    if kind.endswith("HookedTransformer"):
        with pytest.raises(ModelError, match="no tokenizer"):
            wrap(model)
        model.set_tokenizer(own)
    assert model.tokenizer(TEXT).input_ids == [own.bos_token_id, *own(TEXT).input_ids]
    lens = wrap(model)
    assert lens.tokenizer(TEXT).input_ids == own(TEXT).input_ids
    model.tokenizer.name_or_path = "/no/such/folder"
    with pytest.raises(ModelError, match="adds tokens to every text"):
        wrap(model)
    assert wrap(model, own).tokenizer is own


def test_a_hugging_face_model_needs_its_tokenizer(tiny_checkpoint):
    with pytest.raises(ModelError, match="no tokenizer"):
        wrap(hugging_face(tiny_checkpoint("llama")))


def test_what_is_no_model_is_refused(embedded):
    for thing in (nn.Linear(2, 2), "gpt2", None):
        with pytest.raises(ModelError, match="unknown kind"):
            wrap(thing, embedded.tokenizer)


def test_a_native_bridge_without_a_checkpoint_works(embedded):
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    config = TransformerBridgeConfig(
        d_model=32, d_head=8, n_layers=3, n_ctx=64, n_heads=4, d_mlp=64, d_vocab=49152, act_fn="gelu", architecture=None
    )
    model = TransformerBridge.boot_native(config)
    with pytest.raises(ModelError, match="no tokenizer"):
        wrap(model)
    lens = wrap(model, embedded.tokenizer)
    assert (lens.info.id, lens.source, lens.info.weights) == ("native", None, "as stored")
    model.enable_compatibility_mode(disable_warnings=True)
    processed_lens = wrap(model, embedded.tokenizer)
    assert processed_lens.info.weights == "centred"
    assert same_model(lens.info, processed_lens.info) == "same"


def test_a_model_in_training_mode_whose_dropout_changes_the_stream_is_refused(tiny_checkpoint):
    folder = tiny_checkpoint("gpt2")
    bridge = bridge_of(folder).train()
    with pytest.raises(ModelError, match="training mode"):
        wrap(bridge, AutoTokenizer.from_pretrained(folder))
    assert bridge.training


def test_bfloat16_is_the_same_model(tiny_checkpoint, loaded):
    folder = tiny_checkpoint("gpt2")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    half = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    assert same_model(wrap(half, tokenizer).info, loaded("gpt2").info) == "same"  # by fingerprint
    from transformer_lens.model_bridge import TransformerBridge

    bridge = TransformerBridge.boot_transformers(str(folder), device="cpu", dtype=torch.bfloat16)
    assert bridge.cfg.dtype == torch.bfloat16
    bridge.enable_compatibility_mode(disable_warnings=True)
    info = wrap(bridge, tokenizer).info
    assert (info.dtype, info.weights) == ("bfloat16", "centred")
    assert same_model(info, loaded("gpt2").info) == "same"  # by golden numbers
    assert same_model(info, loaded("llama").info) == "other"


def test_records_from_before_golden_numbers_are_compared_by_fingerprint_only(lens_of, loaded):
    from dataclasses import replace

    old = replace(loaded("llama").info, golden="")
    assert same_model(old, loaded("llama").info) == "same"
    assert same_model(old, lens_of("PreTrainedModel", "llama").info) == "same"
    assert same_model(old, lens_of("TransformerBridge", "llama").info) == "unverifiable"
    assert same_model(replace(old, fingerprint="0" * 64), loaded("llama").info) == "other"


@pytest.mark.parametrize("model_type", TYPES)
def test_a_readout_passes_its_golden_check_on_every_form_of_its_checkpoint(model_type, lens_of, loaded, recwarn):
    lens, settings = loaded(model_type), CaptureSettings(chat_template="user")
    vectors = unit(2, 5, 64)
    vectors = exported(
        vectors, lens_of("processed TransformerBridge", model_type).info
    )  # so that every form can read it
    about = Provenance(model=lens.info, capture=settings)
    ids = golden_ids(lens, settings)
    readout = Readout(tuple("abcde"), (1, 3), vectors, provenance=about).with_golden(
        TEXTS, ids, run_golden(lens, ids, [1, 3])
    )
    recwarn.clear()
    for kind in KINDS:
        check_fit(readout, lens_of(kind, model_type))
    assert not recwarn.list
    (other,) = {*TYPES} - {model_type}
    with pytest.raises(ReadoutError, match="other activations"):
        check_fit(readout, lens_of("PreTrainedModel", other))


def test_tensors_under_other_names_and_buffers_on_disk_are_the_same_weights(tiny_checkpoint, loaded, tmp_path):
    folder = shutil.copytree(tiny_checkpoint("gpt2"), tmp_path / "gpt2")
    tensors = load_file(folder / "model.safetensors")
    renamed = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items() if "lm_head" not in name}
    renamed |= {f"h.{layer}.attn.bias": torch.ones(1, 1, 8, 8) for layer in range(4)}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    info = wrap(model.eval(), loaded("gpt2").tokenizer).info
    assert info.key == loaded("gpt2").info.key


def test_a_hugging_face_model_finds_the_store_of_the_same_model_loaded_by_name(lens_of, loaded, tmp_path):
    folders = {
        ActivationStore.for_model(tmp_path, lens.info, CaptureSettings()).folder
        for lens in (loaded("llama"), lens_of("PreTrainedModel", "llama"))
    }
    assert len(folders) == 1
