"""Passes behind a prefix that ran once equal whole passes, on every architecture that can share one."""

import pytest
import torch

from amygdala_tl.lens.model import load_model
from amygdala_tl.lens.parity import TOLERANCES
from amygdala_tl.lens.prefix import share_prefix
from amygdala_tl.lens.residuals import run_resid_post
from tests.lens.test_residuals import ENGINES, KNOWN_TO_HOOKED_TRANSFORMER, worst_relative
from tests.models import TINY, TINY_FOR_VLLM, VOCABULARY

LAYERS = [0, 1, 2, 3]
RECURRENT = {"qwen3_5_text"}
"""Models with layers that sum over a text in chunks, which a prefix shifts: rounding differs by more."""
PREFIX = list(range(100, 120))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model_type", sorted(TINY | TINY_FOR_VLLM))
def test_a_pass_behind_a_shared_prefix_equals_a_whole_pass(model_type, engine, tiny_checkpoint):
    if engine == "HookedTransformer" and model_type not in KNOWN_TO_HOOKED_TRANSFORMER:
        pytest.skip(f"HookedTransformer does not know this {model_type}")
    model = load_model(str(tiny_checkpoint(model_type)), "float32", "cpu", engine=engine).model
    shared = share_prefix(model, PREFIX, LAYERS, model_type)
    assert shared is not None
    for n_tokens in (1, 7, 30):  # the window of some of them is 8
        tokens = torch.randint(3, VOCABULARY, (3, n_tokens), generator=torch.Generator().manual_seed(n_tokens))
        whole = torch.cat([torch.tensor(PREFIX).expand(3, -1), tokens], dim=1)
        expected = run_resid_post(model, whole, LAYERS)[:, len(PREFIX) :]
        for _ in range(2):  # nothing of a pass stays in the prefix
            found = run_resid_post(model, tokens, LAYERS, behind=shared)
            assert worst_relative(found, expected) < (TOLERANCES["float32"] if model_type in RECURRENT else 1e-5)
            pooled = worst_relative(found.mean(dim=1), expected.mean(dim=1))
            assert pooled < (2e-5 if model_type in RECURRENT else 1e-5)


def test_a_bridge_that_computes_attention_itself_shares_a_prefix_too(tiny_checkpoint):
    lens = load_model(str(tiny_checkpoint("llama")), "float32", "cpu", engine="TransformerBridge")
    lens.plain.remove()
    assert share_prefix(lens.model, PREFIX, LAYERS, "llama") is not None


def test_a_model_that_forgets_what_came_before_is_told_and_runs_whole_passes(tiny_checkpoint, monkeypatch):
    from transformers import DynamicCache

    model = load_model(str(tiny_checkpoint("llama")), "float32", "cpu", engine="TransformerBridge").model
    monkeypatch.setattr(DynamicCache, "update", lambda self, keys, values, *_arguments, **_options: (keys, values))
    with pytest.warns(UserWarning, match="llama runs the 20 tokens before every text anew"):
        assert share_prefix(model, PREFIX, LAYERS, "llama") is None
