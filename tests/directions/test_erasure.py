"""The algebra of least-squares concept erasure."""

import pytest
import torch
from einops import einsum
from hypothesis import given, settings
from hypothesis import strategies as st

from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.erasure import fit_erasure, joint_erasure
from amygdala_tl.errors import FitError, InputError

TEXTS, WIDTH = 90, 7
NAMES = ("joy", "grief", "calm")
seeds = st.integers(0, 2**31)


def example(seed, texts=TEXTS, width=WIDTH):
    """Correlated activations far from zero, with three concepts in them that overlap."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.rand(texts, len(NAMES), generator=generator) < 0.4
    labels[:2] = torch.tensor([[True], [False]])
    mixing = torch.randn(width, width, generator=generator)
    signal = torch.randn(len(NAMES), width, generator=generator)
    values = torch.randn(texts, width, generator=generator) @ mixing + labels.float() @ signal + 20.0
    return LabelledActivations(values[:, None], labels, ~labels, torch.arange(texts))


def fitted(data, **options):
    return fit_erasure(data, NAMES, (14,), **options)


def class_means(values, labels):
    return torch.stack(
        [values[labels[:, place]].mean(dim=0) - values[~labels[:, place]].mean(dim=0) for place in range(3)]
    )


@settings(max_examples=20)
@given(seeds)
def test_class_means_are_equal_and_least_squares_finds_no_weight(seed):
    data = example(seed)
    values = data.activations[:, 0]
    erased = fitted(data).at("joy", layer=14)(values)
    assert class_means(values, data.positive)[0].norm() > 0.1
    assert class_means(erased, data.positive)[0].norm() < 1e-3
    centred = (erased - erased.mean(dim=0)).double()
    target = data.positive[:, 0].double()
    weight = torch.linalg.lstsq(centred, target - target.mean(), rcond=1e-5, driver="gelsd").solution
    predicted = centred @ weight
    assert predicted.abs().max() < 1e-3  # the best linear probe is a constant


@settings(max_examples=20)
@given(seeds)
def test_several_concepts_are_erased_at_once(seed):
    data = example(seed)
    erased = fitted(data).at(*NAMES, layer=14)(data.activations[:, 0])
    assert class_means(erased, data.positive).norm(dim=1).max() < 2e-3


@settings(max_examples=20)
@given(seeds)
def test_erasing_twice_is_erasing_once_and_the_mean_stays(seed):
    data = example(seed)
    values, eraser = data.activations[:, 0], fitted(data)
    for names in (("joy",), ("joy", "grief")):
        erasure = eraser.at(*names, layer=14)
        once = erasure(values)
        torch.testing.assert_close(erasure(once), once, rtol=0, atol=2e-3)
        torch.testing.assert_close(erasure(eraser.mean), eraser.mean, rtol=0, atol=1e-5)


@settings(max_examples=20)
@given(seeds, seeds)
def test_no_other_map_that_equalises_the_means_moves_activations_less(seed, other):
    data = example(seed)
    values, eraser = data.activations[:, 0], fitted(data, shrinkage=0.0)
    generator = torch.Generator().manual_seed(other)
    metric = torch.randn(WIDTH, WIDTH, generator=generator)
    for names in (("joy",), NAMES):
        erasure = eraser.at(*names, layer=14)
        moved = values - erasure(values)
        # Any projection along the same directions: read changed by what the differences do not see.
        free = torch.randn(erasure.read.shape, generator=generator)
        basis = torch.linalg.qr(erasure.write.T).Q
        read = erasure.read + 0.1 * (free - free @ basis @ basis.T)
        elsewhere = einsum(values - eraser.mean[0], read, erasure.write, "t d, r d, r e -> t e")
        for some in (torch.eye(WIDTH), metric):
            assert (moved @ some).square().sum() <= (elsewhere @ some).square().sum() * (1 + 1e-4)


@settings(max_examples=20)
@given(seeds)
def test_one_concept_is_the_formula_and_moves_less_than_projecting_out_the_means(seed):
    data = example(seed)
    values, eraser = data.activations[:, 0].double(), fitted(data, shrinkage=0.0)
    d = class_means(values, data.positive)[0]
    mean = values.mean(dim=0)
    covariance = (values - mean).T @ (values - mean) / len(values)
    w = torch.linalg.solve(covariance, d)
    expected = values - ((values - mean) @ w)[:, None] * d / (w @ d)
    erased = eraser.at("joy", layer=14)(values.float())
    torch.testing.assert_close(erased.double(), expected, rtol=0, atol=5e-3)
    unit = d / d.norm()
    projected = (values - mean) @ unit
    assert (expected - values).square().sum() <= projected.square().sum() * (1 + 1e-6)


@settings(max_examples=20)
@given(seeds, st.floats(0.1, 10))
def test_the_units_of_the_stream_and_its_origin_do_not_matter(seed, scale):
    data = example(seed)
    values = data.activations[:, 0]
    shift = torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed))
    there = LabelledActivations(scale * data.activations + shift, data.positive, data.negative, data.groups)
    one, other = fitted(data).at("joy", layer=14), fitted(there).at("joy", layer=14)
    torch.testing.assert_close(other(scale * values + shift), scale * one(values) + shift, rtol=1e-3, atol=2e-3 * scale)


def test_two_names_of_one_concept_are_erased_like_one():
    data = example(3)
    eraser = fitted(data)
    twice = joint_erasure(eraser.difference[[0, 0], 0], eraser.weights[[0, 0], 0], eraser.mean[0])
    values = data.activations[:, 0]
    torch.testing.assert_close(twice(values), eraser.at("joy", layer=14)(values), rtol=0, atol=1e-3)


def test_what_the_eraser_lacks_is_named():
    eraser = fitted(example(0))
    with pytest.raises(InputError, match="layer 3"):
        eraser.at("joy", layer=3)
    with pytest.raises(InputError, match="no such concept"):
        eraser.at("awe", layer=14)
    with pytest.raises(InputError, match="no concept"):
        eraser.at(layer=14)


def test_a_concept_without_a_class_cannot_be_erased():
    data = example(0)
    data.positive[:, 1] = False
    with pytest.raises(FitError, match="grief"):
        fitted(data)
