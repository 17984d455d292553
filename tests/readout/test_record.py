"""A readout as a record: scores and z of every kind of stream, its parts, and how it shows itself."""

import dataclasses
import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from amygdala_tl.errors import InputError, ReadoutError
from amygdala_tl.lens.model import load_model
from amygdala_tl.readout.provenance import Verdict, Verdicts
from amygdala_tl.readout.record import Readout, load_readout
from tests.readout.example import CONCEPTS, D_MODEL, LAYERS, a_readout

TEXT = "The lamp went out and nobody lit it again."
READ = (1, 2)


def naive_scores(readout, streams):
    """[..., layer, concept] by one dot product at a time; streams [..., layer, d_model]."""
    flat = streams.reshape(-1, *streams.shape[-2:])
    scores = torch.empty(len(flat), len(readout.layers), len(readout.concepts))
    for row, layer, concept in itertools.product(*map(range, scores.shape)):
        scores[row, layer, concept] = flat[row, layer] @ readout.vectors[layer, concept]
    return scores.reshape(*streams.shape[:-1], len(readout.concepts))


def naive_z(readout, scores, calibration):
    values = scores.clone()
    for layer in range(len(readout.layers)):
        for concept in range(len(readout.concepts)):
            mean, std = (float(side[layer, concept]) for side in (calibration.mean, calibration.std))
            values[..., layer, concept] = (scores[..., layer, concept] - mean) / std
    return values


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def of_tiny():
    """A readout of random directions for the tiny model."""
    return a_readout(layers=READ, d_model=64)


@pytest.fixture(scope="module")
def tokens(tiny):
    return torch.tensor([tiny.tokenizer(TEXT).input_ids])


@pytest.fixture(scope="module")
def hugging_face(tiny_checkpoint):
    return AutoModelForCausalLM.from_pretrained(tiny_checkpoint("llama")).eval()


@pytest.fixture(scope="module")
def streams(hugging_face, tokens):
    """[batch, pos, layer, d_model] as Hugging Face's decoder layers hand them on."""
    found = {}
    hooks = [
        hugging_face.model.layers[layer].register_forward_hook(
            lambda _module, _args, out, layer=layer: found.update({layer: out[0] if isinstance(out, tuple) else out})
        )
        for layer in READ
    ]
    with torch.no_grad():
        hugging_face(tokens)
    for hook in hooks:
        hook.remove()
    return torch.stack([found[layer] for layer in READ], dim=-2)


# Scores and z


@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (0,)])
def test_scores_of_a_tensor_are_dot_products_with_every_direction(shape):
    readout = a_readout()
    streams = torch.randn(*shape, len(LAYERS), D_MODEL)
    scores = readout.scores(streams)
    assert scores.shape == (*shape, len(LAYERS), len(CONCEPTS))
    close(scores, naive_scores(readout, streams))


def test_z_is_in_deviations_of_tokens_or_of_texts():
    readout = a_readout()
    streams = torch.randn(4, len(LAYERS), D_MODEL)
    scores = naive_scores(readout, streams)
    close(readout.z(streams), naive_z(readout, scores, readout.token_calibration))
    close(readout.z(streams, of="tokens"), readout.z(streams))
    close(readout.z(streams, of="texts"), naive_z(readout, scores, readout.text_calibration))
    close(readout.calibrated(scores, of="texts"), readout.z(streams, of="texts"))


def test_z_of_a_mean_is_in_deviations_of_means_over_as_many_tokens():
    readout, streams = a_readout(), torch.randn(4, len(LAYERS), D_MODEL)
    scores, single, lengths = naive_scores(readout, streams), readout.token_calibration, readout.length_calibration
    counts = torch.tensor([[1, 2], [3, 40], [500, 6], [70, 8000]], dtype=torch.int32)
    for text, layer, concept in itertools.product(range(4), range(len(LAYERS)), range(len(CONCEPTS))):
        floor, reach = float(lengths.floor[layer, concept]), float(lengths.reach[layer, 0])
        n = int(counts[text, layer])
        std = float(single.std[layer, concept]) * math.sqrt(floor + (1 - floor) * reach / (n + reach - 1))
        for of, mean in (("texts", lengths.mean), ("tokens", single.mean)):
            z = (float(scores[text, layer, concept]) - float(mean[layer, concept])) / std
            expected = pytest.approx(z, rel=1e-4, abs=1e-5)  # scores are differences, of which little may be left
            assert float(readout.z(streams, of=of, tokens=counts)[text, layer, concept]) == expected
            assert float(readout.z(streams, of=of, tokens=n)[text, layer, concept]) == expected
    close(readout.z(streams, tokens=1), readout.z(streams))


