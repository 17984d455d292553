"""Windows of many sequences at once equal the running means of each."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from amygdala_tl.readout.windows import running_means
from amygdala_tl.routes.rules import Rule
from amygdala_tl.routes.running import TOGETHER, RunningWindows, Runs
from tests.readout.example import a_readout

RULES = (
    Rule("grief", 3, 5),
    Rule("joy", 3, 5, layer=10),
    Rule("grief", 3, 12),
    Rule("joy", 3, 1),
    Rule("awe", 3, 8, layer=3),
)


def expected(readout, scores, rule):
    """z of one rule at every token of a sequence, and the tokens of its windows."""
    means, counts = running_means(scores, rule.window)
    means, many = torch.from_numpy(means).float(), torch.from_numpy(counts)[:, None].expand(-1, len(readout.layers))
    at = readout.concepts.index(rule.concept)
    if rule.layer is None:
        z = readout.combined_z(means, tokens=many)[:, at]
    else:
        z = readout.calibrated(means, of="tokens", tokens=many)[:, readout.column(rule.layer), at]
    return np.where(counts < rule.window / 4, -np.inf, z.numpy()), counts


def push(windows, places, scores):
    z, held = windows.push(Runs(places), windows.values(scores))
    own = windows.of_rules(0, len(RULES))
    return z[:, own], held[:, own]


def without_lengths():
    """A readout that does not say how means vary with the number of tokens."""
    readout = a_readout()
    combined = replace(readout.combined, scale=replace(readout.combined.scale, lengths=None))
    return replace(readout, length_calibration=None, combined=combined)


@pytest.mark.parametrize("readout", [a_readout(), without_lengths()], ids=["lengths", "no lengths"])
def test_every_window_of_interleaved_sequences_is_their_running_mean(readout):
    random = np.random.default_rng(0)
    lengths = (150, 3, 27, 200)
    sequences = [random.normal(size=(n, 2, 3)).astype(np.float32) for n in lengths]
    windows = RunningWindows(readout, RULES)
    found = [np.empty((n, len(RULES))) for n in lengths]
    places, done = {}, [0] * len(lengths)
    while left := [each for each in range(len(lengths)) if done[each] < lengths[each]]:
        now = random.permutation(left)[: random.integers(1, len(left) + 1)].tolist()
        many = [min(int(random.integers(1, TOGETHER // len(now) + 1)), lengths[each] - done[each]) for each in now]
        for each in now:
            places.setdefault(each, windows.open())
        scores = [sequences[each][done[each] : done[each] + n] for each, n in zip(now, many, strict=True)]
        z, held = push(windows, np.repeat([places[each] for each in now], many), np.concatenate(scores))
        rows = np.split(np.arange(len(z)), np.cumsum(many)[:-1])
        for each, n, own in zip(now, many, rows, strict=True):
            found[each][done[each] : done[each] + n] = z[own]
            widths = [[min(at + 1, rule.window) for rule in RULES] for at in range(done[each], done[each] + n)]
            assert held[own].tolist() == widths
            done[each] += n
            if done[each] == lengths[each]:
                windows.close(places[each])
    for each, scores in enumerate(sequences):
        for column, rule in enumerate(RULES):
            np.testing.assert_allclose(found[each][:, column], expected(readout, scores, rule)[0], rtol=1e-4, atol=1e-4)


def test_a_place_that_is_used_again_has_forgotten_the_sequence_before():
    windows = RunningWindows(a_readout(), RULES)
    scores = np.random.default_rng(1).normal(size=(30, 1, 2, 3)).astype(np.float32)
    runs = []
    for _ in range(2):
        place = windows.open()
        runs.append(np.concatenate([push(windows, np.array([place]), row)[0] for row in scores]))
        windows.close(place)
    np.testing.assert_array_equal(*runs)


def test_a_huge_score_leaves_no_trace_once_it_has_left_the_window():
    windows = RunningWindows(a_readout(), RULES)
    scores = np.random.default_rng(2).normal(size=(240, 2, 3)).astype(np.float32)
    clean, place, beside = windows.open(), windows.open(), windows.open()
    spoilt = scores.copy()
    spoilt[3] = 1e30
    for start in range(0, len(scores), 20):
        own = slice(start, start + 20)
        want = push(windows, np.full(20, clean), scores[own])[0]
        both = np.concatenate((spoilt[own], scores[own]))
        got, other = np.split(push(windows, np.repeat([place, beside], 20), both)[0], 2)
        np.testing.assert_allclose(other, want, rtol=1e-9, err_msg="of a sequence that is pushed together with it")
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_memory_of_a_sequence_does_not_grow_with_its_length():
    windows = RunningWindows(a_readout(), RULES)
    place, row = np.array([windows.open()]), np.ones((1, 2, 3), dtype=np.float32)
    push(windows, place, row)
    before = windows._ring.nbytes
    for _ in range(1000):
        push(windows, place, row)
    assert windows._ring.nbytes == before == 8 * (12 + TOGETHER) * 4 * 4
