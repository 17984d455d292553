"""Packing: every text once, within the budget."""

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
