"""Separation by layer, the choice of layers, and what noise may not decide."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.diagnostics.intervals import auroc_interval
from amygdala_tl.diagnostics.records import Interval, LayerSeparation
from amygdala_tl.diagnostics.scored import ScoredTexts
from amygdala_tl.diagnostics.separation import best_layers, layer_separation, reading_layers, smoothed_over_layers
from amygdala_tl.errors import InputError
from tests.diagnostics.worlds import planted


def with_auroc(table, width=0.05, layers=None):
    """Separation with a given AUROC [layer, concept] and intervals of a width."""
    table = torch.as_tensor(table, dtype=torch.float64)
    interval = Interval(table, table - width / 2, table + width / 2)
    n_layers, n_concepts = table.shape
    counts = torch.full((n_concepts,), 30)
    return LayerSeparation(
        concepts=tuple(f"c{number}" for number in range(n_concepts)),
        layers=tuple(layers or range(n_layers)),
        auroc=interval,
        d_prime=interval,
        fisher_ratio=interval,
        n_positive=counts,
        n_negative=counts,
        of="training folds",
    )


def test_every_layer_is_what_the_interval_of_its_scores_says():
    data, directions = planted(0, layers=3, texts=120, concepts=4)
    scores = torch.einsum("tld,cld->ltc", data.activations, directions)
    names, layers = ("a", "b", "c", "d"), (2, 5, 9)
    found = layer_separation(scores, data, names, layers, of="held-out texts", seed=3, replicates=40)
    for place in range(3):
        texts = ScoredTexts(scores[place], data.positive, data.negative, data.groups)
        expected = auroc_interval(texts, torch.Generator().manual_seed(3), 40)
        assert torch.equal(found.auroc.value[place], expected.value)
        assert torch.equal(found.auroc.low[place], expected.low)
    assert torch.allclose(found.fisher_ratio.value, found.d_prime.value.square() / 2)
    assert found.n_positive.tolist() == data.positive.sum(dim=0).tolist()


def test_one_slot_takes_the_layer_that_is_best_on_average():
    assert best_layers(with_auroc([[0.6, 0.9], [0.9, 0.9], [0.6, 0.9]], layers=(3, 7, 11)), 1) == (7,)


def test_a_second_slot_serves_the_concepts_that_the_first_one_does_not():
    table = torch.full((9, 5), 0.5)
    table[0:3, 0:3], table[6:9, 3:5] = 0.9, 0.9
    table[1], table[7] = table[1] + 0.01, table[7] + 0.01
    assert best_layers(with_auroc(table), 2) == (1, 7)


@given(st.integers(0, 500), st.integers(1, 5))
def test_each_slot_is_the_best_addition_to_those_before(seed, slots):
    separation = with_auroc(torch.rand(6, 4, generator=torch.Generator().manual_seed(seed)))
    table = smoothed_over_layers(separation.auroc.value, separation.layers)

    def value(layers):
        return float(table[list(layers)].amax(dim=0).mean())

    before, after = set(best_layers(separation, slots)), set(best_layers(separation, slots + 1))
    assert before < after
    assert value(after) == pytest.approx(max(value(before | {other}) for other in range(6) if other not in before))


def test_equal_layers_go_to_the_shallower_one():
    assert best_layers(with_auroc(torch.full((5, 3), 0.8)), 3) == (0, 1, 2)
    assert reading_layers(with_auroc(torch.full((5, 3), 0.8))).tolist() == [0, 0, 0]


@given(st.permutations(range(4)))
def test_the_choice_does_not_depend_on_the_order_of_concepts(order):
    table = torch.rand(6, 4, generator=torch.Generator().manual_seed(1))
    assert best_layers(with_auroc(table), 2) == best_layers(with_auroc(table[:, list(order)]), 2)


def test_a_concept_that_could_not_be_scored_does_not_decide():
    table = torch.tensor([[0.6, 0.9], [0.8, 0.2], [0.6, 0.1]])
    unknown = table.clone()
    unknown[:, 1] = torch.nan
    assert best_layers(with_auroc(unknown), 1) == best_layers(with_auroc(table[:, :1]), 1) == (1,)
    assert reading_layers(with_auroc(unknown)).tolist() == [1, 1]


def test_no_slot_is_refused():
    with pytest.raises(InputError, match="at least 1"):
        best_layers(with_auroc([[0.5]]), 0)


def test_a_concept_leaves_the_common_layer_only_where_it_gains_more_than_a_standard_error():
    table = torch.full((9, 6), 0.7)
    table[2] = 0.9
    table[2, 5], table[7, 5] = 0.7, 0.9
    assert reading_layers(with_auroc(table, width=0.05)).tolist() == [2, 2, 2, 2, 2, 7]
    assert reading_layers(with_auroc(table, width=0.6)).tolist() == [2] * 6


def test_smoothing_is_a_weighted_mean_that_keeps_constants():
    values = torch.rand(5, 2, dtype=torch.float64)
    found = smoothed_over_layers(values, range(7, 12))
    assert torch.allclose(found[2], values[1] / 4 + values[2] / 2 + values[3] / 4)
    assert torch.allclose(found[0], (2 * values[0] + values[1]) / 3)
    assert torch.allclose(smoothed_over_layers(torch.ones(1, 2), [4]), torch.ones(1, 2))


def test_layers_that_are_not_adjacent_do_not_smooth_each_other():
    values = torch.rand(5, 2, dtype=torch.float64)
    found = smoothed_over_layers(values, [3, 10, 14, 15, 20])
    assert torch.allclose(found[[0, 1, 4]], values[[0, 1, 4]])
    assert torch.allclose(found[2], (2 * values[2] + values[3]) / 3)


def test_a_peak_before_the_last_of_a_few_captured_layers_is_chosen():
    # The last has one neighbour: a mean of these two would be above that of the peak and both of its neighbours.
    table = torch.tensor([0.60, 0.75, 0.99, 0.92])[:, None].expand(4, 3)
    separation = with_auroc(table, layers=(10, 14, 19, 23))
    assert best_layers(separation, 1) == (19,)
    assert reading_layers(separation).tolist() == [19, 19, 19]


def test_greedy_finds_the_best_pair_where_layers_serve_different_concepts():
    separation = with_auroc(torch.block_diag(torch.ones(3, 2), torch.ones(3, 3)) * 0.4 + 0.5)
    table = smoothed_over_layers(separation.auroc.value, separation.layers)
    best = max(
        itertools.combinations(range(6), 2), key=lambda pair: round(float(table[list(pair)].amax(dim=0).mean()), 9)
    )
    assert best_layers(separation, 2) == best