def test_a_readout_without_a_calibration_of_lengths_ignores_them():
    readout, streams = dataclasses.replace(a_readout(), length_calibration=None), torch.randn(4, len(LAYERS), D_MODEL)
    for of in ("tokens", "texts"):
        close(readout.z(streams, of=of, tokens=300), readout.z(streams, of=of))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_streams_of_any_dtype_have_scores_in_float32(dtype):
    readout, streams = a_readout(), torch.randn(3, len(LAYERS), D_MODEL).to(dtype)
    scores = readout.scores(streams)
    assert scores.dtype == torch.float32
    close(scores, naive_scores(readout, streams.float()))


@pytest.mark.parametrize("engine", ["HookedTransformer", "TransformerBridge"])
def test_a_cache_of_either_engine_has_the_scores_of_hugging_faces_layers(
    of_tiny, tiny_checkpoint, tokens, streams, engine
):
    lens = load_model(str(tiny_checkpoint("llama")), device="cpu", engine=engine)
    assert lens.info.engine == engine
    expected = naive_scores(of_tiny, streams)
    _, cache = lens.model.run_with_cache(tokens)
    scores = of_tiny.scores(cache)
    assert scores.shape == (*tokens.shape, len(READ), len(CONCEPTS))
    close(scores.detach(), expected)
    close(of_tiny.z(cache).detach(), naive_z(of_tiny, expected, of_tiny.token_calibration))
    if engine == "HookedTransformer":
        close(of_tiny.scores(lens.model.run_with_cache(tokens, remove_batch_dim=True)[1]).detach(), expected[0])


def test_a_dict_of_hook_names_has_the_scores_of_the_tensor(of_tiny, streams):
    names = {f"blocks.{layer}.hook_resid_post": streams[..., place, :] for place, layer in enumerate(READ)}
    close(of_tiny.scores(names), of_tiny.scores(streams))
    close(of_tiny.z(names), of_tiny.z(streams))
    bridge = {f"blocks.{layer}.hook_out": streams[..., place, :] for place, layer in enumerate(READ)}
    close(of_tiny.scores(bridge), of_tiny.scores(streams))


def test_hidden_states_have_the_scores_of_the_layers_that_they_leave(of_tiny, hugging_face, tokens, streams):
    with torch.no_grad():
        states = hugging_face(tokens, output_hidden_states=True).hidden_states
    close(of_tiny.scores(states), naive_scores(of_tiny, streams))
    close(of_tiny.scores(list(states)), naive_scores(of_tiny, streams))


def test_the_last_hidden_state_is_behind_the_final_norm_and_refused(hugging_face, tokens):
    with torch.no_grad():
        states = hugging_face(tokens, output_hidden_states=True).hidden_states
    last = a_readout(layers=(2, 3), d_model=64)
    with pytest.raises(InputError, match=r"do not reach the layer.*got: 5 states"):
        last.scores(states)
    with pytest.raises(InputError, match="do not reach the layer"):
        last.scores(states[:3])


@pytest.mark.parametrize("shape", [(2, D_MODEL + 1), (3, D_MODEL), (D_MODEL,), (2, D_MODEL, 2)])
def test_streams_of_another_shape_are_refused_with_both_shapes(shape):
    with pytest.raises(InputError) as refused:
        a_readout().scores(torch.randn(shape))
    assert str(shape) in str(refused.value)
    assert f"(..., 2 layers, {D_MODEL})" in str(refused.value)


def test_streams_of_another_model_are_refused_with_both_shapes():
    names = {f"blocks.{layer}.hook_resid_post": torch.randn(1, 4, 32) for layer in LAYERS}
    with pytest.raises(InputError, match=rf"\(1, 4, 2, 32\).*\(\.\.\., 2 layers, {D_MODEL}\)"):
        a_readout().scores(names)


def test_a_cache_without_a_layer_is_refused_by_the_name_of_its_hook(of_tiny, tiny, tokens):
    _, cache = tiny.model.run_with_cache(tokens, names_filter=["blocks.1.hook_resid_post"])
    with pytest.raises(InputError, match=r"no blocks\.2\.hook_resid_post"):
        of_tiny.scores(cache)
    with pytest.raises(InputError, match=r"no blocks\.1\.hook_resid_post"):
        of_tiny.scores({})


def test_z_without_a_calibration_is_refused_and_raw_scores_are_not():
    whole = a_readout()
    plain = Readout(whole.concepts, whole.layers, whole.vectors)
    streams = torch.randn(3, len(LAYERS), D_MODEL)
    close(plain.scores(streams), whole.scores(streams))
    for of in ("tokens", "texts"):
        with pytest.raises(ReadoutError, match=f"no calibration of {of}.*raw scores"):
            plain.z(streams, of=of)


# Algebra

NUMBERS = st.integers(0, 2**31)


