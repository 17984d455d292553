"""Work in threads: in order, with one thread of PyTorch each, and none less afterwards."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from amygdala_tl.diagnostics.threads import in_threads


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_and_each_thread_has_one_of_pytorch(two_threads):
    assert in_threads(lambda item: (item, torch.get_num_threads()), range(9)) == [(item, 1) for item in range(9)]
    assert torch.get_num_threads() == 2


def test_an_error_comes_through_and_leaves_the_threads_as_they_were(two_threads):
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda item: 1 / item, [1, 0])
    assert torch.get_num_threads() == 2


def test_calls_at_once_leave_the_threads_as_they_were(two_threads):
    inside, done = threading.Barrier(2), threading.Event()

    def first():
        def wait(_):
            inside.wait()
            inside.wait()

        in_threads(wait, [0])
        done.set()

    def second():
        inside.wait()  # PyTorch has one thread for the first call now
        in_threads(lambda _: inside.wait(), [0])
        done.wait()
        return torch.get_num_threads()

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.submit(first), pool.submit(second)
        one.result()
        assert other.result() == 2
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 2
