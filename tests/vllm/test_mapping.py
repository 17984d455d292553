"""Hook names, container paths and conventions, without vLLM."""

import pytest
import torch
from torch import nn

from amygdala_tl.errors import ModelError
from amygdala_tl.vllm.mapping import (
    CONTAINERS,
    CONVENTIONS,
    TABLE,
    convention_of,
    find_layers,
    layer_class,
    layer_of_hook,
    split_output,
    stream,
)


def nested(path, leaf):
    """A module that holds `leaf` at `path`."""
    for name in reversed(path.split(".")):
        outer = nn.Module()
        setattr(outer, name, leaf)
        leaf = outer
    return leaf


def layer(module, name, base=nn.Module, *, own=True):
    """A layer class as it would stand in vLLM's `module`, with or without a forward of its own."""
    body = {"forward": lambda self: None} if own else {}
    return type(name, (base,), {"__module__": f"vllm.model_executor.models.{module}", **body})


def test_a_hook_names_the_layer_of_the_same_index():
    assert [layer_of_hook(f"blocks.{index}.hook_resid_post") for index in (0, 7, 63)] == [0, 7, 63]


@pytest.mark.parametrize(
    "name", ["blocks.3.hook_resid_pre", "blocks.3.hook_mlp_out", "layer_3", "blocks.x.hook_resid_post"]
)
def test_another_hook_is_refused(name):
    with pytest.raises(ModelError, match="resid_post"):
        layer_of_hook(name)


@pytest.mark.parametrize("path", CONTAINERS)
def test_layers_are_found_at_every_known_path(path):
    layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    found, members = find_layers(nested(path, layers), 3)
    assert found == path
    assert members == list(layers)


def test_a_list_of_another_length_is_not_the_decoder():
    model = nested("model.layers", nn.ModuleList(nn.Linear(2, 2) for _ in range(3)))
    with pytest.raises(ModelError, match="not at a known place"):
        find_layers(model, 4)
    with pytest.raises(ModelError, match="not at a known place"):
        find_layers(nested("tower.blocks", nn.ModuleList([nn.Linear(2, 2)])), 1)


@pytest.mark.parametrize(
    ("module", "name", "convention"),
    [
        ("llama", "LlamaDecoderLayer", "sum"),
        ("gemma2", "Gemma2DecoderLayer", "sum"),
        ("stablelm", "StablelmDecoderLayer", "first"),
        ("commandr", "CohereDecoderLayer", "first"),
        ("gpt2", "GPT2Block", "tensor"),
        ("opt", "OPTDecoderLayer", "tensor"),
        ("gemma4", "Gemma4DecoderLayer", "sum-if-not-none"),
    ],
)
def test_the_table_knows_the_common_decoder_layers(module, name, convention):
    assert convention_of(layer(module, name)) == convention


def test_the_same_name_in_another_module_is_another_class():
    assert convention_of(layer("pixtral", "TransformerBlock")) is None
    assert convention_of(layer("gpt_oss", "TransformerBlock")) == "sum"


def test_a_subclass_counts_as_the_class_whose_forward_it_runs():
    base = layer("qwen3_next", "Qwen3NextDecoderLayer")
    heir = layer("qwen3_5", "Qwen3_5DecoderLayer", base, own=False)
    assert layer_class(heir) == "qwen3_next.Qwen3NextDecoderLayer"
    assert convention_of(heir) == "sum"
    assert convention_of(layer("qwen3_5", "Rewritten", base)) is None


def test_hugging_faces_own_layers_return_the_stream():
    from transformers.models.gpt_neox.modeling_gpt_neox import GPTNeoXLayer

    assert convention_of(GPTNeoXLayer) == "tensor"


def test_every_entry_of_the_table_has_a_convention_and_stands_once():
    from amygdala_tl.vllm import mapping

    names = [name for _, names in mapping._TABLES for name in names.split()]
    assert len(names) == len(set(names)) == len(TABLE)
    assert set(TABLE.values()) == set(CONVENTIONS)


def test_outputs_are_split_whatever_their_form():
    one, two = torch.ones(1, 3, 4), torch.ones(3, 4)
    assert [None if part is None else tuple(part.shape) for part in split_output(one)] == [(3, 4), None]
    assert [None if part is None else tuple(part.shape) for part in split_output((two, two))] == [(3, 4), (3, 4)]
    assert split_output((two, None))[1] is None
    for odd in ((), (None, two), {"hidden": two}, (two, "x")):
        with pytest.raises(ModelError, match="no tensor"):
            split_output(odd)


def test_the_stream_is_what_the_convention_says_and_none_where_it_cannot_be():
    hidden, residual = torch.full((1, 2), 1.0), torch.full((1, 2), 10.0)
    expected = {
        "sum": (11.0, None),
        "first": (1.0, 1.0),
        "tensor": (None, 1.0),
        "sum-if-not-none": (11.0, 1.0),
    }
    for convention, values in expected.items():
        for second, value in zip((residual, None), values, strict=True):
            found = stream(hidden, second, convention)
            assert (None if found is None else float(found[0, 0])) == value, (convention, second)


def test_the_stream_of_half_precision_parts_is_added_in_float32():
    hidden, residual = torch.full((1, 1), 0.001, dtype=torch.bfloat16), torch.ones(1, 1, dtype=torch.bfloat16)
    assert stream(hidden, residual, "sum").item() == pytest.approx(1.001, abs=1e-5)
