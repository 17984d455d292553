"""Verdicts: nothing is found in shuffled labels, planted concepts are, near-duplicates are redundant."""

import dataclasses
import re

import pytest
import torch

from amygdala_tl.diagnostics.crosstalk import cross_talk
from amygdala_tl.diagnostics.intervals import (
    auroc_interval,
    auroc_intervals,
    average_precision_interval,
    degrees_of_freedom,
    drawn_auroc,
    student_quantile,
)
from amygdala_tl.diagnostics.nulls import permutation_null, permuted_texts, random_direction_null
from amygdala_tl.diagnostics.records import Evaluation, Interval, PairWarning
from amygdala_tl.diagnostics.scored import ScoredTexts
from amygdala_tl.diagnostics.verdicts import verdicts
from amygdala_tl.directions import mean
from amygdala_tl.directions.auroc import auroc
from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.estimators import unit_directions
from tests.diagnostics.worlds import planted


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def judge(data, seed):
    """Directions of two thirds of the groups, judged on the rest as the commands do it, baselines aside."""
    held_out = data.groups % 3 == 0
    train, test = data.take(~held_out), data.take(held_out)
    n_concepts = data.positive.shape[1]
    names = tuple(f"c{number}" for number in range(n_concepts))
    directions = unit_directions(mean(train).vectors, names)[:, 0]
    scores = test.activations[:, 0] @ directions.T
    texts = ScoredTexts(scores, test.positive, test.negative, test.groups)
    null = permutation_null(texts, seeded(seed))
    random = random_direction_null(test, train, seeded(seed), directions=100)
    unknown = torch.full((n_concepts,), torch.nan, dtype=torch.float64)
    evaluation = Evaluation(
        concepts=names,
        data="planted",
        reading_layer=torch.zeros(n_concepts, dtype=torch.long),
        auroc=auroc_interval(texts, seeded(seed), replicates=200),
        average_precision=average_precision_interval(texts, seeded(seed), replicates=20),
        p_value=null.corrected,
        permutation_null=null.quantile,
        random_null=random[0],
        bag_of_words=unknown,
        embedding=unknown,
        against_words=Interval(unknown, unknown, unknown),
        against_embedding=Interval(unknown, unknown, unknown),
        n_positive=test.positive.sum(dim=0),
        n_negative=test.negative.sum(dim=0),
        n_groups=len(test.groups.unique()),
    )
    talk = cross_talk(names, 0, directions, texts, seeded(seed))
    return verdicts(evaluation, talk.warnings)


def test_with_permuted_labels_nothing_is_readable():
    found = []
    for seed in range(20):
        data, _ = planted(seed)
        row = permuted_texts(data.groups, seeded(seed), 1)[0]
        shuffled = LabelledActivations(data.activations, data.positive[row], data.negative[row], data.groups)
        found += [judgement.verdict for judgement in judge(shuffled, seed)]
    assert found.count("readable") + found.count("weak") + found.count("redundant") <= 0.05 * len(found)


def test_planted_concepts_are_readable():
    found = []
    for seed in range(20):
        found += [judgement.verdict for judgement in judge(planted(seed)[0], seed)]
    assert found.count("readable") >= 0.95 * len(found)


def test_of_each_near_duplicate_pair_one_is_redundant_with_the_other():
    rest = []
    for seed in range(20):
        data, _ = planted(seed, twins=((0, 1), (4, 6)), texts=720)
        found = judge(data, seed)
        for one, other in ((0, 1), (4, 6)):
            partners = {found[one].redundant_with, found[other].redundant_with}
            assert partners in ({None, f"c{one}"}, {None, f"c{other}"}), (seed, found)
        rest += [found[place].verdict for place in (2, 3, 5, 7)]
    assert rest.count("readable") >= 0.95 * len(rest)


