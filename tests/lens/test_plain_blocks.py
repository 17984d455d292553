"""Layers that nobody looks into run as Hugging Face's own, and give what the bridge's own computation gives."""

import pytest
import torch

from amygdala_tl.lens.engines import has_hooked_transformer
from amygdala_tl.lens.hugging_face import decoder_layers
from amygdala_tl.lens.model import load_model
from amygdala_tl.lens.plain_blocks import fused_attention
from amygdala_tl.lens.residuals import run_resid_post
from amygdala_tl.lens.upper import run_above
from tests.lens.test_residuals import worst_relative
from tests.models import TINY, TINY_FOR_VLLM, VOCABULARY, tiny_model

LAYERS = [0, 1, 3]


@pytest.fixture(params=sorted(TINY | TINY_FOR_VLLM))
def loaded(request, tiny_checkpoint):
    return load_model(str(tiny_checkpoint(request.param)), "float32", "cpu", engine="TransformerBridge")


@pytest.fixture
def tokens():
    return torch.randint(3, VOCABULARY, (3, 30), generator=torch.Generator().manual_seed(2))


def count_passes(module):
    """Count the forward passes of a module from now on."""
    passes = []
    module.register_forward_hook(lambda *_: passes.append(1))
    return passes


def test_a_hook_inside_a_layer_brings_back_the_bridges_own_computation_which_agrees(loaded, tokens):
    plain = run_resid_post(loaded.model, tokens, LAYERS)
    seen = []
    inside = [module for module in loaded.model.blocks[1].modules() if hasattr(module, "fwd_hooks")]
    ends = (loaded.model.blocks[1].hook_in, loaded.model.blocks[1].hook_out)
    for point in inside:
        if all(point is not end for end in ends):
            point.add_hook(lambda value, hook: seen.append(hook.name))
    own = run_resid_post(loaded.model, tokens, LAYERS)
    assert seen
    assert worst_relative(own, plain) < 1e-5
    loaded.model.reset_hooks()
    loaded.model.run_with_cache(tokens)  # leaves hooks of transformers' own
    torch.testing.assert_close(run_resid_post(loaded.model, tokens, LAYERS), plain, rtol=0, atol=0)


def test_hooks_at_the_ends_of_a_layer_still_read_and_edit_the_stream(loaded, tokens):
    before = run_resid_post(loaded.model, tokens, LAYERS)
    seen = {}
    with loaded.model.hooks(
        fwd_hooks=[
            ("blocks.1.hook_resid_pre", lambda value, hook: seen.update(pre=value)),
            ("blocks.1.hook_resid_post", lambda value, hook: value + 1.0),
        ]
    ):
        edited = run_resid_post(loaded.model, tokens, LAYERS)
    torch.testing.assert_close(seen["pre"], before[:, :, 0], rtol=0, atol=0)
    torch.testing.assert_close(edited[:, :, 1], before[:, :, 1] + 1.0)
    assert worst_relative(edited[:, :, 2], before[:, :, 2]) > 1e-3


def test_a_pass_that_starts_above_a_layer_equals_a_whole_one(loaded, tokens):
    whole = run_resid_post(loaded.model, tokens, [0, 1, 2, 3])
    above = run_above(loaded, whole[:, :, 1], 1, [1, 2, 3])
    torch.testing.assert_close(above, whole[:, :, 1:], rtol=1e-5, atol=1e-5)


def test_edited_weights_count_in_both_computations(tiny_checkpoint, tokens):
    loaded = load_model(str(tiny_checkpoint("llama")), "float32", "cpu", engine="TransformerBridge")
    before = run_resid_post(loaded.model, tokens, [3])
    with torch.no_grad():
        loaded.model.blocks[1].mlp.out.weight.mul_(2.0)
    plain = run_resid_post(loaded.model, tokens, [3])
    loaded.model.add_hook("blocks.1.attn.hook_pattern", lambda value, hook: None)
    own = run_resid_post(loaded.model, tokens, [3])
    assert worst_relative(plain, before) > 1e-3
    assert worst_relative(own, plain) < 1e-5


def test_soft_capping_keeps_the_attention_that_knows_it():
    assert fused_attention(tiny_model("gemma2")) == "eager"
    assert fused_attention(tiny_model("llama")) == "sdpa"


def test_auto_takes_the_bridge_and_holds_the_weights_once(tiny_checkpoint):
    loaded = load_model(str(tiny_checkpoint("llama")), "float32", "cpu")
    assert loaded.info.engine == "TransformerBridge"
    behind = {parameter.data_ptr() for parameter in loaded.model.parameters()}
    plain = loaded.plain.model
    assert {parameter.data_ptr() for parameter in decoder_layers(plain).parameters()} <= behind


@pytest.mark.skipif(not has_hooked_transformer(), reason="this TransformerLens has no HookedTransformer")
def test_auto_takes_hooked_transformer_where_the_bridge_computes_another_stream(tiny_checkpoint, monkeypatch):
    from transformer_lens.model_bridge.generalized_components.position_embeddings_attention import (
        PositionEmbeddingsAttentionBridge,
    )

    own = PositionEmbeddingsAttentionBridge.forward

    def wrong(self, *arguments, **options):
        output, pattern = own(self, *arguments, **options)
        return 1.1 * output, pattern

    monkeypatch.setattr(PositionEmbeddingsAttentionBridge, "forward", wrong)
    with pytest.warns(UserWarning, match="on TransformerBridge.*using HookedTransformer"):
        loaded = load_model(str(tiny_checkpoint("llama")), "float32", "cpu")
    assert loaded.info.engine == "HookedTransformer"


def test_a_mask_that_hides_more_than_later_tokens_is_kept(tiny_checkpoint, tokens):
    model = load_model(str(tiny_checkpoint("llama")), "float32", "cpu", engine="TransformerBridge").model
    padded = torch.ones_like(tokens)
    padded[1, :7] = 0  # on the left
    seen = {}
    model.blocks[3].hook_resid_post.add_hook(lambda value, hook: seen.setdefault(len(seen), value))
    with torch.no_grad():
        model(tokens, attention_mask=padded, return_type=None)
        model(tokens[1:2, 7:], return_type=None)
    assert worst_relative(seen[0][1, 7:], seen[1][0]) < 1e-5
