"""Every block of measurement hashes all its fields."""

from dataclasses import fields, is_dataclass, replace

import pytest
import torch
from torch import Tensor

from amygdala_tl.directions.erasure import Erasure
from amygdala_tl.steering.arms import Readers
from amygdala_tl.steering.blocks import (
    AblationBlock,
    AdditionBlock,
    Block,
    NormBlock,
    ProbeBlock,
    SampleBlock,
    key_of,
)
from amygdala_tl.steering.words import ConceptWords

MODEL = ("0" * 64, "HookedTransformer", "float32")
WORDS = ConceptWords(
    ("joy",), torch.tensor([5, 6]), torch.full((2, 1), 0.5), {"joy": ("happy", "joy")}, tested=(0,), by_name=("joy",)
)
READERS = Readers(3, torch.ones(2, 1, 4), torch.ones(2, 1))
ERASURE = Erasure(torch.ones(1, 1, 4), torch.ones(1, 1, 4), torch.zeros(4))
LABELS, ONES = torch.ones(1, 1, dtype=torch.bool), torch.ones(1, dtype=torch.long)
BLOCKS = [
    NormBlock(MODEL, (1, 2), ((1, 2),)),
    AdditionBlock(MODEL, 1, 0.2, 3.0, ("concept",), torch.ones(1, 4), ((1, 2),), ((3,),), WORDS, READERS),
    AblationBlock(MODEL, (1, 2), 0, "leace", (ERASURE, ERASURE), ((1, 2),), ((3,),), WORDS, READERS),
    ProbeBlock(MODEL, (1,), (1, 2), (0,), "leace", ((ERASURE,), (ERASURE,)), ("a",), LABELS, LABELS, ONES, ONES),
    SampleBlock(MODEL, "joy", 1, torch.ones(4), (0.0, 0.2), 9.0, ((1, 2),), 2, 0, 32, 0.7, 2),
]


def other(value):
    """Values of the same type that differ from `value` in one place."""
    if isinstance(value, Tensor):
        changed = value.clone()
        changed.view(-1)[-1] = ~changed.view(-1)[-1] if value.dtype == torch.bool else changed.view(-1)[-1] + 1
        return [changed]
    if is_dataclass(value):
        return [replace(value, **{f.name: v}) for f in fields(value) for v in other(getattr(value, f.name))]
    if isinstance(value, dict):
        return [{**value, "more": ("x",)}]
    if isinstance(value, tuple):
        longer = [] if value == MODEL else [(*value, value[-1])]
        return longer + [(*value[:-1], changed) for changed in other(value[-1])]
    if value == "concept":
        return ["random"]
    if value == "leace":
        return ["mean"]
    return [f"{value}x"] if isinstance(value, str) else [value + 1]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: type(block).__name__)
def test_a_change_of_any_field_however_deep_changes_the_key(block):
    keys = [block.key]
    for field in fields(block):
        for value in other(getattr(block, field.name)):
            keys.append(replace(block, **{field.name: value}).key)
    assert len(set(keys)) == len(keys)
    assert replace(block).key == block.key


def test_blocks_of_another_kind_have_another_key():
    class Other(NormBlock):
        pass

    assert Other(MODEL, (1, 2), ((1, 2),)).key != BLOCKS[0].key
    assert {type(block).__name__ for block in BLOCKS} == {kind.__name__ for kind in Block.__subclasses__()}


def test_tensors_of_another_shape_or_dtype_have_another_key():
    assert len({key_of(torch.ones(4)), key_of(torch.ones(2, 2)), key_of(torch.ones(4).double())}) == 3


def test_a_value_without_an_unambiguous_form_is_refused():
    with pytest.raises(TypeError):
        key_of(object())
