"""Edits on running models: where they act, that they come off, and that a KV cache changes nothing."""

import contextlib

import pytest
import torch

from amygdala_tl.errors import InputError, ModelError
from amygdala_tl.lens.generation import generate
from amygdala_tl.lens.residuals import run_resid_post
from amygdala_tl.lens.upper import can_start_above, head, run_above
from amygdala_tl.steering.edits import NOT_FIRST, Ablate, Add, Clamp, Where
from amygdala_tl.steering.hooks import intervene
from tests.models import VOCABULARY

TOKENS = torch.randint(3, VOCABULARY, (3, 7), generator=torch.Generator().manual_seed(0))
LAYERS = range(4)


def unit(*shape, seed=1):
    rows = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return rows / rows.norm(dim=-1, keepdim=True)


def hooks_of(model):
    modules = model.model.modules()
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules)


def relative(one, other):
    return float((one - other).norm() / other.norm())


def test_adding_moves_resid_post_by_the_dose_and_leaves_the_layers_below_bit_equal(model):
    plain = run_resid_post(model.model, TOKENS, LAYERS)
    amounts = torch.tensor([0.1, 1.0, -5.0]) * plain[:, :, 2].norm(dim=-1).mean()
    directions = unit(3, 64)
    with intervene(model, {2: [Add(directions, amount=amounts)]}):
        steered = run_resid_post(model.model, TOKENS, LAYERS)
    assert torch.equal(steered[:, :, :2], plain[:, :, :2])
    expected = plain[:, :, 2] + amounts[:, None, None] * directions[:, None]
    assert relative(steered[:, :, 2], expected) < 1e-6
    assert (steered[:, :, 3] != plain[:, :, 3]).any()
    assert torch.equal(run_resid_post(model.model, TOKENS, LAYERS), plain)


def test_several_layers_and_several_edits_of_one_layer_act_together(model):
    one, other = unit(3, 64), unit(1, 64, seed=2)
    values = torch.tensor([1.0, -2.0, 3.0])
    with intervene(model, {3: [Ablate(other)], 1: [Add(one, amount=values), Clamp(one, values)]}):
        steered = run_resid_post(model.model, TOKENS, LAYERS)
    projections = (steered[:, :, 1] * one[:, None]).sum(dim=-1)
    torch.testing.assert_close(projections, values[:, None].expand(-1, 7), rtol=1e-4, atol=1e-4)
    assert (steered[:, :, 3] @ other[0]).abs().max() < 1e-4


def test_only_the_tokens_of_the_mask_move(model):
    where = Where(torch.tensor([[False, True, False, True]]), beyond=False)
    plain = run_resid_post(model.model, TOKENS, [1])
    with intervene(model, {1: [Add(unit(64), amount=3.0, where=where)]}):
        steered = run_resid_post(model.model, TOKENS, [1])
    moved = (steered != plain).any(dim=-1)[..., 0]
    assert moved.tolist() == [[False, True, False, True, False, False, False]] * 3


def test_hooks_are_gone_after_an_exception_and_those_of_others_stay(model):
    seen = []
    foreign = model.model.blocks[1].register_forward_hook(lambda *_: seen.append(1))
    try:
        before = hooks_of(model)
        plain = run_resid_post(model.model, TOKENS, LAYERS)
        edits = {1: [Add(unit(64), amount=3.0)], 2: [Ablate(unit(1, 64))]}
        with contextlib.suppress(ZeroDivisionError), intervene(model, edits):
            assert hooks_of(model) > before
            raise ZeroDivisionError
        assert hooks_of(model) == before
        assert torch.equal(run_resid_post(model.model, TOKENS, LAYERS), plain)
        assert len(seen) == 2
    finally:
        foreign.remove()


def test_hooks_are_gone_if_the_intervention_itself_fails(model):
    def broken(_residual, *, positions):
        raise ZeroDivisionError

    before = hooks_of(model)
    with pytest.raises(ZeroDivisionError), intervene(model, {1: broken}):
        model.model(TOKENS)
    assert hooks_of(model) == before


def test_a_layer_that_the_model_does_not_have_is_refused(model):
    with pytest.raises(ModelError, match="no such layer"), intervene(model, {4: []}):
        pass


def test_a_direction_of_another_width_is_refused(model):
    with pytest.raises(InputError, match=r"layer 1.*\[32\].*\[64\]"), intervene(model, {1: Ablate(unit(32))}):
        pass


@pytest.mark.parametrize("where", [NOT_FIRST, Where(torch.tensor([[False] * 8 + [True, False, True]]), beyond=False)])
def test_generation_with_a_cache_equals_generation_without_one_token_by_token(model, where):
    amounts = torch.tensor([2.0, 20.0, -20.0]) * 5
    edits = {1: [Add(unit(3, 64), amount=amounts, where=where)], 2: [Ablate(unit(3, 64, seed=5), where=where)]}
    noise = torch.distributions.Gumbel(0.0, 1.0).sample((6, 3, VOCABULARY))
    plain = generate(model, TOKENS, 6)
    for how in ({}, {"noise": lambda step, _: noise[step]}):
        with intervene(model, edits):
            cached = generate(model, TOKENS, 6, **how)
            whole = generate(model, TOKENS, 6, cached=False, **how)
        assert torch.equal(cached, whole)
        assert how or not torch.equal(cached, plain)  # the edit does something


def test_what_is_added_at_a_later_step_is_seen_at_that_step_only(model):
    steps = []

    def count(residual, *, positions):
        steps.append(positions.tolist())
        return residual

    with intervene(model, {0: [count]}):
        generate(model, TOKENS[:1], 3)
    assert steps == [[list(range(7))], [[7]], [[8]]]


def test_starting_above_a_layer_equals_the_whole_forward_pass(model):
    if not can_start_above(model):
        pytest.skip("the bridge runs whole passes")
    edit = Add(unit(3, 64), amount=torch.tensor([2.0, -2.0, 9.0]))
    with intervene(model, {1: [edit]}):
        whole = run_resid_post(model.model, TOKENS, [1, 3])
    prefix = run_resid_post(model.model, TOKENS, [1])[:, :, 0]
    above = run_above(model, edit(prefix), 1, [1, 3])
    assert relative(above, whole) < 1e-6


def test_the_head_gives_the_models_own_logits(model):
    own = model.model(TOKENS)
    last = run_resid_post(model.model, TOKENS, [3])[:, :, 0]
    torch.testing.assert_close(head(model, last), own, rtol=1e-4, atol=1e-4)
    some = torch.tensor([5, 77, VOCABULARY - 1])
    torch.testing.assert_close(head(model, last, some), own[..., some], rtol=1e-4, atol=1e-4)
