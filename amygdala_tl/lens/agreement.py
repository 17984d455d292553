"""Does a TransformerLens engine compute the residual stream of the Hugging Face model? Asked at load time, on fixed tokens."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from amygdala_tl.lens.residuals import run_resid_post

# Rounding alone moves resid_post by about 1e-6 (float32) and 2e-2 (bfloat16, deep layers) of its norm; a wrong rotary
# base, a missing bias or a wrong norm moves it by more than 0.1 within a few layers.
_TOLERANCE = {torch.float32: 1e-3, torch.float16: 5e-2, torch.bfloat16: 1e-1}

Streams = dict[int, Float[Tensor, "text token d_model"]]


@torch.inference_mode()
def hugging_face_streams(hf_model: PreTrainedModel) -> Streams:
    """resid_post of a first, middle and last layer but one (the last hidden state is after the final norm), in float32.

    To be called before a bridge is built around `hf_model`, which puts the bridge's own modules into it.
    """
    n_layers = hf_model.config.get_text_config().num_hidden_layers
    hidden = hf_model(
        input_ids=_tokens(hf_model).to(hf_model.device), output_hidden_states=True, use_cache=False
    ).hidden_states
    layers = sorted({0, n_layers // 2, max(0, n_layers - 2)} - {n_layers - 1})
    return {layer: hidden[layer + 1].float().cpu().clone() for layer in layers}


@torch.inference_mode()
def disagreement(model: Any, hf_model: PreTrainedModel, expected: Streams) -> float:
    """Largest relative difference of any token's stream between `model` and `expected`; infinite where not finite.

    Args:
        model: HookedTransformer or TransformerBridge of `hf_model`.
        hf_model: for its vocabulary.
        expected: from `hugging_face_streams`.
    """
    if not expected:
        return 0.0
    ours = run_resid_post(model, _tokens(hf_model), list(expected))
    worst = 0.0
    for index, theirs in enumerate(expected.values()):
        difference = (ours[:, :, index].float().cpu() - theirs).norm(dim=-1) / theirs.norm(dim=-1)
        worst = max(worst, float(difference.max().nan_to_num(nan=torch.inf)))
    return worst


def tolerance(dtype: torch.dtype) -> float:
    """How far two correct implementations may differ, relative, in `dtype`."""
    return _TOLERANCE.get(dtype, 1e-3)


def _tokens(hf_model: PreTrainedModel) -> Tensor:
    vocabulary: int = hf_model.config.get_text_config().vocab_size
    return (torch.arange(1, 17) * 7919 % vocabulary).reshape(1, -1)
