"""Batches for which the machine really has no memory: an address space that ends, in a process of its own."""

import contextlib
import os
import resource
import traceback
from pathlib import Path

import pytest
import torch

from amygdala_tl.activations import runner
from amygdala_tl.activations.halving import run_halving
from amygdala_tl.errors import ModelError
from amygdala_tl.records import CaptureSettings

MB = 1 << 20
TEXTS = 200


def in_a_process_with(megabytes: int, work) -> str:
    """Run `work` in a fork that may take this much more memory than it has, and return what went wrong there."""
    read, write = os.pipe()
    if not (child := os.fork()):
        said = "nothing"
        try:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            kept = [free for size in (16 * MB, MB, MB // 8) for free in left_free(size, pages * resource.getpagesize())]
            most = pages * resource.getpagesize() + megabytes * MB
            resource.setrlimit(resource.RLIMIT_AS, (most, -1))
            work()
            del kept
        except BaseException:
            said = traceback.format_exc()
        os.write(write, said[-4000:].encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def left_free(size: int, most: int) -> list[torch.Tensor]:
    """Take blocks of memory that earlier tests have freed and the allocator has kept: it would serve them first."""
    resource.setrlimit(resource.RLIMIT_AS, (most, -1))
    taken = []
    with contextlib.suppress(RuntimeError):
        while True:
            taken.append(torch.empty(size, dtype=torch.uint8))
    return taken


def test_a_batch_that_does_not_fit_into_memory_runs_in_halves_with_the_same_activations(tiny, monkeypatch):
    monkeypatch.setattr(runner, "CPU_TOKEN_BUDGET", 1 << 20)
    texts = [f"{number} " * 150 for number in range(TEXTS)]
    tokenized = runner.tokenize_for(tiny, texts, CaptureSettings())

    def run() -> list[runner.BatchResult]:
        return list(runner.run_batches(tiny, tokenized, [1, 3]))

    (whole,) = run()
    assert len(whole.indices) == TEXTS

    def work() -> None:
        parts = run()
        assert len(parts) > 1
        assert [index for part in parts for index in part.indices] == whole.indices
        for part in parts:
            rows = [whole.indices.index(index) for index in part.indices]
            ours, theirs = (
                where[part.tokens.content]
                for where in (part.residuals, whole.residuals[rows, : part.residuals.shape[1]])
            )
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)

    assert in_a_process_with(20, work) == "nothing"


def test_later_batches_are_no_larger_than_what_fitted():
    tried = []

    def run(batch: list[int]) -> list[int]:
        tried.append(len(batch))
        torch.empty(len(batch) * 100 * MB, dtype=torch.uint8)
        return batch

    def work() -> None:
        batches = [list(range(start, start + 8)) for start in (0, 8, 16)]
        assert [index for part in run_halving(batches, [5] * 24, run) for index in part] == list(range(24))
        assert tried == [8, 4, 2, 2, 2, 2] + [2] * 8

    assert in_a_process_with(300, work) == "nothing"


def test_a_batch_counts_as_its_texts_padded_to_the_longest_and_a_single_text_is_always_tried():
    tried, lengths = [], [5, 5, 5, 5, 9, 1, 11]

    def run(batch: list[int]) -> list[int]:
        tried.append(batch)
        if len(batch) * max(lengths[index] for index in batch) > 12:
            raise torch.OutOfMemoryError
        return batch

    found = list(run_halving([[0, 1, 2, 3], [4, 5], [6]], lengths, run))
    assert found == [[0, 1], [2, 3], [4], [5], [6]]
    assert tried == [[0, 1, 2, 3], *found]


def test_a_single_text_that_does_not_fit_and_any_other_error_end_the_run():
    def work() -> None:
        with pytest.raises(ModelError, match=r"does not fit into memory \(got: 5 tokens\)"):
            list(run_halving([[0, 1]], [5, 7], lambda _: torch.empty(2000 * MB, dtype=torch.uint8)))

    assert in_a_process_with(300, work) == "nothing"
    with pytest.raises(ZeroDivisionError):
        list(run_halving([[0]], [5], lambda _: 1 // 0))
