"""Checkpoints as they come: complete ones of every kind load, and all others are one error that says what to do."""

import copy
import importlib
import json
import shutil
import sys
import warnings
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM, PreTrainedModel

from amygdala_tl.errors import ModelError
from amygdala_tl.lens import embedded
from amygdala_tl.lens.agreement import reference_of
from amygdala_tl.lens.checkpoints import load_checkpoint, short_name
from amygdala_tl.lens.engines import has_hooked_transformer
from amygdala_tl.lens.hugging_face import run_decoder_layers
from amygdala_tl.lens.identity import same_model
from amygdala_tl.lens.model import load_model
from amygdala_tl.lens.parity import TOLERANCES, relative_difference, token_differences
from amygdala_tl.lens.residuals import run_resid_post
from amygdala_tl.lens.text_only import language_model
from amygdala_tl.lens.wrap import wrap
from tests.lens.kinds import MULTIMODAL, SIZES, byte_tokenizer, multimodal, write_gguf

TOKENS = torch.arange(3, 33)[None]
needs_hooked_transformer = pytest.mark.skipif(
    not has_hooked_transformer(), reason="TransformerLens 4 has no HookedTransformer"
)


def edit_config(folder: Path, **values: object) -> None:
    """Change fields of a checkpoint's config.json."""
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def edit_tensors(folder: Path, change) -> None:
    """Replace a checkpoint's tensors by `change` of them."""
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


@pytest.fixture
def saved(tmp_path):
    """Save a model as a checkpoint with a tokenizer of bytes, and return its folder."""

    def save(model: PreTrainedModel) -> Path:
        model.save_pretrained(tmp_path / "checkpoint")
        byte_tokenizer().save_pretrained(tmp_path / "checkpoint")
        return tmp_path / "checkpoint"

    return save


@pytest.fixture
def llama(saved):
    """Folder of a tiny Llama, to be damaged."""
    return saved(random_model("llama"))


def random_model(
    model_type: str, auto_class=AutoModelForCausalLM, dtype=torch.float32, **more: object
) -> PreTrainedModel:
    torch.manual_seed(0)
    return auto_class.from_config(AutoConfig.for_model(model_type, **SIZES | more), dtype=dtype).eval()


def refused(spec: Path | str, **options: object) -> str:
    """The one error of loading `spec`."""
    with pytest.raises(ModelError) as raised:
        load_model(str(spec), device="cpu", **options)
    assert raised.value.remedy
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("kind", MULTIMODAL)
def test_the_language_model_of_a_multimodal_checkpoint_has_the_stream_of_the_whole(kind, saved):
    whole = multimodal(kind)
    lens = load_model(str(saved(whole)), device="cpu")
    assert lens.info.architecture == MULTIMODAL[kind]
    theirs = run_decoder_layers(whole, TOKENS)
    ours = run_resid_post(lens.model, TOKENS, [0, 1])
    for layer in (0, 1):
        assert relative_difference(ours[:, :, layer], theirs[layer], 1e-5) < 1e-5
    assert not any("vision" in name for name, _ in lens.model.named_parameters())


def test_a_folder_is_called_as_it_is_reached_so_that_a_link_is_found_again(tmp_path, monkeypatch):
    (tmp_path / "original").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "original")
    monkeypatch.chdir(tmp_path / "original")
    assert [short_name(named) for named in ("../link", str(tmp_path / "link/"), ".", "owner/name", "embedded")] == [
        "link", "link", "original", "owner/name", "embedded",
    ]  # fmt: skip


def test_the_language_model_has_the_fingerprint_of_the_same_model_stored_alone(saved):
    whole = multimodal("gemma3")
    ours = load_model(str(saved(whole)), device="cpu")
    alone = language_model(whole)
    assert alone.get_output_embeddings().weight is alone.get_input_embeddings().weight
    again = load_model(str(saved(alone)), device="cpu").info
    assert (again.fingerprint, same_model(again, ours.info)) == (ours.info.fingerprint, "same")
    torch.testing.assert_close(alone(TOKENS).logits, whole(TOKENS).logits)