def test_distinct_concepts_that_happen_together_stay_readable():
    for seed in range(5):
        data, directions = planted(seed, texts=900, strength=0.0)
        positive = data.positive.clone()
        copied = torch.rand(900, generator=seeded(seed)) < 0.7
        positive[:, 1] = torch.where(copied, positive[:, 0], positive[:, 1])
        activations = data.activations + 2.5 * torch.einsum("tc,cld->tld", positive.float(), directions)
        found = judge(LabelledActivations(activations, positive, ~positive, data.groups), seed)
        assert [judgement.verdict for judgement in found[:2]] == ["readable", "readable"], (seed, found)


def evaluation(concepts=("joy", "awe", "calm"), **changes):
    """Three fine concepts."""
    n = len(concepts)
    ones = torch.ones(n, dtype=torch.float64)
    whole = Interval(0.85 * ones, 0.8 * ones, 0.9 * ones)
    values = {
        "auroc": whole,
        "average_precision": whole,
        "p_value": 0.01 * ones,
        "permutation_null": 0.6 * ones,
        "random_null": 0.62 * ones,
        "bag_of_words": 0.8 * ones,
        "embedding": 0.7 * ones,
        "against_words": Interval(0.05 * ones, -0.02 * ones, 0.12 * ones),
        "against_embedding": Interval(0.15 * ones, 0.08 * ones, 0.22 * ones),
    }
    counts = torch.full((n,), 20)
    base = Evaluation(
        concepts=concepts,
        data="made up",
        reading_layer=counts,
        n_positive=counts,
        n_negative=counts,
        n_groups=9,
        **values,
    )
    return dataclasses.replace(base, **changes)


def with_one(place, value):
    tensor = torch.full((3,), 0.01, dtype=torch.float64)
    tensor[place] = value
    return tensor


def below(place=2):
    """The third concept's AUROC is below that of the words."""
    ones = torch.ones(3, dtype=torch.float64)
    high = torch.where(torch.arange(3) == place, -0.01, 0.01).double()
    return Interval(-0.1 * ones, -0.2 * ones, high)


def words(found):
    return [judgement.verdict for judgement in found]


def warning(first, second, finding, score_correlation=0.8, contrast=(0.52, 0.4, 0.63)):
    return PairWarning(first, second, finding, 0.9, score_correlation, 0.1, contrast, 20, 20)


def test_concepts_above_all_nulls_and_baselines_are_readable():
    assert words(verdicts(evaluation())) == ["readable"] * 3


@pytest.mark.parametrize("p_value", [0.051, 1.0, float("nan")])
def test_a_p_value_above_the_level_is_not_readable(p_value):
    values = torch.tensor([0.85, 0.65, 0.85], dtype=torch.float64)
    found = verdicts(evaluation(auroc=Interval(values, values - 0.1, values + 0.1), p_value=with_one(1, p_value)))
    assert words(found) == ["readable", "not readable", "readable"]
    assert "huffled" in found[1].reason


def test_an_interval_from_chance_is_not_readable_and_undecided_if_it_reaches_a_good_readout():
    values = torch.tensor([0.85, 0.6, 0.7], dtype=torch.float64)
    found = verdicts(evaluation(auroc=Interval(values, values - 0.2, values + 0.15)))
    assert words(found) == ["readable", "not readable", "undecided"]


@pytest.mark.parametrize("true", [0.7, 0.62])
def test_as_many_more_groups_as_an_undecided_concept_asks_for_decide_it(true):
    few, spread = 30, 0.7  # groups, and half of the interval on the logit scale

    def judged(groups):
        logit = torch.full((3,), true, dtype=torch.float64).logit()
        margin = spread * (few / groups) ** 0.5 + 1e-9
        whole = Interval(logit.sigmoid(), (logit - 2 * margin).sigmoid(), (logit + 2 * margin).sigmoid())
        null = torch.full((3,), 0.5 + 0.1 * (few / groups) ** 0.5, dtype=torch.float64)
        return verdicts(evaluation(auroc=whole, n_groups=groups, permutation_null=null))[0]

    found = judged(few)
    assert found.verdict == "undecided"
    more = int(re.search(r"about (\d+) more groups would decide", found.reason)[1])
    assert judged(few + round(0.8 * more)).verdict == "undecided"
    assert judged(few + round(1.2 * more)).verdict == ("readable" if true == 0.7 else "not readable")


