"""Every change of what an activation depends on is found when a model opens a store or a bundle, and named."""

import copy
import dataclasses
import json

import pytest
import torch
from tokenizers import normalizers
from transformers import AutoModelForCausalLM

from amygdala_tl import capture, fit, load_readout, score, verify
from amygdala_tl.activations.golden import check_store
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.api.models import check_fit
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.errors import ActivationStoreError, ReadoutError
from amygdala_tl.lens.fingerprint import tokenizer_fingerprint
from amygdala_tl.lens.template import rendered_template
from amygdala_tl.lens.wrap import wrap

LAYERS = [1, 3]
TEXTS = [f"{word} {index}: the tide came in and went out again." for index in range(8) for word in ("Joy", "Grief")]


@pytest.fixture(scope="module")
def corpus():
    return Corpus.from_texts(TEXTS, [["joy"], ["grief"]] * 8)


@pytest.fixture(scope="module")
def store(corpus, tiny, tmp_path_factory):
    return capture(corpus, tiny, tmp_path_factory.mktemp("activations"), layers=LAYERS)[0]


@pytest.fixture(scope="module")
def bundle(corpus, store, tmp_path_factory):
    readout = fit(corpus, store, aggregator="mean")
    return readout.save(tmp_path_factory.mktemp("readout") / "readout.safetensors")


def changed_model(change, tiny, tiny_checkpoint):
    """The tiny model with one thing changed in its configuration or weights."""
    folder = tiny_checkpoint("llama")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = copy.deepcopy(model.config)
    change(config, model)
    again = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    again.load_state_dict(model.state_dict())
    return wrap(again.eval(), tiny.tokenizer)


def set_weight(name, index, value):
    def change(_config, model):
        with torch.no_grad():
            model.get_parameter(name).view(-1)[index] += value

    return change


COMPUTATION = {
    "rotary base": lambda config, _: config.rope_parameters.update(rope_theta=10000.0),
    "epsilon": lambda config, _: setattr(config, "rms_norm_eps", 1e-5),
    "activation function": lambda config, _: setattr(config, "hidden_act", "gelu"),
    "weights of a layer": set_weight("model.layers.0.mlp.down_proj.weight", 5, 1.0),
}
WEIGHT_OF_AN_UNREAD_TOKEN = set_weight("model.embed_tokens.weight", -1, 1e-6)  # less than bfloat16 can hold


def blind(lens, tiny):
    """The lens with the record of the unchanged model: no hash can tell them apart."""
    return dataclasses.replace(lens, info=tiny.info)


TOKENIZERS = {
    "normaliser": lambda tokenizer: setattr(tokenizer.backend_tokenizer, "normalizer", normalizers.Lowercase()),
    "composed accents": lambda tokenizer: setattr(tokenizer.backend_tokenizer, "normalizer", normalizers.NFC()),
    "template": lambda tokenizer: setattr(
        tokenizer, "chat_template", tokenizer.chat_template.replace("You are", "I am")
    ),
}


def test_the_model_itself_passes_and_the_bundle_keeps_what_it_gave(bundle, store, tiny, recwarn):
    readout = load_readout(bundle)
    check_fit(readout, tiny)
    check_store(tiny, store, LAYERS)
    assert not recwarn.list
    golden = readout.provenance.golden
    assert len(golden.scores) == 4 * golden.n_tokens * 2 * 2
    assert golden.ids == tuple(
        tuple(
            tiny.tokenizer.apply_chat_template([{"role": "user", "content": text.strip()}], tokenize=True)["input_ids"]
        )
        for text in golden.texts
    )


