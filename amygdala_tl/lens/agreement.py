"""The comparison that an engine must pass: its residual stream for the golden tokens against that of the Hugging Face model."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.hugging_face import context_of, run_decoder_layers
from amygdala_tl.lens.identity import golden_layers, golden_tokens
from amygdala_tl.lens.parity import TOLERANCES, outliers, relative_difference, token_differences
from amygdala_tl.lens.residuals import run_resid_post
from amygdala_tl.lens.third_party import library_errors


@dataclass(frozen=True, slots=True)
class Reference:
    """What the Hugging Face model computes for the golden tokens.

    Attributes:
        label: name for messages.
        tokens: [1, token].
        streams: golden layer -> [1, token, d_model].
        allowed: largest difference of another engine, for the model's dtype.
    """

    label: str
    tokens: Int[Tensor, "text token"]
    streams: Mapping[int, Float[Tensor, "text token d_model"]]
    allowed: float

    def difference(self, model: Any) -> float:
        """Return the relative difference of another engine's streams at the worst layer, and warn of tokens it leaves out."""
        with library_errors("the model does not run in TransformerLens", self.label, "choose another model"):
            ours = run_resid_post(model, self.tokens, list(self.streams)).cpu()
        pairs = [(ours[:, :, at], theirs) for at, theirs in enumerate(self.streams.values())]
        found = max(relative_difference(*pair, self.allowed) for pair in pairs)
        apart = torch.stack([token_differences(*pair) for pair in pairs]).amax(dim=0) > self.allowed
        if found <= self.allowed and apart.any():
            warnings.warn(f"{self.label}: {outliers(apart, self.allowed)}.", stacklevel=3)
        return found


def reference_of(hf_model: PreTrainedModel, label: str) -> Reference:
    """Run a Hugging Face model on the golden tokens.

    Raises:
        ModelError: it does not run on token ids, or is not causal: a text's later tokens change its earlier ones, as in BERT.
    """
    tokens = golden_tokens(hf_model.get_input_embeddings().weight.shape[0], context_of(hf_model))
    allowed = TOLERANCES[str(hf_model.dtype).removeprefix("torch.")]

    def run(both: Tensor) -> dict[int, Tensor]:
        outputs = run_decoder_layers(hf_model, both)
        return {layer: outputs[layer].cpu() for layer in golden_layers(len(outputs))}

    return Reference(
        label, tokens, causal_streams(run, tokens, allowed, f"{label} ({type(hf_model).__name__})"), allowed
    )


def causal_streams(
    run: Callable[[Int[Tensor, "text token"]], Mapping[int, Float[Tensor, "text token d_model"]]],
    tokens: Int[Tensor, "text token"],
    allowed: float,
    label: str,
) -> Mapping[int, Float[Tensor, "text token d_model"]]:
    """Return the streams of one text, which must not change where another text begins with the same tokens.

    Args:
        run: token ids -> layer -> stream.
        tokens: [1, token].
        allowed: largest relative difference.
        label: name for messages.

    Raises:
        ModelError: `run` fails, or the streams change.
    """
    half = tokens.shape[1] // 2
    continued_otherwise = torch.cat([tokens[:, :half], tokens[:, half:].roll(1, dims=1)], dim=1)
    need = "a causal language model such as Llama or Qwen"
    with library_errors("the model does not run on token ids", label, f"choose {need}"):
        streams = run(torch.cat([tokens, continued_otherwise]))
    moved = [relative_difference(stream[1:, :half], stream[:1, :half], allowed) for stream in streams.values() if half]
    if max(moved, default=0.0) > allowed:
        message = "the model is not causal: later tokens change earlier ones"
        raise ModelError(message, label=label, need=need, remedy="choose another model")
    return {layer: stream[:1] for layer, stream in streams.items()}
