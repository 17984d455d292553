"""The algebra of edits of a residual stream."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.steering.interventions import NOT_FIRST, Ablate, AblateThenAdd, Add, Clamp, Where

BATCH, POSITIONS, WIDTH = 3, 5, 16
AT = torch.arange(POSITIONS)[None]


def unit(*shape, seed=0):
    rows = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return rows / rows.norm(dim=-1, keepdim=True)


def stream(seed=1, scale=3.0):
    return scale * torch.randn(BATCH, POSITIONS, WIDTH, generator=torch.Generator().manual_seed(seed))


def projection(residual, directions):
    return (residual * directions[:, None]).sum(dim=-1)


V, W = unit(BATCH, WIDTH), unit(BATCH, WIDTH, seed=2)
AMOUNTS = torch.tensor([0.5, -2.0, 7.0])
amounts = st.lists(st.floats(-10, 10, width=32), min_size=BATCH, max_size=BATCH).map(torch.tensor)
seeds = st.integers(0, 2**31)


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-5)


@given(amounts, seeds)
def test_adding_then_ablating_the_same_direction_is_ablating(values, seed):
    h = stream(seed)
    close(Ablate(V)(Add(V, values)(h, AT), AT), Ablate(V)(h, AT))


@given(amounts, amounts, seeds)
def test_a_second_clamp_wins_and_clamping_twice_is_clamping_once(first, second, seed):
    h = stream(seed)
    close(Clamp(V, second)(Clamp(V, first)(h, AT), AT), Clamp(V, second)(h, AT))
    once = Clamp(V, first)(h, AT)
    close(Clamp(V, first)(once, AT), once)
    close(projection(once, V), first[:, None].expand(-1, POSITIONS))


@given(seeds)
def test_an_ablated_stream_has_no_projection_and_keeps_all_that_is_orthogonal(seed):
    h = stream(seed)
    ablated = Ablate(V)(h, AT)
    assert projection(ablated, V).abs().max() < 1e-5
    close(h - ablated, projection(h, V)[..., None] * V[:, None])
    close(Ablate(V)(ablated, AT), ablated)


@given(amounts, amounts, seeds)
def test_additions_commute_and_add_up(first, second, seed):
    h = stream(seed)
    close(Add(V, first)(Add(W, second)(h, AT), AT), Add(W, second)(Add(V, first)(h, AT), AT))
    close(Add(V, first)(Add(V, second)(h, AT), AT), Add(V, first + second)(h, AT))
    close(Add(V, -first)(Add(V, first)(h, AT), AT), h)


def test_ablating_and_adding_do_not_commute_and_the_joint_edit_ablates_first():
    h = stream()
    joint = AblateThenAdd(V, W, AMOUNTS)(h, AT)
    close(joint, Add(W, AMOUNTS)(Ablate(V)(h, AT), AT))
    assert (joint - Ablate(V)(Add(W, AMOUNTS)(h, AT), AT)).abs().max() > 0.1
    close(AblateThenAdd(V, V, AMOUNTS)(h, AT), Clamp(V, AMOUNTS)(h, AT))


@given(seeds)
def test_every_row_is_edited_by_its_own_direction_and_amount(seed):
    h = stream(seed)
    for edit, single in (
        (Add(V, AMOUNTS), lambda row: Add(V[row], AMOUNTS[row])),
        (Ablate(V), lambda row: Ablate(V[row])),
        (Clamp(V, AMOUNTS), lambda row: Clamp(V[row], AMOUNTS[row])),
    ):
        together = edit(h, AT)
        for row in range(BATCH):
            alone = single(slice(row, row + 1))(h[row : row + 1], AT)
            torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-6, atol=1e-6)


def test_one_direction_and_one_amount_serve_all_rows():
    h = stream()
    close(Add(V[:1], AMOUNTS[:1])(h, AT), Add(V[:1].expand(BATCH, -1), AMOUNTS[:1].expand(BATCH))(h, AT))
    close(Ablate(V[:1])(h, AT), Ablate(V[:1].expand(BATCH, -1))(h, AT))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_dtype_stays_and_half_precision_is_rounded_once(dtype):
    h = stream().to(dtype)
    edited = Add(V, AMOUNTS)(h, AT)
    assert edited.dtype == dtype
    torch.testing.assert_close(edited, (h.float() + AMOUNTS[:, None, None] * V[:, None]).to(dtype), rtol=0, atol=0)


def test_tokens_outside_the_mask_are_bit_equal():
    h = stream()
    where = Where(torch.tensor([[False, True, False]] * BATCH), beyond=False)
    edited = Add(V, AMOUNTS, where)(h, AT)
    assert torch.equal(edited[:, [0, 2, 3, 4]], h[:, [0, 2, 3, 4]])
    assert (edited[:, 1] != h[:, 1]).any(dim=-1).all()


def test_a_step_of_length_one_is_a_position_and_not_the_first_token():
    where = Where(torch.tensor([[True, False, True]]), beyond=False)
    for position, expected in enumerate([True, False, True, False, False]):
        assert where(torch.tensor([[position]])).item() is expected
    assert not NOT_FIRST(torch.tensor([[0]])).item()
    assert NOT_FIRST(torch.tensor([[17]])).item()


def test_rows_may_stand_at_different_positions():
    where = Where(torch.tensor([[True, False], [False, True]]))
    assert where(torch.tensor([[0, 1], [1, 2]])).tolist() == [[True, False], [True, True]]
    assert where(torch.tensor([[0, 1]])).tolist() == [[True, False], [False, True]]
