"""The algebra of edits of a residual stream."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from amygdala_tl.directions.erasure import Erasure
from amygdala_tl.errors import InputError
from amygdala_tl.steering.edits import NOT_FIRST, Ablate, Add, Clamp, Erase, Where, mean_norm

BATCH, POSITIONS, WIDTH = 3, 5, 16


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
    close(Ablate(V)(Add(V, amount=values)(h)), Ablate(V)(h))


@given(amounts, amounts, seeds)
def test_a_second_clamp_wins_and_clamping_twice_is_clamping_once(first, second, seed):
    h = stream(seed)
    close(Clamp(V, second)(Clamp(V, first)(h)), Clamp(V, second)(h))
    once = Clamp(V, first)(h)
    close(Clamp(V, first)(once), once)
    close(projection(once, V), first[:, None].expand(-1, POSITIONS))


@given(seeds)
def test_an_ablated_stream_has_no_projection_and_keeps_all_that_is_orthogonal(seed):
    h = stream(seed)
    ablated = Ablate(V)(h)
    assert projection(ablated, V).abs().max() < 1e-5
    close(h - ablated, projection(h, V)[..., None] * V[:, None])
    close(Ablate(V)(ablated), ablated)


@given(amounts, amounts, seeds)
def test_additions_commute_and_add_up(first, second, seed):
    h = stream(seed)
    close(Add(V, amount=first)(Add(W, amount=second)(h)), Add(W, amount=second)(Add(V, amount=first)(h)))
    close(Add(V, amount=first)(Add(V, amount=second)(h)), Add(V, amount=first + second)(h))
    close(Add(V, amount=-first)(Add(V, amount=first)(h)), h)


def test_ablating_and_adding_do_not_commute():
    h = stream()
    ablated_first = Add(W, amount=AMOUNTS)(Ablate(V)(h))
    assert (ablated_first - Ablate(V)(Add(W, amount=AMOUNTS)(h))).abs().max() > 0.1
    close(Add(V, amount=AMOUNTS)(Ablate(V)(h)), Clamp(V, AMOUNTS)(h))


@given(seeds)
def test_every_row_is_edited_by_its_own_direction_and_amount(seed):
    h = stream(seed)
    for edit, single in (
        (Add(V, amount=AMOUNTS), lambda row: Add(V[row], amount=AMOUNTS[row])),
        (Ablate(V), lambda row: Ablate(V[row])),
        (Clamp(V, AMOUNTS), lambda row: Clamp(V[row], AMOUNTS[row])),
    ):
        together = edit(h)
        for row in range(BATCH):
            alone = single(slice(row, row + 1))(h[row : row + 1])
            torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-6, atol=1e-6)


def test_one_direction_and_one_amount_serve_all_rows():
    h = stream()
    close(Add(V[:1], amount=AMOUNTS[:1])(h), Add(V[:1].expand(BATCH, -1), amount=AMOUNTS[:1].expand(BATCH))(h))
    close(Ablate(V[:1])(h), Ablate(V[:1].expand(BATCH, -1))(h))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_dtype_stays_and_half_precision_is_rounded_once(dtype):
    h = stream().to(dtype)
    edited = Add(V, amount=AMOUNTS)(h)
    assert edited.dtype == dtype
    torch.testing.assert_close(edited, (h.float() + AMOUNTS[:, None, None] * V[:, None]).to(dtype), rtol=0, atol=0)


def test_tokens_outside_the_mask_are_bit_equal():
    h = stream()
    where = Where(torch.tensor([[False, True, False]] * BATCH), beyond=False)
    edited = Add(V, amount=AMOUNTS, where=where)(h)
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


def test_a_vector_is_one_direction_for_all_rows():
    h = stream()
    for edit, alone in (
        (Add(V, amount=2.0), Add(V[0], amount=2.0)),
        (Ablate(V), Ablate(V[0])),
        (Clamp(V, 2.0), Clamp(V[0], 2.0)),
    ):
        close(alone(h)[0], edit(h)[0])
    close(Add(V[0], amount=2.0)(h), h + 2 * V[0])


@given(seeds, st.floats(0.01, 100))
def test_a_dose_adds_its_share_of_each_rows_mean_norm_without_the_sink(seed, scale):
    h = stream(seed, scale)
    norms = h[:, 1:].norm(dim=-1).mean(dim=1)
    h[:, 0] *= 1000  # an attention sink
    moved = Add(V, dose=0.3)(h) - h
    torch.testing.assert_close(
        moved[:, 1:].norm(dim=-1), 0.3 * norms[:, None].expand(-1, POSITIONS - 1), rtol=1e-3, atol=1e-4
    )
    torch.testing.assert_close(mean_norm(h), norms)


def test_a_dose_becomes_an_amount_at_a_norm():
    h = stream()
    close(Add(V, dose=0.3).at_norm(5.0)(h), Add(V, amount=1.5)(h))
    close(Add(V, dose=AMOUNTS).at_norm(5.0)(h), Add(V, amount=5 * AMOUNTS)(h))
    assert Add(V, amount=1.5).at_norm(5.0).amount == 1.5


def erasure_of(rows, rank, seed=5):
    """An erasure with a map of its own for each row, or one for all."""
    shape = (rank, WIDTH) if rows is None else (rows, rank, WIDTH)
    return Erasure(unit(*shape, seed=seed), unit(*shape, seed=seed + 1), 3 * unit(WIDTH, seed=seed + 2))


@settings(max_examples=20)
@given(seeds, st.integers(1, 3))
def test_every_row_is_erased_by_its_own_map_as_the_erasure_itself_maps_it(seed, rank):
    h, own = stream(seed), erasure_of(BATCH, rank)
    edited = Erase(own)(h)
    for row in range(BATCH):
        alone = Erasure(own.read[row], own.write[row], own.mean)
        close(edited[row], alone(h[row]))
        close(Erase(alone)(h)[row], edited[row])
        close(Erase(own.rows(slice(row, row + 1)))(h[row : row + 1])[0], edited[row])


@given(seeds)
def test_erasing_along_a_unit_direction_about_zero_is_ablating(seed):
    h = stream(seed)
    close(Erase(Erasure(V[:, None], V[:, None], torch.zeros(WIDTH)))(h), Ablate(V)(h))


def test_an_erasure_leaves_other_tokens_alone_and_keeps_the_dtype():
    h = stream().bfloat16()
    edited = Erase(erasure_of(None, 2), where=NOT_FIRST)(h)
    assert edited.dtype == h.dtype
    assert torch.equal(edited[:, 0], h[:, 0])
    assert (edited[:, 1:] != h[:, 1:]).any(dim=-1).all()


def test_an_erasure_of_another_width_or_number_of_rows_is_refused():
    for erasure, residual in ((erasure_of(None, 1), torch.zeros(3, 5, 8)), (erasure_of(2, 1), stream())):
        with pytest.raises(InputError, match="does not fit"):
            Erase(erasure)(residual)


def test_a_direction_that_does_not_fit_is_refused_with_both_shapes():
    with pytest.raises(InputError, match=r"direction \[16\].*\[3, 5, 8\]"):
        Ablate(V[0])(torch.zeros(3, 5, 8))
    with pytest.raises(InputError, match=r"direction \[3, 16\].*\[2, 16\]"):
        Ablate(V)(torch.zeros(2, 5, 16))


@pytest.mark.parametrize("make", [lambda v: Add(v, amount=1.0), Ablate, lambda v: Clamp(v, 1.0)])
def test_a_direction_of_another_length_is_refused(make):
    with pytest.raises(InputError, match="length 3"):
        make(3 * V[0])
    make(V[0].bfloat16())


def test_an_addition_has_one_size():
    for sizes in ({}, {"dose": 0.1, "amount": 1.0}):
        with pytest.raises(InputError, match="dose or amount"):
            Add(V[0], **sizes)


def test_edits_show_shapes_and_no_numbers_of_tensors():
    assert repr(Add(V[0], dose=0.2)) == "Add(direction [16], dose=0.2)"
    assert repr(Add(V, amount=AMOUNTS)) == "Add(direction [3, 16], amount=[3])"
    assert repr(Ablate(V)) == "Ablate(direction [3, 16])"
    assert repr(Clamp(V, 2)) == "Clamp(direction [3, 16], value=2)"
    assert repr(Erase(erasure_of(BATCH, 2))) == "Erase(rank 2 of 16)"