@pytest.mark.parametrize("name", COMPUTATION)
def test_another_computation_is_refused_with_and_without_hashes(name, bundle, store, tiny, tiny_checkpoint):
    lens = changed_model(COMPUTATION[name], tiny, tiny_checkpoint)
    readout = load_readout(bundle)
    with pytest.raises(ReadoutError, match=r"other activations .* standard deviations apart .*; changed: "):
        check_fit(readout, lens)
    nothing_known = dataclasses.replace(readout, provenance=dataclasses.replace(readout.provenance, model=None))
    for known in (readout, nothing_known):
        with pytest.raises(ReadoutError, match=r"other activations .* standard deviations apart"):
            check_fit(known, blind(lens, tiny))
    with pytest.raises(ActivationStoreError, match="no longer computes"):
        check_store(blind(lens, tiny), store, LAYERS)
    assert ActivationStore.for_model(store.folder.parent, lens.info, store.settings).folder != store.folder
    assert lens.info.key != tiny.info.key


@pytest.mark.parametrize("name", TOKENIZERS)
def test_another_tokenizer_or_template_is_refused_without_hashes_and_has_a_store_of_its_own(name, bundle, store, tiny):
    tokenizer = copy.deepcopy(tiny.tokenizer)
    TOKENIZERS[name](tokenizer)
    lens = dataclasses.replace(tiny, tokenizer=tokenizer)
    with pytest.raises(ReadoutError, match=r"another tokenizer or chat template .* other token ids from position"):
        check_fit(load_readout(bundle), lens)
    with pytest.raises(ActivationStoreError, match="another tokenizer or chat template"):
        check_store(lens, store, LAYERS)
    info = dataclasses.replace(tiny.info, tokenizer=tokenizer_fingerprint(tokenizer))
    settings = dataclasses.replace(store.settings, rendered=rendered_template(tokenizer, "user"))
    assert ActivationStore.for_model(store.folder.parent, info, settings).folder != store.folder


def test_padding_and_truncation_are_no_other_tokenizer(tiny):
    tokenizer = copy.deepcopy(tiny.tokenizer)
    tokenizer(["a", "b c d"], padding=True, truncation=True, max_length=2)
    assert tokenizer_fingerprint(tokenizer) == tiny.info.tokenizer


def test_one_element_that_no_golden_text_reads_changes_the_store_and_is_said(bundle, store, tiny, tiny_checkpoint):
    lens = changed_model(WEIGHT_OF_AN_UNREAD_TOKEN, tiny, tiny_checkpoint)
    assert lens.info.exact != tiny.info.exact
    assert ActivationStore.for_model(store.folder.parent, lens.info, store.settings).folder != store.folder
    larger = changed_model(set_weight("model.embed_tokens.weight", -1, 1.0), tiny, tiny_checkpoint)
    with pytest.warns(UserWarning, match=r"the weights of llama changed; .* standard deviations apart"):
        check_fit(load_readout(bundle), larger)


def test_a_quantised_copy_is_a_measured_difference(bundle, tiny, tiny_checkpoint):
    def quantise(_config, model):
        for weight in model.parameters():
            scale = weight.abs().max() / 127
            weight.data = (weight / scale).round() * scale

    with pytest.raises(ReadoutError, match=r"are 0\.\d+ standard deviations apart"):
        check_fit(load_readout(bundle), changed_model(quantise, tiny, tiny_checkpoint))


def test_tensors_under_other_names_are_the_same_weights(tiny, tiny_checkpoint):
    model = AutoModelForCausalLM.from_pretrained(tiny_checkpoint("llama"), dtype=torch.float32)
    model.register_buffer("mask", torch.ones(3), persistent=False)
    wrapped = wrap(model, tiny.tokenizer)
    assert (wrapped.info.fingerprint, wrapped.info.exact) == (tiny.info.fingerprint, tiny.info.exact)
    half = AutoModelForCausalLM.from_pretrained(tiny_checkpoint("llama"), dtype=torch.bfloat16)
    assert wrap(half, tiny.tokenizer).info.fingerprint == tiny.info.fingerprint


