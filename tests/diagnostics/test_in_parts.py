"""Statistics that are computed in parts, or from part of the texts, beside the same computed at once."""

from dataclasses import replace
from inspect import unwrap

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from amygdala_tl.diagnostics import baselines, group_counts, intervals, nulls, pair_warnings, quality
from amygdala_tl.diagnostics.average_precision import average_precision
from amygdala_tl.diagnostics.crosstalk import cross_talk
from amygdala_tl.diagnostics.intervals import auroc_interval, average_precision_interval, d_prime_interval
from amygdala_tl.diagnostics.nulls import permuted_texts, random_direction_null
from amygdala_tl.diagnostics.quality import spread_about_directions
from amygdala_tl.diagnostics.scored import ScoredTexts
from amygdala_tl.directions.auroc import auroc
from tests.diagnostics.test_streamed_cross_fit import InParts
from tests.diagnostics.worlds import grouped_scores, planted


def seeded():
    return torch.Generator().manual_seed(0)


@given(st.integers(0, 999), st.sampled_from([0.2, 0.7]), st.sampled_from([2, 50]), st.sampled_from([1, 40, 10_000]))
@settings(max_examples=30, deadline=None)
def test_auroc_of_a_draw_is_that_of_its_texts_repeated_however_many_draws_come_at_a_time(seed, share, values, at_once):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(values, (30, 1), generator=generator).double()
    positive = torch.rand(30, 1, generator=generator) < share
    positive[:2] = torch.tensor([[True], [False]])
    index = torch.randint(6, (30,), generator=generator)
    draws = torch.randint(4, (5, 6), generator=generator).double()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_counts, "NUMBERS_AT_A_TIME", at_once)
        patch.setattr(intervals, "PSEUDO_TEXTS", 0.0)
        found = intervals._drawn_auroc(ScoredTexts(scores, positive, ~positive, index), index, draws)[:, 0]
    for draw, value in zip(draws.long(), found, strict=True):
        rows = torch.arange(30).repeat_interleave(draw[index])
        expected = auroc(scores[rows], positive[rows], ~positive[rows])
        torch.testing.assert_close(value, expected[0], equal_nan=True)


@given(st.integers(0, 999), st.sampled_from([1.0, 0.5, 0.0]))
@settings(max_examples=30, deadline=None)
def test_values_count_at_the_places_that_they_do_not_exceed_and_ties_as_much_as_is_asked(seed, ties):
    generator = torch.Generator().manual_seed(seed)
    places, values = (
        torch.randint(5, (8,), generator=generator).sort().values,
        torch.randint(5, (20,), generator=generator),
    )
    index, draws = torch.randint(6, (20,), generator=generator), torch.randint(4, (3, 6), generator=generator).double()
    ((drawn, sums),) = group_counts.counted_up_to(places.double(), values.double(), index, draws, ties=ties)
    assert torch.equal(drawn.T.double(), draws)
    weight = (values < places[:, None]) + ties * (values == places[:, None])
    torch.testing.assert_close(sums.double(), weight.double() @ draws.T[index])


@pytest.mark.parametrize("make", [auroc_interval, average_precision_interval, d_prime_interval])
def test_blocks_of_groups_give_intervals_as_wide_as_the_groups(make, monkeypatch):
    scores, positive, groups = grouped_scores(0.8, 120, 600, 2, 12, 0)
    texts = ScoredTexts(scores, positive, ~positive, groups)
    whole = make(texts, seeded())
    monkeypatch.setattr(intervals, "MOST_BLOCKS", 200)
    blocks = make(texts, seeded())
    torch.testing.assert_close(whole.value, blocks.value)
    ratio = (blocks.high - blocks.low) / (whole.high - whole.low)
    assert not torch.equal(ratio, torch.ones_like(ratio))
    assert abs(float(ratio.log().mean())) < 0.05


