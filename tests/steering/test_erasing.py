"""What takes a concept out, method by method, on activations whose classes are known."""

from dataclasses import replace

import pytest
import torch

from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.erasure import Erasure, fit_erasure
from amygdala_tl.steering.erasing import erasure_arms, fit_erasers, projection_arms

NAMES, LAYERS, TEXTS, WIDTH = ("joy", "grief", "calm"), (3, 5), 120, 8


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    labels = torch.rand(TEXTS, 3, generator=generator) < 0.4
    signal = 2 * torch.randn(3, 2, WIDTH, generator=generator)
    noise = torch.randn(TEXTS, 2, WIDTH, generator=generator) @ torch.randn(WIDTH, WIDTH, generator=generator)
    values = noise + torch.einsum("tc,cld->tld", labels.float(), signal) + 5.0
    return LabelledActivations(values, labels, ~labels, torch.arange(TEXTS) // 2)


@pytest.fixture(scope="module")
def erasers(data):
    return fit_erasers(data, [2, 0], LAYERS, controls=4, seed=0)


def difference(values, labels):
    return values[labels].mean(dim=0) - values[~labels].mean(dim=0)


def own(arms):
    return Erasure(arms.read[0], arms.write[0], arms.mean)


@pytest.mark.parametrize("method", ["leace", "mean", "flip"])
def test_the_methods_are_those_of_the_eraser(data, erasers, method):
    eraser = fit_erasure(data, NAMES, LAYERS)
    for place, name in enumerate(("calm", "joy")):
        for at, layer in enumerate(LAYERS):
            values = data.activations[:, at]
            found = own(erasure_arms(erasers[layer], place, method))
            torch.testing.assert_close(
                found(values), eraser.at(name, layer=layer, method=method)(values), rtol=0, atol=1e-3
            )


def test_several_concepts_lose_their_difference_of_means_or_change_places_together(data):
    eraser, values = fit_erasure(data, NAMES, LAYERS), data.activations[:, 1]
    for method, left in (("leace", 0.0), ("mean", 0.0), ("flip", -1.0)):
        edited = eraser.at(*NAMES, layer=LAYERS[1], method=method)(values)
        for column in range(len(NAMES)):
            labels = data.positive[:, column]
            torch.testing.assert_close(difference(edited, labels), left * difference(values, labels), rtol=0, atol=2e-3)


def test_what_each_method_does_to_the_class_means(data, erasers):
    values, labels = data.activations[:, 1], data.positive[:, 2]
    d = difference(values, labels)
    for method, left in (("leace", 0.0), ("mean", 0.0), ("flip", -1.0)):
        edited = own(erasure_arms(erasers[5], 0, method))(values)
        torch.testing.assert_close(difference(edited, labels), left * d, rtol=0, atol=1e-3)
    moved = {m: (own(erasure_arms(erasers[5], 0, m))(values) - values).norm() for m in ("leace", "mean", "flip")}
    assert moved["leace"] < moved["mean"]
    torch.testing.assert_close(moved["flip"], 2 * moved["leace"])


def test_controls_are_the_same_for_every_concept_and_equalise_shuffled_classes_only(data, erasers):
    one, other = (erasure_arms(erasers[3], place, "leace") for place in (0, 1))
    assert one.read.shape == (5, 1, WIDTH)
    assert torch.equal(one.read[1:], other.read[1:])
    assert not torch.equal(one.read[0], other.read[0])
    values, labels = data.activations[:, 0], data.positive[:, 2]
    d = difference(values, labels)
    for row in range(1, 5):
        edited = Erasure(one.read[row], one.write[row], one.mean)(values)
        assert difference(edited, labels).norm() > 0.5 * d.norm()


def test_projecting_out_a_direction_is_about_zero():
    v = torch.nn.functional.normalize(torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(1)), dim=1)
    h = torch.randn(6, WIDTH, generator=torch.Generator().manual_seed(2))
    arms = projection_arms(v)
    for row in range(2):
        expected = h - (h @ v[row])[:, None] * v[row]
        torch.testing.assert_close(Erasure(arms.read[row], arms.write[row], arms.mean)(h), expected)


def test_a_concept_without_a_class_has_no_erasure_and_does_not_spoil_the_others(data):
    positive = data.positive.clone()
    positive[:, 1] = False
    erasers = fit_erasers(replace(data, positive=positive), [1, 0], LAYERS, controls=2, seed=0)
    assert erasure_arms(erasers[3], 0, "leace").read[0].isnan().all()
    assert erasure_arms(erasers[3], 1, "leace").read.isfinite().all()