def test_a_concept_without_held_out_texts_is_undecided_and_says_how_many_there_were():
    values = torch.tensor([0.85, torch.nan, 0.8], dtype=torch.float64)
    found = verdicts(evaluation(auroc=Interval(values, values - 0.1, values + 0.1), n_positive=torch.tensor([9, 0, 9])))
    assert found[1].verdict == "undecided"
    assert "0 positive" in found[1].reason


def test_an_auroc_that_random_directions_reach_is_weak():
    found = verdicts(evaluation(random_null=with_one(0, 0.86)))
    assert words(found) == ["weak", "readable", "readable"]
    assert "0.86" in found[0].reason
    # The null has the sampling error in it already: an interval that reaches it is no second reason for doubt.
    assert words(verdicts(evaluation(random_null=with_one(0, 0.84)))) == ["readable"] * 3


def test_an_auroc_below_the_bag_of_words_by_a_paired_interval_is_weak():
    found = verdicts(evaluation(bag_of_words=torch.full((3,), 0.95, dtype=torch.float64), against_words=below()))
    assert words(found) == ["readable", "readable", "weak"]
    assert "0.95 against 0.85" in found[2].reason


def test_a_difference_of_one_text_in_a_thousand_is_no_difference():
    generator = seeded()
    positive = torch.rand(400, 1, generator=generator) < 0.3
    scores = torch.randn(400, 1, generator=generator) + 6.0 * positive
    texts = ScoredTexts(scores, positive, ~positive, torch.arange(400) // 4)
    perfect = positive.double()
    found = auroc_intervals(texts, [perfect], seeded())[1][0]
    assert 0.995 < auroc_interval(texts, seeded()).value < 1.0
    assert found.low < 0.0 <= found.high
    noisy = scores / 6 + torch.randn(400, 1, generator=generator)
    worse = auroc_intervals(ScoredTexts(perfect, positive, ~positive, texts.groups), [noisy], seeded())[1][0]
    assert worse.low > 0.0


def test_the_difference_of_a_score_with_itself_is_nothing_and_covers_what_is_true():
    covered = []
    for seed in range(60):
        generator = seeded(seed)
        positive = torch.rand(240, 1, generator=generator) < 0.3
        shared = torch.randn(240, 1, generator=generator)
        one, other = (1.2 * positive + shared + 0.4 * torch.randn(240, 1, generator=generator) for _ in range(2))
        texts = ScoredTexts(one, positive, ~positive, torch.arange(240) // 3)
        alone, (found,) = auroc_intervals(texts, [other], seeded(seed), replicates=200)
        covered.append(bool(found.low <= 0.0 <= found.high))
        assert found.high - found.low < alone.high - alone.low  # less than a single one's: what both share cancels
    assert sum(covered) >= 0.9 * len(covered)
    same = auroc_intervals(texts, [one], seeded())[1][0]
    assert float(same.low) == float(same.high) == 0.0


def test_a_difference_is_that_of_the_texts_with_both_scores_and_the_interval_of_the_first_stays_that_of_all():
    generator = seeded()
    positive = torch.rand(90, 4, generator=generator) < 0.3
    one, other = (torch.randn(90, 4, generator=generator) + positive for _ in range(2))
    other[:30, 1], other[:, 2], one[60:, 3] = torch.nan, torch.nan, torch.nan
    groups = torch.arange(90) // 3
    texts = ScoredTexts(one, positive, ~positive, groups)
    found, (difference,) = auroc_intervals(texts, [other], seeded(), 50)
    for end in ("value", "low", "high"):
        assert torch.equal(getattr(found, end), getattr(auroc_interval(texts, seeded(), 50), end))
    both = one.isfinite() & other.isfinite()
    expected = auroc(one.nan_to_num(), positive & both, ~positive & both) - auroc(
        other.nan_to_num(), positive & both, ~positive & both
    )
    torch.testing.assert_close(difference.value, expected, equal_nan=True)
    assert difference.value.isnan().tolist() == [False, False, True, False]
    assert torch.equal(difference.low.isnan(), difference.value.isnan())
    labelled = ScoredTexts(one, positive & both, ~positive & both, groups)
    drawn = drawn_auroc(labelled, (one, other), seeded(), 50)
    spread = (drawn[0] - drawn[1])[1:].std(dim=0) * student_quantile(
        degrees_of_freedom(labelled.positive, labelled.negative, groups)
    )
    torch.testing.assert_close((difference.high - difference.low)[:2], 2 * spread[:2])


def test_baselines_that_were_not_computed_are_not_compared_with():
    unknown = torch.full((3,), torch.nan, dtype=torch.float64)
    found = verdicts(evaluation(bag_of_words=unknown, random_null=unknown))
    assert words(found) == ["readable"] * 3
    assert not any("nan" in judgement.reason for judgement in found)


def test_of_a_cluster_of_near_duplicates_the_best_read_one_stays():
    values = torch.tensor([0.8, 0.9, 0.85], dtype=torch.float64)
    warnings = [
        warning("joy", "awe", "cannot be told apart"),
        warning("joy", "calm", "cannot be told apart"),
        warning("awe", "calm", "cannot be told apart"),
    ]
    found = verdicts(evaluation(auroc=Interval(values, values - 0.1, values + 0.05)), warnings)
    assert words(found) == ["redundant", "readable", "redundant"]
    assert found[0].redundant_with == found[2].redundant_with == "awe"


def test_a_chain_keeps_both_of_its_ends():
    values = torch.tensor([0.9, 0.8, 0.85], dtype=torch.float64)
    warnings = [warning("joy", "awe", "cannot be told apart"), warning("awe", "calm", "cannot be told apart")]
    assert words(verdicts(evaluation(auroc=Interval(values, values - 0.1, values + 0.05)), warnings)) == [
        "readable",
        "redundant",
        "readable",
    ]


def test_nothing_is_redundant_with_what_cannot_be_read():
    values = torch.tensor([0.95, 0.8, 0.85], dtype=torch.float64)
    found = verdicts(
        evaluation(auroc=Interval(values, values - 0.1, values + 0.05), p_value=with_one(0, 0.9)),
        [warning("joy", "awe", "cannot be told apart")],
    )
    assert words(found) == ["undecided", "readable", "readable"]


def test_pairs_that_happen_together_or_are_close_are_not_redundant():
    for finding in ("happen together", "close readouts", "opposite ends"):
        assert words(verdicts(evaluation(), [warning("joy", "awe", finding)])) == ["readable"] * 3


def test_one_number_is_redundant_unless_it_is_shown_to_tell_the_two_apart():
    none = (float("nan"),) * 3
    same = verdicts(evaluation(), [warning("joy", "awe", "close readouts", 0.97, none)])
    assert sorted(words(same)) == ["readable", "readable", "redundant"]
    assert "0.97" in same[1].reason
    told_apart = warning("joy", "awe", "happen together", 0.97, (0.8, 0.7, 0.9))
    turned = warning("joy", "awe", "close readouts", -0.97, none)
    for other in (told_apart, turned):
        assert words(verdicts(evaluation(), [other])) == ["readable"] * 3


def test_every_reason_is_one_sentence():
    cases = [
        evaluation(),
        evaluation(p_value=with_one(0, 1.0), random_null=with_one(1, 0.9), against_words=below()),
    ]
    for case in cases:
        for judgement in verdicts(case, [warning("joy", "awe", "cannot be told apart")]):
            assert judgement.reason.endswith(".")
            assert ". " not in judgement.reason