def test_a_wrapped_multimodal_model_is_read_as_text_and_stays_as_it_was():
    whole = multimodal("gemma3")
    before = {name: id(tensor) for name, tensor in whole.named_parameters()}
    assert wrap(whole, byte_tokenizer()).info.architecture == "Gemma3ForCausalLM"
    assert {name: id(tensor) for name, tensor in whole.named_parameters()} == before


def test_missing_weights_are_named_and_counted(llama):
    edit_tensors(llama, lambda tensors: {name: tensor for name, tensor in tensors.items() if ".mlp." not in name})
    said = refused(llama)
    assert "lacks weights" in said
    assert "model.layers.0.mlp.down_proj.weight" in said
    assert "and 3 more" in said


def test_missing_weights_of_the_vision_tower_do_not_matter_to_a_reader_of_text(saved):
    folder = saved(multimodal("gemma3"))
    edit_tensors(folder, lambda tensors: {name: tensor for name, tensor in tensors.items() if "vision" not in name})
    assert load_model(str(folder), device="cpu").info.architecture == "Gemma3ForCausalLM"
    edit_tensors(folder, lambda tensors: {name: tensor for name, tensor in tensors.items() if "layers.1." not in name})
    assert "lacks weights" in refused(folder)


def test_weights_of_another_shape_are_named(llama):
    edit_config(llama, vocab_size=SIZES["vocab_size"] + 12)
    said = refused(llama)
    assert "other shapes than config.json says" in said
    assert f"model.embed_tokens.weight [{SIZES['vocab_size']}, 32]" in said


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(value, llama):
    def spoil(tensors):
        tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = value
        return tensors

    edit_tensors(llama, spoil)
    assert "NaN or infinite (got: model.layers.1.mlp.up_proj.weight)" in refused(llama)


def test_a_wrapped_model_with_weights_that_are_no_numbers_is_refused():
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    sizes = {"d_model": 32, "d_head": 8, "n_layers": 2, "n_ctx": 64, "n_heads": 4, "d_mlp": 64, "d_vocab": 100}
    bridge = TransformerBridge.boot_native(TransformerBridgeConfig(**sizes, act_fn="gelu", architecture=None))
    for model in (random_model("llama"), bridge):
        with torch.no_grad():
            next(parameter for parameter in model.parameters() if parameter.ndim == 2)[0] = torch.nan
        with pytest.raises(ModelError, match="NaN or infinite"):
            wrap(model, byte_tokenizer())


def test_weights_that_the_model_does_not_use_are_said_and_old_buffers_are_not(llama):
    extra = {
        "model.layers.2.mlp.up_proj.weight": torch.ones(3),
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
    }
    edit_tensors(llama, lambda tensors: tensors | extra)
    with pytest.warns(UserWarning, match="does not use") as said:
        load_model(str(llama), device="cpu")
    (message,) = [str(one.message) for one in said if "does not use" in str(one.message)]
    assert "model.layers.2.mlp.up_proj.weight" in message
    assert "inv_freq" not in message


def test_a_gpt2_checkpoint_as_hubs_have_it_is_complete(saved):
    folder = saved(random_model("gpt2"))
    masks = {f"h.{layer}.attn.bias": torch.ones(1, 1, 8, 8) for layer in range(2)}
    edit_tensors(folder, lambda tensors: masks | {name.removeprefix("transformer."): tensors[name] for name in tensors})
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*does not use")
        assert load_model(str(folder), device="cpu").info.architecture == "GPT2LMHeadModel"


@pytest.mark.parametrize("model_type", ["bert", "roberta", "electra"])
def test_encoders_are_refused_because_their_later_tokens_change_earlier_ones(model_type, saved):
    said = refused(saved(random_model(model_type, AutoModelForMaskedLM)))
    assert "not causal" in said
    assert model_type in said.lower()


@pytest.mark.parametrize(
    ("model_type", "auto_class"),
    [("t5", AutoModelForSeq2SeqLM), ("bart", AutoModelForSeq2SeqLM), ("distilbert", AutoModelForMaskedLM)],
)
def test_other_models_without_a_decoder_of_text_are_refused_by_name(model_type, auto_class, saved):
    sizes = {"d_kv": 8, "num_layers": 2, "num_heads": 4, "d_model": 32, "decoder_layers": 2, "encoder_layers": 2}
    said = refused(saved(random_model(model_type, auto_class, **sizes)))
    assert f"(got: {model_type})" in said
    assert "decoder model" in said


