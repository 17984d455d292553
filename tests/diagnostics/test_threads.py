"""Work in threads: in order, with one thread of PyTorch each, and no fewer for all others."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from amygdala_tl.diagnostics.threads import in_threads


def threads_of_a_new_thread():
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_results_come_in_order_and_pytorch_has_one_thread_in_each_thread_and_as_many_as_before_elsewhere():
    before = torch.get_num_threads(), threads_of_a_new_thread()
    found = in_threads(lambda item: (item, torch.get_num_threads(), threads_of_a_new_thread()), range(9))
    assert found == [(item, 1, before[1]) for item in range(9)]
    assert (torch.get_num_threads(), threads_of_a_new_thread()) == before


def test_an_error_comes_through():
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda item: 1 / item, [1, 0])
