"""Progress: bars in a terminal, and in a log a line every 30 seconds with what is done, the rate and the time left."""

import io
from contextlib import ExitStack

import pytest

from amygdala_tl.cli.printer import SafeConsole
from amygdala_tl.records import CaptureProgress
from amygdala_tl.report.progress import (
    capture_progress,
    extract_progress,
    from_first_call,
    judging_progress,
    reading_progress,
    steering_progress,
)


class Clock:
    """A clock that shows what it was set to."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def log():
    return SafeConsole(file=io.StringIO())


def lines(console):
    return console.file.getvalue().splitlines()


def test_a_log_gets_a_line_every_30_seconds_with_the_rate_since_the_last(log, clock):
    with capture_progress(log, clock) as show:
        for clock.now, texts, tokens in (
            (110.0, 5, 1_000),
            (129.9, 10, 2_000),
            (131.0, 20, 3_100),
            (140.0, 30, 5_000),
            (171.0, 60, 7_100),
        ):
            show(CaptureProgress(texts, 1_500, tokens, 307_100))
    assert lines(log) == [
        "capture: 20 of 1,500 texts, 100 tokens/s, 0:50:40 left",
        "capture: 60 of 1,500 texts, 100 tokens/s, 0:50:00 left",
    ]


def test_a_stage_of_less_than_30_seconds_adds_nothing_to_a_log(log, clock):
    with extract_progress(log, clock) as show:
        for clock.now in (105.0, 129.0):
            show(10, 30)
    assert lines(log) == []


def test_blocks_that_do_not_advance_have_no_time_left(log, clock):
    with steering_progress(log, clock) as show:
        for clock.now in (140.0, 180.0):
            show(4, 8)
    assert lines(log) == ["steer: 4 of 8 blocks, 0:00:40 left", "steer: 4 of 8 blocks"]


def test_a_stage_that_follows_another_counts_from_its_own_first_call(log, clock):
    with ExitStack() as bars:
        show = from_first_call(bars, lambda: judging_progress(log, clock))
        for clock.now, done, total in ((500.0, 0, 5), (510.0, 1, 5), (535.0, 5, 10)):
            show(done, total)
    assert lines(log) == ["judge: 5 of 10 steps, 0:00:35 left"]


def test_texts_are_counted_under_the_name_of_the_command(log, clock):
    with reading_progress(log, "evaluate", clock) as show:
        clock.now = 140.0
        show(1_000, 4_000)
    assert lines(log) == ["evaluate: 1,000 of 4,000 texts, 0:02:00 left"]


def test_a_terminal_gets_a_bar_and_no_line(monkeypatch, clock):
    monkeypatch.setenv("TERM", "xterm")
    terminal = SafeConsole(file=io.StringIO(), force_terminal=True, width=100)
    with capture_progress(terminal, clock) as show:
        clock.now = 200.0
        show(CaptureProgress(20, 1_500, 3_000, 300_000))
    assert "20/1,500 texts" in terminal.file.getvalue()
    assert "20 of 1,500" not in terminal.file.getvalue()


def test_quiet_is_quiet(clock):
    silent = SafeConsole(file=io.StringIO(), quiet=True)
    with steering_progress(silent, clock) as show:
        clock.now = 200.0
        show(1, 2)
    assert lines(silent) == []