def test_a_wrapped_encoder_is_refused_on_every_engine():
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    encoder = random_model("bert", AutoModelForMaskedLM)
    bridge = build_bridge_from_module(copy.deepcopy(encoder), "BertForMaskedLM", hf_config=encoder.config)
    for model in (random_model("bert", AutoModelForCausalLM), bridge.eval()):
        with pytest.raises(ModelError, match="not causal"):
            wrap(model, byte_tokenizer())


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(saved):
    said = refused(saved(random_model("llama", vocab_size=100)))
    assert "259 tokens for 100 embeddings" in said


@needs_hooked_transformer
def test_a_hooked_transformer_that_fails_to_run_is_refused_and_the_bridge_runs(saved):
    folder = saved(random_model("mixtral", num_local_experts=4, num_experts_per_tok=2))
    with pytest.raises(ModelError, match="does not run in TransformerLens"):  # 3.9 routes in float32 only
        load_model(str(folder), "bfloat16", "cpu", engine="HookedTransformer")
    assert load_model(str(folder), "bfloat16", "cpu").info.engine == "TransformerBridge"


def test_a_gguf_file_that_lacks_weights_or_its_package_is_refused(tmp_path, monkeypatch):
    write_gguf(tmp_path / "model.gguf", leave_out="blk.1.ffn_up")
    assert "lacks weights of the model (got: model.layers.1.mlp.up_proj.weight)" in refused(tmp_path / "model.gguf")
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert "pip install 'amygdala-tl[gguf]'" in refused(tmp_path / "model.gguf")


DAMAGE = {
    "no config": lambda folder: (folder / "config.json").write_text("{nope"),
    "a list for a config": lambda folder: (folder / "config.json").write_text("[1]"),
    "a deep config": lambda folder: (folder / "config.json").write_text("[" * 100_000),
    "no text at all": lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00"),
    "no model_type": lambda folder: (folder / "config.json").write_text("{}"),
    "an unknown model_type": lambda folder: edit_config(folder, model_type="of tomorrow"),
    "endless layers": lambda folder: edit_config(folder, num_hidden_layers=10**9),
    "no layers": lambda folder: edit_config(folder, num_hidden_layers=0),
    "no heads": lambda folder: edit_config(folder, num_attention_heads=0),
    "a huge vocabulary": lambda folder: edit_config(folder, vocab_size=10**12),
    "a negative context": lambda folder: edit_config(folder, max_position_embeddings=-5),
    "a word for a number": lambda folder: edit_config(folder, rms_norm_eps="small"),
    "an unknown activation": lambda folder: edit_config(folder, hidden_act="nosuch"),
    "an unknown rope": lambda folder: edit_config(folder, rope_parameters={"rope_type": "nosuch"}),
    "cut weights": lambda folder: (folder / "model.safetensors").write_bytes(
        (folder / "model.safetensors").read_bytes()[:5000]
    ),
    "empty weights": lambda folder: (folder / "model.safetensors").write_bytes(b""),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "a missing shard": lambda folder: (
        (folder / "model.safetensors").rename(folder / "elsewhere"),
        (folder / "model.safetensors.index.json").write_text('{"metadata": {}, "weight_map": {"a": "b.safetensors"}}'),
    ),
    "a pickle with code": lambda folder: (
        (folder / "model.safetensors").unlink(),
        torch.save({"a": Path("x")}, folder / "pytorch_model.bin"),
    ),
    "a damaged tokenizer": lambda folder: (folder / "tokenizer.json").write_text('{"version": "1.0"}'),
    "a cut tokenizer": lambda folder: (folder / "tokenizer.json").write_bytes(
        (folder / "tokenizer.json").read_bytes()[:1000]
    ),
    "no tokenizer": lambda folder: [file.unlink() for file in folder.glob("*token*")],
    "code of its own": lambda folder: edit_config(folder, model_type="own", auto_map={"AutoConfig": "own.Config"}),
    "awq": lambda folder: edit_config(folder, quantization_config={"quant_method": "awq", "bits": 4}),
    "gptq": lambda folder: edit_config(folder, quantization_config={"quant_method": "gptq", "bits": 4}),
    "bitsandbytes": lambda folder: edit_config(
        folder, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}
    ),
}
SAID = {
    "a pickle with code": "safetensors",
    "code of its own": "`trust_remote_code`",
    "awq": "Install the package that it names",
    "gptq": "Install the package that it names",
    "bitsandbytes": "Install the package that it names",
    "no weights": "model.safetensors",
    "endless layers": "num_hidden_layers=1000000000",
    "a negative context": "max_position_embeddings=-5",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_one_error_that_says_what_to_do(damage, llama):
    DAMAGE[damage](llama)
    assert SAID.get(damage, str(llama)) in refused(llama)


def test_a_rust_panic_of_a_library_is_a_model_error_and_an_interrupt_is_not(llama, monkeypatch):
    class Panic(BaseException):
        """As pyo3's PanicException, which is no `Exception`."""

    for raised, expected in ((Panic("index out of bounds"), ModelError), (KeyboardInterrupt(), KeyboardInterrupt)):

        def fail(*_, raised=raised, **__):
            raise raised

        monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", fail)
        with pytest.raises(expected):
            load_checkpoint(str(llama), torch.float32)


def test_a_checkpoint_cloned_without_its_large_files_is_named_as_such(llama):
    (llama / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    said = refused(llama)
    assert "tokenizer.json" in said
    assert "git lfs pull" in said


def test_a_gguf_file_is_read_and_not_one_of_the_same_name_in_the_working_directory(tmp_path, monkeypatch):
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    write_gguf(tmp_path / "there" / "model.gguf")
    (tmp_path / "here" / "model.gguf").write_bytes(b"GGUF of something else")
    monkeypatch.chdir(tmp_path / "here")
    assert load_model("../there/model.gguf", device="cpu").info.n_layers == 2
    assert "model.gguf" in refused("model.gguf")


def test_a_gguf_files_header_is_read_once_and_its_weights_are_those_that_transformers_reads(tmp_path, monkeypatch):
    gguf, opened = importlib.import_module("gguf"), []

    class Reader(gguf.GGUFReader):
        def __init__(self, path):
            opened.append(path)
            super().__init__(path)

    monkeypatch.setattr(gguf, "GGUFReader", Reader)
    write_gguf(tmp_path / "model.gguf")
    ours = load_checkpoint(str(tmp_path / "model.gguf"), torch.float32)
    assert len(opened) == 1
    assert gguf.GGUFReader is Reader
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32)
    assert len(opened) > 2
    assert ours.hf_model.state_dict().keys() == theirs.state_dict().keys()
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.hf_model.state_dict().items())