@given(st.integers(0, 999), st.sampled_from([(0.1, 0.2), (0.75, 0.85), (0.3, 0.9)]), st.booleans())
@settings(max_examples=30, deadline=None)
def test_the_null_by_ranks_is_the_auroc_of_permuted_labels(seed, shares, ties):
    generator = torch.Generator().manual_seed(seed)
    drawn, scores = torch.rand(40, generator=generator), torch.randn(40, generator=generator)
    scores = scores.round() if ties else scores
    labels = (drawn < shares[0]).float() - (drawn > shares[1]).float()
    labels[:2] = torch.tensor([1.0, -1.0])
    sources = permuted_texts(torch.arange(40) // 2, generator, 7)
    places = sources.long().argsort(dim=1).int()
    texts = ScoredTexts(scores[:, None], (labels == 1)[:, None], (labels == -1)[:, None], torch.arange(40) // 2)
    found = nulls._Ranked.of(texts, 0).auroc(places.numpy())
    expected = [auroc(scores[:, None], *((labels[row] == sign)[:, None] for sign in (1, -1))) for row in sources.long()]
    torch.testing.assert_close(found, torch.cat(expected))


def test_random_directions_from_parts_are_deviations_from_the_mean_of_all_reference_texts():
    data, _ = planted(0, texts=90, layers=1)
    data = replace(data, activations=data.activations + 3.0 * data.positive[:, :1, None])
    texts, reference = data.take(data.groups % 3 == 0), data.take(data.groups % 3 != 0)
    found = random_direction_null(InParts(texts, 7), InParts(reference, 7), seeded(), 20)
    known = reference.activations[:, 0] - reference.activations[:, 0].mean(dim=0)
    drawn = torch.randn(20, len(known), generator=seeded()) @ known
    readouts = texts.activations[:, 0] @ drawn.T
    expected = [auroc(one[:, None].expand(-1, 8), texts.positive, texts.negative) for one in readouts.T]
    expected = ((torch.stack(expected) - 0.5).abs() + 0.5).quantile(0.95, dim=0)
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-6)


def test_spreads_from_parts_are_those_of_all_texts_at_once_and_look_at_a_bounded_number(monkeypatch):
    data, directions = planted(0, texts=240, concepts=5, layers=2)
    column, vectors = [0, 1, 1, 0, 1], directions[:, 0]
    expected = spread_about_directions(data, column, vectors)
    monkeypatch.setattr(quality, "MOST_NUMBERS", 60 * data.d_model)  # a concept or two at a time
    found = spread_about_directions(InParts(data), column, vectors)
    for name in ("agreement", "first_pc_share", "effective_dimension"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-5, atol=1e-6)
    monkeypatch.setattr(quality, "MOST_POSITIVE", 10)
    few = spread_about_directions(data, column, vectors)
    assert (few.effective_dimension < 9).all()  # ten points about their mean
    assert (expected.effective_dimension > 9).all()


def test_columns_and_pairs_at_a_time_change_nothing(monkeypatch):
    data, directions = planted(0, concepts=6, texts=150, twins=((0, 1), (2, 3), (4, 5)))
    texts = ScoredTexts(data.activations[:, 0] @ directions[:, 0].T, data.positive, data.negative, data.groups)
    labelled = texts.scores, texts.positive, texts.negative
    expected = auroc(*labelled), average_precision(*labelled)
    warnings = cross_talk("abcdef", 0, directions[:, 0], texts, seeded()).warnings
    assert len(warnings) > 2
    for function in (auroc, average_precision):
        monkeypatch.setitem(unwrap(function).__globals__, "NUMBERS_AT_A_TIME", 400)
    monkeypatch.setattr(pair_warnings, "PAIRS_AT_A_TIME", 1)
    assert torch.equal(auroc(*labelled), expected[0])
    assert torch.equal(average_precision(*labelled), expected[1])
    assert cross_talk("abcdef", 0, directions[:, 0], texts, seeded()).warnings == warnings


def test_a_bag_of_words_learns_from_a_bounded_number_of_texts_with_all_of_a_rare_concept(monkeypatch):
    monkeypatch.setattr(baselines, "MOST_TEXTS", 20)
    rare = torch.zeros(200, dtype=torch.bool)
    rare[::40] = True
    order = torch.randperm(200, generator=seeded())
    rows = baselines._some(order, rare, ~rare)
    assert len(rows) == 20
    assert set(rare.nonzero()[:, 0].tolist()) < set(rows.tolist())
    half = torch.arange(200) < 100
    assert int(half[baselines._some(order, half, ~half)].sum()) == 10
