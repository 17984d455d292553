"""Two readouts side by side."""

from dataclasses import replace

import pytest
import torch

from amygdala_tl.diagnostics.comparing import compare_readouts
from amygdala_tl.readout.provenance import Verdict
from tests.readout.example import INFO, LAYERS, VERDICTS, a_readout

NAMES = ("old", "new")


def test_a_readout_equals_itself():
    found = compare_readouts(a_readout(), a_readout(), NAMES)
    assert (found.differs, found.notes, found.worse) == ((), (), ())
    for each in found.concepts:
        assert each.difference == 0
        assert each.cosines == pytest.approx(dict.fromkeys(LAYERS, 1.0))


def test_cosines_are_of_one_concept_at_one_layer_in_any_order_of_the_axes():
    first = a_readout()
    second = a_readout(concepts=("calm", "grief", "awe"), layers=(1, 10), seed=3)
    found = compare_readouts(first, second, NAMES)
    assert [each.concept for each in found.concepts] == ["awe", "joy", "grief", "calm"]
    assert found.layers == (10,)
    cosines = {each.concept: each.cosines for each in found.concepts}
    for concept in ("awe", "grief"):
        expected = float(first.direction(concept, 10) @ second.direction(concept, 10))
        assert cosines[concept] == pytest.approx({10: expected}, abs=1e-6)
    assert cosines["joy"] == cosines["calm"] == {}


def test_what_was_made_differently_is_named_and_nothing_else():
    model = replace(INFO, fingerprint="e" * 64)
    second = a_readout(corpus_sha256="d" * 64, read_position="pooled", model=model, estimator={"method": "joint"})
    found = compare_readouts(a_readout(), second, NAMES)
    assert {row[0]: row[1:] for row in found.differs} == {
        "weights": ("f" * 12, "e" * 12),
        "read position": ("last", "pooled"),
        "method": ("mean", "joint"),
        "labels": ("classes", "\u2013"),
        "corpus": ("c" * 12, "d" * 12),
    }
    assert [note.split(":")[0] for note in found.notes] == ["The models differ", "The corpora differ"]


def test_streams_of_other_sizes_have_no_cosines_but_verdicts():
    found = compare_readouts(a_readout(), a_readout(d_model=8), NAMES)
    assert all(each.cosines == {} and each.difference == 0 for each in found.concepts)
    assert "different sizes" in found.notes[0]


@pytest.mark.parametrize("worse", ["undecided", "not readable", "an unknown word", None])
def test_a_verdict_that_fell_or_is_missing_is_worse_and_one_that_rose_is_not(worse):
    verdicts = {**VERDICTS, "awe": worse and Verdict(worse), "joy": Verdict("readable", auroc=0.75)}
    second = a_readout(verdicts={name: of for name, of in verdicts.items() if of is not None})
    found = compare_readouts(a_readout(), second, NAMES)
    assert [each.concept for each in found.worse] == ["awe"]
    assert found.as_json()["worse"] == ["awe"]
    assert {each.concept: each.difference for each in found.concepts} == {"awe": None, "joy": 0.125, "grief": 0}
    back = compare_readouts(second, a_readout(), NAMES)
    assert "awe" not in [each.concept for each in back.worse]
    assert torch.equal(second.vectors, a_readout().vectors), "verdicts alone differ"