def test_an_adapter_is_not_taken_for_the_model_it_changes(llama):
    (llama / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/base", "peft_type": "LORA"}')
    assert "holds an adapter" in refused(llama)


@needs_hooked_transformer
def test_heads_wider_than_the_model_run_on_the_bridge(saved):
    lens = load_model(str(saved(random_model("llama", head_dim=32))), device="cpu")
    assert lens.info.engine == "TransformerBridge"


@needs_hooked_transformer
def test_no_name_on_the_way_to_a_model_decides_its_architecture(saved, tmp_path, monkeypatch):
    hostile = tmp_path / "llama-gemma-3-1b-bert"
    hostile.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(hostile))
    folder = saved(random_model("qwen3")).rename(hostile / "gemma-2-llama")
    lens = load_model(str(folder), device="cpu", engine="HookedTransformer")
    assert lens.info.architecture == "Qwen3ForCausalLM"
    assert not any(path.name.startswith("tmp") for path in hostile.iterdir())


@needs_hooked_transformer
@pytest.mark.parametrize("model_type", ["qwen3", "mistral"])
def test_a_context_beyond_transformer_lenss_own_limit_runs_to_its_end(model_type, saved):
    model = random_model(model_type, max_position_embeddings=2100)
    lens = load_model(str(saved(model)), device="cpu", engine="HookedTransformer")
    assert lens.info.n_ctx == 2100
    tokens = torch.randint(3, 99, (1, 2100), generator=torch.Generator().manual_seed(0))
    theirs = run_decoder_layers(model, tokens)[1]
    assert relative_difference(run_resid_post(lens.model, tokens, [1])[:, :, 0], theirs, 1e-4) < 1e-4


