"""Verdicts on texts from elsewhere, where the truth is known."""

import dataclasses

import pytest
import torch

from amygdala_tl.diagnostics.scored import ScoredTexts
from amygdala_tl.diagnostics.transfer import at_home, transfer
from amygdala_tl.directions.auroc import auroc
from amygdala_tl.readout.provenance import Verdict
from benchmarks import transfer as benchmark

NAMES = ("read", "unread", "rare")
HOME = {
    "read": Verdict("readable", auroc=0.9, interval=(0.86, 0.93)),
    "unread": Verdict("readable", auroc=0.9, interval=(0.86, 0.93)),
}
N = 600


@pytest.fixture
def texts():
    """Scores that show the first concept and not the second; the third has no positive."""
    generator = torch.Generator().manual_seed(0)
    positive = torch.rand(N, 3, generator=generator) < torch.tensor([0.2, 0.2, 0.0])
    scores = torch.randn(N, 3, generator=generator)
    scores[:, 0] += 1.5 * positive[:, 0]
    return ScoredTexts(scores, positive, ~positive, torch.arange(N))


@pytest.fixture
def there(texts):
    return torch.randn(N, 3, generator=torch.Generator().manual_seed(1)) + 2.0 * texts.positive


def judge(texts, there, home=HOME):
    return transfer(texts, there, home, NAMES, torch.Generator().manual_seed(0))


def test_what_is_read_transfers_and_what_is_not_does_not(texts, there):
    found = judge(texts, there)
    assert found.verdict == ("transfers", "only where it was trained", "undecided")
    torch.testing.assert_close(found.trained_there, auroc(there, texts.positive, texts.negative), equal_nan=True)


def test_the_sign_matters(texts, there):
    turned = dataclasses.replace(texts, scores=-texts.scores)
    assert judge(turned, there).verdict[0] == "only where it was trained"


def test_texts_that_no_readout_reads_decide_nothing(texts):
    noise = torch.randn(N, 3, generator=torch.Generator().manual_seed(2))
    assert judge(texts, noise).verdict == ("transfers", "undecided", "undecided")


def test_few_texts_decide_nothing_good(texts, there):
    few = ScoredTexts(texts.scores[:20], texts.positive[:20], texts.negative[:20], texts.groups[:20])
    assert judge(few, there[:20]).verdict[0] == "undecided"


def test_one_of_the_two_that_bound_what_is_possible_is_enough(texts, there):
    unknown = torch.full_like(there, torch.nan)
    assert judge(texts, unknown).verdict == ("transfers", "only where it was trained", "undecided")
    assert judge(texts, there, {}).verdict == ("transfers", "only where it was trained", "undecided")
    assert judge(texts, unknown, {}).verdict == ("undecided",) * 3


def test_an_interval_at_home_that_is_wide_makes_the_verdict_careful(texts):
    unknown = torch.full_like(texts.scores, torch.nan)
    wide = {name: dataclasses.replace(said, interval=(0.3, 1.0)) for name, said in HOME.items()}
    assert judge(texts, unknown, wide).verdict[1] == "undecided"


def test_verdicts_without_numbers_are_unknown():
    value, error = at_home({"read": Verdict("undecided")}, NAMES)
    assert value.isnan().all()
    assert error.isnan().all()


@pytest.mark.parametrize("method", ["mean", "whitened"])
def test_planted_domains_are_told_apart(method):
    """A direction that is the same in both domains, and one that is not (`benchmarks/transfer.py --planted` has more of them)."""
    found = [benchmark.verdicts_of(seed, benchmark.read_method(method), 700, 1000) for seed in range(2)]
    same = [name for verdict in found for name in verdict[: benchmark.SAME]]
    other = [name for verdict in found for name in verdict[benchmark.SAME :]]
    assert same.count("transfers") >= 0.9 * len(same)
    assert other.count("only where it was trained") >= 0.9 * len(other)
