"""float16 rows that sum to what they did."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.readout.rounding import round_keeping_sum


@given(seed=st.integers(0, 10_000), d_model=st.sampled_from([2, 64, 768]), heavy=st.booleans())
def test_the_sum_is_kept_and_no_value_moves_by_more_than_two_roundings(seed, d_model, heavy):
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(
        2, 3, d_model, generator=generator, dtype=torch.float64
    )  # float32 may not centre two equal values
    if heavy:  # a few values carry the whole norm, as massive activations do
        vectors[..., : d_model // 2] *= 100.0
    vectors -= vectors.mean(dim=-1, keepdim=True)
    vectors = (vectors / vectors.norm(dim=-1, keepdim=True)).float()
    rounded = round_keeping_sum(vectors)
    assert rounded.dtype == torch.float16
    assert rounded.double().sum(dim=-1).abs().max() < 2e-6
    assert (rounded.float() - vectors).abs().max() <= vectors.abs().max() * 2**-10
    assert (rounded.float().norm(dim=-1) - 1.0).abs().max() < 2e-3