@given(seed=NUMBERS, a=st.floats(-10, 10), b=st.floats(-10, 10))
def test_scores_are_linear_in_the_streams(seed, a, b):
    random = torch.Generator().manual_seed(seed)
    readout = a_readout(seed=seed)
    one, other = (torch.randn(3, len(LAYERS), D_MODEL, generator=random) for _ in range(2))
    torch.testing.assert_close(
        readout.scores(a * one + b * other), a * readout.scores(one) + b * readout.scores(other), rtol=1e-4, atol=1e-3
    )


@given(seed=NUMBERS, order=st.permutations(range(len(CONCEPTS))))
def test_z_of_permuted_concepts_is_the_permuted_z(seed, order):
    readout = a_readout(seed=seed)
    concepts = [readout.concepts[place] for place in order]
    calibrations = {
        name: dataclasses.replace(each, mean=each.mean[:, order], std=each.std[:, order])
        for name in ("text_calibration", "token_calibration")
        for each in [getattr(readout, name)]
    }
    permuted = dataclasses.replace(readout, concepts=tuple(concepts), vectors=readout.vectors[:, order], **calibrations)
    streams = torch.randn(3, len(LAYERS), D_MODEL, generator=torch.Generator().manual_seed(seed))
    for of in ("tokens", "texts"):
        close(permuted.z(streams, of=of), readout.z(streams, of=of)[..., order])


@given(seed=NUMBERS, keep=st.sets(st.sampled_from(CONCEPTS), min_size=1))
def test_z_of_some_concepts_is_a_part_of_the_z_of_all(seed, keep):
    readout = a_readout(seed=seed)
    streams = torch.randn(3, len(LAYERS), D_MODEL, generator=torch.Generator().manual_seed(seed))
    rows = [row for row, concept in enumerate(CONCEPTS) if concept in keep]
    close(readout.of_concepts(keep).z(streams), readout.z(streams)[..., rows])


@given(seed=NUMBERS, shift=st.floats(-5, 5))
def test_moving_a_stream_along_a_direction_moves_its_score_by_as_much(seed, shift):
    readout = a_readout(seed=seed)
    streams = torch.randn(len(LAYERS), D_MODEL, generator=torch.Generator().manual_seed(seed))
    moved = streams.clone()
    moved[1] += shift * readout.direction("joy", layer=LAYERS[1])
    difference = readout.scores(moved) - readout.scores(streams)
    assert float(difference[1, 1]) == pytest.approx(shift, abs=1e-4)
    assert difference[0].abs().max() == 0


# Parts


@pytest.mark.parametrize("stored", [False, True])
def test_a_direction_is_a_row_of_its_layer_at_unit_length_also_from_float16(stored, tmp_path):
    readout = load_readout(a_readout().save(tmp_path / "r.safetensors")) if stored else a_readout()
    for place, layer in enumerate(LAYERS):
        for row, concept in enumerate(CONCEPTS):
            direction = readout.direction(concept, layer=layer)
            assert direction.shape == (D_MODEL,)
            torch.testing.assert_close(direction, readout.vectors[place, row], rtol=0, atol=1e-3)
            assert float(direction.norm()) == pytest.approx(1.0, abs=1e-6)


def test_an_unknown_concept_or_layer_says_which_there_are():
    readout = a_readout()
    with pytest.raises(InputError, match="got: envy; need: awe, joy, grief"):
        readout.direction("envy", layer=3)
    for ask in (lambda: readout.direction("joy", layer=4), lambda: readout.column(4)):
        with pytest.raises(InputError, match="got: 4; need: 3, 10"):
            ask()


def test_some_concepts_keep_the_readouts_order_and_all_that_is_said_of_them():
    whole = a_readout()
    some = whole.of_concepts(["grief", "awe", "envy"], {"joy": "not wanted"})
    assert some.concepts == ("awe", "grief")
    assert torch.equal(some.vectors, whole.vectors[:, [0, 2]])
    for name in ("text_calibration", "token_calibration"):
        one, other = getattr(some, name), getattr(whole, name)
        assert torch.equal(one.mean, other.mean[:, [0, 2]])
        assert torch.equal(one.std, other.std[:, [0, 2]])
        assert one.n == other.n
    close(
        some.z(torch.ones(len(LAYERS), D_MODEL), of="texts", tokens=9),
        whole.z(torch.ones(len(LAYERS), D_MODEL), of="texts", tokens=9)[..., [0, 2]],
    )
    said = some.provenance
    assert list(said.counts) == list(said.verdicts) == ["awe", "grief"]
    assert said.left_out == {"calm": "2 positive training texts, need 5", "joy": "not wanted"}
    for field in dataclasses.fields(said):
        if field.name not in ("counts", "verdicts", "left_out"):
            assert getattr(said, field.name) == getattr(whole.provenance, field.name), field.name
    assert whole.concepts == CONCEPTS  # and the whole one is as it was