@needs_hooked_transformer
def test_a_context_ends_at_a_sliding_window_that_transformer_lens_does_not_apply(saved):
    window = {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 0}
    model = random_model("qwen2", **window)
    folder = str(saved(model))
    for engine, context in (("HookedTransformer", 64), ("TransformerBridge", SIZES["max_position_embeddings"])):
        lens = load_model(folder, device="cpu", engine=engine)
        assert lens.info.n_ctx == context
        tokens = torch.randint(3, 99, (1, context), generator=torch.Generator().manual_seed(0))
        theirs = run_decoder_layers(model, tokens)[1]
        assert relative_difference(run_resid_post(lens.model, tokens, [1])[:, :, 0], theirs, 1e-4) < 1e-4


def test_a_mixture_of_experts_in_bfloat16_may_send_a_token_to_another_expert():
    """The same weights in float32 stand for another engine, which rounds elsewhere."""
    tolerance = TOLERANCES["bfloat16"]
    sizes = {
        "num_experts": 16,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "head_dim": 8,
        "num_hidden_layers": 3,
    }
    for seed in range(20):
        torch.manual_seed(seed)
        config = AutoConfig.for_model("qwen3_moe", **SIZES | sizes, initializer_range=0.3)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="eager").eval()
        reference = reference_of(model, "experts")
        other = Layers(model.float())
        streams = run_resid_post(other, reference.tokens, list(reference.streams))
        pairs = [(streams[:, :, at], stream) for at, stream in enumerate(reference.streams.values())]
        if max(float(token_differences(*pair).max()) for pair in pairs) > tolerance:
            break
    with pytest.warns(UserWarning, match=r"experts: \d of 48 tokens differ by more than 1e-01"):
        assert reference.difference(other) < tolerance
    assert max(relative_difference(*pair, TOLERANCES["float32"]) for pair in pairs) > tolerance


class Layers:
    """A Hugging Face model, read as an engine is."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model, self.blocks = model, [Block(layer) for layer in model.model.layers]
        self.parameters = model.parameters

    def __call__(self, tokens, **_):
        return self.model(input_ids=tokens, use_cache=False)


class Block:
    def __init__(self, layer: torch.nn.Module) -> None:
        self.hook_resid_post = layer


@pytest.mark.parametrize("wrong", ["rope", "layer", "norm"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_wrong_rope_base_layer_or_norm_is_beyond_every_tolerance(wrong, dtype):
    rope = {"rope_type": "default", "rope_theta": 1e2}
    model = random_model(
        "llama",
        dtype=getattr(torch, dtype),
        initializer_range=0.3,
        rope_parameters=rope,
    )
    reference = reference_of(model, "tiny")
    if wrong == "rope":
        model.model.rotary_emb.inv_freq.mul_(0.5)
    elif wrong == "layer":
        model.model.layers = model.model.layers[1:] + model.model.layers[:1]
    else:
        model.model.layers[0].input_layernorm.weight.data.mul_(1.5)
    assert reference.difference(Layers(model)) > reference.allowed


def test_the_embedded_models_file_is_used_only_if_it_is_the_known_one(tmp_path, monkeypatch):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(embedded, "embedded_gguf", lambda: tmp_path / "model.gguf")
    monkeypatch.setenv("AMYGDALA_TL_CACHE", str(tmp_path / "cache"))
    said = refused("embedded")
    assert "not the known one" in said
    assert "pip install" in said
    assert not (tmp_path / "cache").exists()


def test_a_cache_with_other_weights_of_the_embedded_model_is_not_used(converted, tmp_path, monkeypatch):
    folder = tmp_path / f"{embedded.embedded_gguf().stem}-float32"
    shutil.copytree(converted, folder)
    monkeypatch.setenv("AMYGDALA_TL_CACHE", str(tmp_path))
    assert load_model("embedded", "bfloat16", device="cpu").info.dtype == "bfloat16"
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-2] + bytes([weights[-2] ^ 1, weights[-1]]))
    said = refused("embedded")
    assert "the embedded model's weights are not the known ones" in said
    assert f"Delete {folder}" in said


def test_the_hash_of_the_embedded_model_is_that_of_its_package():
    assert embedded.checked_gguf() == embedded.embedded_gguf()
