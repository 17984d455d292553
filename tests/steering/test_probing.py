"""Probes fitted anew, on activations in which it is known what can be read."""

import torch

from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.erasure import fit_erasure
from amygdala_tl.steering.probing import choose_texts, read_across, read_unseen

WIDTH = 12


def example(texts, seed=0):
    """Two layers, two concepts: the first can be read at the first layer only, the second nowhere."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.rand(texts, 2, generator=generator) < 0.5
    values = torch.randn(texts, 2, WIDTH, generator=generator)
    values[:, 0, :3] += 1.5 * labels[:, :1].float()
    groups = torch.arange(texts) // 3
    return LabelledActivations(values, labels, ~labels, groups), groups % 2


def erased(data, half):
    """All texts at the first layer, without the first concept, by what is fitted on each half."""
    found = []
    for number in (0, 1):
        fit = data.take(half == number)
        values = data.activations.clone()
        values[:, 0] = fit_erasure(fit, ("a", "b"), (0, 1)).at("a", layer=0)(values[:, 0])
        found.append(values)
    return found


def test_what_is_there_is_read_and_nothing_else():
    data, half = example(400)
    same = [data.activations] * 2
    across = read_across(same, data.positive, data.negative, half)
    unseen = read_unseen(same, data.positive, data.negative, data.groups, half)
    for found in (across, unseen):
        assert found.shape == (2, 2)
        assert found[0, 0] > 0.9
        assert (found.flatten()[1:] - 0.5).abs().max() < 0.12


def test_what_has_been_erased_is_read_by_neither_probe_if_there_are_many_texts():
    data, half = example(2000)
    edited = erased(data, half)
    assert read_across(edited, data.positive, data.negative, half)[0, 0] < 0.55
    assert read_unseen(edited, data.positive, data.negative, data.groups, half)[0, 0] < 0.6


def test_of_few_texts_the_error_of_the_erasure_stays_readable_to_who_has_other_texts():
    data, half = example(90)
    edited = erased(data, half)
    assert read_across(edited, data.positive, data.negative, half)[0, 0] < 0.6
    assert read_unseen(edited, data.positive, data.negative, data.groups, half)[0, 0] > 0.6


def test_a_half_without_a_class_reads_nothing_and_spoils_nothing():
    data, half = example(200)
    positive = data.positive.clone()
    positive[:, 1] = False
    found = read_across([data.activations] * 2, positive, data.negative, half)
    assert found[1].isnan().all()
    assert found[0, 0] > 0.9


def test_texts_are_chosen_by_class_and_half_and_negatives_are_shared():
    data, half = example(300)
    order = [f"{(7 * number) % 300:03}" for number in range(300)]
    positive, negative = choose_texts(data.positive, data.negative, half, order, 20)
    for chosen, labels in ((positive, data.positive), (negative, data.negative)):
        assert (chosen & ~labels).sum() == 0
        for number in (0, 1):
            assert chosen[half == number].sum(dim=0).tolist() == [20, 20]
    first = sorted(range(300), key=order.__getitem__)
    kept = [row for row in first if data.positive[row, 0] and half[row] == 0][:20]
    assert sorted(kept) == (positive[:, 0] & (half == 0)).nonzero()[:, 0].tolist()
