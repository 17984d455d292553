"""The calibration by length on simulated scores, where the truth is known: one scale from a single token to a page."""

import pytest
import torch

from amygdala_tl.readout.calibration import calibrate_texts, calibrate_tokens
from amygdala_tl.readout.lengths import calibrate_lengths
from amygdala_tl.readout.record import Readout
from amygdala_tl.records import Calibration, TokenPart

AXES = torch.eye(3)[None]
"""Directions [layer, concept, d_model]. They are the unit axes, so scores are the coordinates of the streams."""

ALIKE = 0.7
"""Correlation of neighbouring tokens."""


def test_floor_reach_and_mean_are_found_again():
    generator = torch.Generator().manual_seed(0)
    floor, reach, mean, single = (
        torch.tensor([0.0, 0.1, 0.3]),
        5.0,
        torch.tensor([1.0, -2.0, 40.0]),
        torch.tensor([0.5, 1.0, 3.0]),
    )
    n = torch.randint(2, 400, (20_000, 1), generator=generator, dtype=torch.int32)
    variance = single.square() * (floor + (1 - floor) * reach / (n + reach - 1))
    scores = mean + variance.sqrt() * torch.randn(len(n), 3, generator=generator)
    unread = torch.full((50, 1), 0, dtype=torch.int32), torch.full((50, 1, 3), 1e4)
    parts = [(n[:7_000], scores[:7_000, None]), unread, (n[7_000:], scores[7_000:, None])]
    found = calibrate_lengths(parts, AXES, Calibration(mean[None] + 0.2, single[None], 100))
    assert found.n == len(n)
    assert float(found.reach) == pytest.approx(reach, rel=0.1)
    torch.testing.assert_close(found.floor[0], floor, rtol=0.1, atol=0.005)
    assert ((found.mean[0] - mean).abs() / single < 0.02).all()


def test_too_few_texts_to_fit_give_no_calibration():
    one = torch.ones(1, 1, dtype=torch.int32), torch.ones(1, 1, 3)
    tokens = Calibration(torch.zeros(1, 3), torch.ones(1, 3), 5)
    assert calibrate_lengths([one], AXES, tokens) is None
    assert calibrate_lengths([one, (torch.zeros(9, 1, dtype=torch.int32), torch.ones(9, 1, 3))], AXES, tokens) is None


def texts_of(n, count, generator):
    """Tokens [text, token, 1, 3]: each like the one before it, and all like those of their text."""
    noise = torch.randn(n, count, 1, 3, generator=generator)
    tokens = [noise[0]]
    for new in noise[1:]:
        tokens.append(ALIKE * tokens[-1] + (1 - ALIKE**2) ** 0.5 * new)
    return torch.stack(tokens, dim=1) + 0.2 * torch.randn(count, 1, 1, 3, generator=generator) + 3.0


@pytest.fixture(scope="module")
def readout():
    """Calibrated on texts of 3 to 60 tokens."""
    generator = torch.Generator().manual_seed(1)
    texts = [texts_of(n, 60, generator) for n in range(3, 60)]
    counts = torch.cat([torch.full((60, 1), some.shape[1], dtype=torch.int32) for some in texts])
    tokens = torch.cat([some.flatten(0, 1)[:, 0] for some in texts])
    streams = torch.cat([some.mean(dim=1) for some in texts])
    of_tokens = calibrate_tokens([TokenPart(0, len(tokens), torch.ones(len(tokens)).double(), tokens)], AXES)
    lengths = calibrate_lengths([(counts, streams)], AXES, of_tokens)
    concepts, of_texts = ("awe", "joy", "grief"), calibrate_texts([streams], AXES)
    return Readout(concepts, (4,), AXES, of_texts, of_tokens, length_calibration=lengths)


@pytest.mark.parametrize("n", [1, 4, 12, 50, 300])
def test_a_twentieth_of_unseen_texts_is_beyond_two_at_every_length(readout, n):
    means = texts_of(n, 2_000, torch.Generator().manual_seed(2)).mean(dim=1)
    for of in ("texts", "tokens"):  # as a text, and as a window over a server's tokens
        share = (readout.z(means, of=of, tokens=n).abs() > 2).float().mean()
        assert float(share) == pytest.approx(0.05, abs=0.015), of
    if n in (1, 4, 300):
        unaware = (readout.z(means, of="texts").abs() > 2).float().mean()
        assert abs(float(unaware) - 0.05) > 0.03