def test_an_expert_that_flips_at_one_token_is_no_other_model(bundle, tiny):
    readout = load_readout(bundle)
    expected = torch.frombuffer(bytearray(readout.provenance.golden.scores), dtype=torch.float32).reshape(-1, 2, 2)
    flipped = expected.clone()
    flipped[7] += 100.0
    flipped[9] = torch.nan  # not computed
    check = readout.golden_check(flipped, tolerance=1e-4)
    assert check.passed
    assert check.n_tokens == len(expected) - 1
    assert not readout.golden_check(expected + 0.1, tolerance=1e-4).passed
    with pytest.raises(ReadoutError, match="not those of the golden texts"):
        readout.golden_check(expected[1:], tolerance=1e-4)
    with pytest.raises(ReadoutError, match="finite"):
        readout.golden_check(expected * torch.nan, tolerance=1e-4)


def test_some_concepts_keep_their_golden_scores(bundle, tiny):
    some = load_readout(bundle).of_concepts(["joy"])
    check_fit(some, tiny)
    assert len(some.provenance.golden.scores) == 4 * some.provenance.golden.n_tokens * 2


def test_a_bundle_without_golden_texts_loads_and_says_that_it_cannot_be_checked(bundle, tiny, tmp_path):
    readout = load_readout(bundle)
    old = dataclasses.replace(readout.provenance.model, golden="", exact="", config={}, tokenizer="")
    readout = dataclasses.replace(readout, provenance=dataclasses.replace(readout.provenance, golden=None, model=old))
    with pytest.warns(UserWarning, match="cannot check"):
        check_fit(readout, tiny)


@pytest.mark.parametrize("change", [{"ids": [[1, 2]]}, {"scores": "AAAA"}, {"texts": []}, {"scores": "?"}])
def test_golden_texts_that_do_not_fit_the_bundle_are_refused(change, bundle, tmp_path):
    said = json.loads(bundle.with_suffix(".json").read_text())
    said["amygdala_tl"]["golden"].update(change)
    (tmp_path / "readout.json").write_text(json.dumps(said))
    with pytest.raises(ReadoutError, match="golden"):
        load_readout(bundle, tmp_path / "readout.json")


def test_the_same_fit_is_the_same_file_and_its_hash_is_the_readouts(corpus, store, bundle, tmp_path):
    again = fit(corpus, store, aggregator="mean")
    path = again.save(tmp_path / "again.safetensors")
    for suffix in (".safetensors", ".json"):
        assert path.with_suffix(suffix).read_bytes() == bundle.with_suffix(suffix).read_bytes()
    assert load_readout(path).sha256 == again.sha256
    assert again.sha256 == json.loads(path.with_suffix(".json").read_text())["amygdala_tl"]["tensors_sha256"]


def test_a_bundle_names_no_time_and_no_place(bundle, tiny_checkpoint):
    said = bundle.with_suffix(".json").read_text()
    assert str(tiny_checkpoint("llama").parent) not in said
    assert "/" not in json.dumps({**json.loads(said)["amygdala_tl"], "golden": None, "estimator": None, "model": None})
    assert "_name_or_path" not in said


def test_a_model_from_a_folder_is_never_looked_up_on_a_hub(bundle, tiny, monkeypatch):
    asked = []

    def load(name, dtype, *, revision):
        asked.append((name, dtype, revision))
        return tiny

    monkeypatch.setattr("amygdala_tl.api.models.load_model", load)
    readout = load_readout(bundle)
    model = readout.provenance.model
    assert model.revision is None
    assert "/" not in model.id
    for call in (lambda: score(TEXTS[:1], readout), lambda: verify(readout)):
        with pytest.raises(ReadoutError, match=f"{model.id}: .*no such folder or file is here"):
            call()
    assert not asked
    of_hub = dataclasses.replace(model, id="gpt2", revision="607a30d783dfa663caf39e06633721c8d4cfcd7e")
    known = dataclasses.replace(readout, provenance=dataclasses.replace(readout.provenance, model=of_hub))
    score(TEXTS[:1], known)
    assert asked == [("gpt2", "float32", of_hub.revision)]
