"""Packing: every text once, within the budget, as cheaply as possible."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.activations.runner import pack

LENGTHS = st.lists(st.integers(1, 300), max_size=60)


@given(lengths=LENGTHS, budget=st.integers(1, 1000), most=st.none() | st.integers(1, 9))
def test_every_text_is_in_exactly_one_batch(lengths, budget, most):
    batches = list(pack(lengths, token_budget=budget, max_texts=most))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(batches)


@given(lengths=LENGTHS, budget=st.integers(1, 1000), most=st.none() | st.integers(1, 9))
def test_no_batch_is_over_the_budget_but_a_single_long_text(lengths, budget, most):
    for batch in pack(lengths, token_budget=budget, max_texts=most):
        assert len(batch) * max(lengths[index] for index in batch) <= budget or len(batch) == 1
        assert most is None or len(batch) <= most


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=9), budget=st.integers(32, 100))
def test_no_other_cut_of_the_sorted_texts_costs_less(lengths, budget):
    longest_first = sorted(lengths, reverse=True)

    def cost(batches):
        return sum(len(batch) * batch[0] + budget // 32 for batch in batches)

    ours = [[lengths[index] for index in batch] for batch in pack(lengths, token_budget=budget)]
    assert [length for batch in ours for length in batch] == longest_first
    every = [split(longest_first, cut) for cut in itertools.product([False, True], repeat=len(lengths) - 1)]
    allowed = [
        batches for batches in every if all(len(batch) == 1 or len(batch) * batch[0] <= budget for batch in batches)
    ]
    assert cost(ours) == min(map(cost, allowed))


def split(values, cuts):
    """Cut a list behind each value whose cut is True."""
    parts = [[values[0]]]
    for value, cut in zip(values[1:], cuts, strict=True):
        parts.append([value]) if cut else parts[-1].append(value)
    return parts