def test_only_readable_leaves_out_every_other_verdict_and_says_why():
    some = a_readout().only_readable()
    assert some.concepts == ("awe",)
    assert some.provenance.left_out["joy"] == "weak: hardly separates"
    assert some.provenance.left_out["grief"] == "redundant: like awe"
    with pytest.raises(ReadoutError, match="not judged"):
        a_readout(verdicts={}).only_readable()
    with pytest.raises(ReadoutError, match="no concept is readable"):
        a_readout(verdicts=dict.fromkeys(CONCEPTS, Verdict("weak"))).only_readable()


def test_a_concept_that_was_not_judged_is_not_readable():
    some = a_readout(verdicts={"awe": Verdict("readable"), "joy": Verdict("weak", "x")}).only_readable()
    assert some.concepts == ("awe",)
    assert some.provenance.left_out["grief"] == "not judged"


def test_concepts_are_read_where_they_were_judged_and_others_in_the_middle():
    readout = a_readout(concepts=(*CONCEPTS, "calm"))
    # 12 layers: 0.65 of 0..11 is 7.15, and 10 is nearer to it than 3.
    assert readout.middle_layer == 10
    assert readout.reading_layers == {"awe": 10, "joy": 3, "grief": 10, "calm": 10}
    assert a_readout(verdicts={"joy": Verdict("weak", layer=7)}).reading_layers == dict.fromkeys(CONCEPTS, 10)
    assert a_readout(layers=(0, 4, 10), verdicts={}).middle_layer == 10
    assert a_readout(layers=(0, 5, 10), verdicts={}).middle_layer == 5
    # Without a model, the deepest layer of the readout stands for the model's last.
    assert a_readout(layers=(1, 6, 10), model=None).middle_layer == 6


def test_redundant_is_readable_beside_a_better_one_and_weak_is_not():
    assert [name for name, verdict in a_readout().verdicts.items() if verdict.readable] == ["awe", "grief"]


# Shown


def test_a_readout_says_in_one_line_what_it_is():
    said = repr(a_readout())
    for part in ("3 concepts x layers 3, 10 x 16", "of m", "mean", "1 readable", "1 weak", "1 redundant"):
        assert part in said
    assert "\n" not in said
    plain = a_readout()
    assert repr(Readout(plain.concepts, plain.layers, plain.vectors)) == "Readout(3 concepts x layers 3, 10 x 16)"


def test_verdicts_say_in_one_line_what_they_are():
    assert repr(a_readout().verdicts) == "Verdicts(1 readable, 1 weak, 1 redundant)"
    assert repr(Verdicts()) == "Verdicts(none)"


@pytest.mark.parametrize("thing", [lambda readout: readout, lambda readout: readout.verdicts])
def test_tables_in_a_notebook_have_a_row_a_concept_and_no_markup_of_their_names(thing):
    names = ("<b>awe</b>", "joy & <script>alert(1)</script>", "grief")
    readout = a_readout(
        concepts=names, verdicts={name: Verdict("<i>weak</i>", layer=3, auroc=0.61234) for name in names}
    )
    html = thing(readout)._repr_html_()
    assert html.count("<tr>") == 1 + len(names)
    for markup in ("<b>", "<script>", "<i>"):
        assert markup not in html
    assert "&lt;b&gt;awe&lt;/b&gt;" in html
    assert "joy &amp; &lt;script&gt;" in html
    assert "0.612" in html


def test_a_table_has_a_dash_where_nothing_is_known():
    plain = a_readout()
    html = Readout(plain.concepts, plain.layers, plain.vectors)._repr_html_()
    assert html.count("<td>-</td>") == 4 * len(CONCEPTS)


# On disk


@given(seed=NUMBERS)
def test_saving_what_was_loaded_changes_nothing(tmp_path_factory, seed):
    folder = tmp_path_factory.mktemp("again")
    once = load_readout(a_readout(seed=seed).save(folder / "once.safetensors"))
    again = load_readout(once.save(folder / "again.safetensors"))
    assert torch.equal(once.vectors, again.vectors)
    assert once.provenance == again.provenance
    for name in ("text_calibration", "token_calibration"):
        one, other = getattr(once, name), getattr(again, name)
        assert torch.equal(one.mean, other.mean)
        assert torch.equal(one.std, other.std)


def test_the_manifest_of_a_readout_is_the_file_that_it_saves(tmp_path):
    path = a_readout(seed=3).save(tmp_path / "r.safetensors")
    assert load_readout(path).manifest_json() == path.with_suffix(".json").read_text()
