"""The decoder layers of a model of any kind: HookedTransformer, TransformerBridge, a Hugging Face model, or a `Lens`.

Whoever edits or reads a residual stream needs three things: the stream after a layer, the positions of the tokens in it, and
hooks that remove themselves and nothing else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.hugging_face import decoder_layers, run_decoder_layers
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.residuals import on_resid_post, run_resid_post, stacked


@dataclass(frozen=True, slots=True)
class Decoder:
    """A model's decoder layers.

    Attributes:
        blocks: the layers, in order, as modules.
        tokenizer: None where the model brings none.
    """

    model: Any
    blocks: Sequence[nn.Module]
    tokenizer: Any
    d_model: int

    def on_resid_post(self, layer: int, function: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call `function` with the stream after `layer` in every forward pass; a result replaces the stream."""
        if not isinstance(self.model, PreTrainedModel):
            return on_resid_post(self.model, layer, function)

        def after(_block: nn.Module, _inputs: object, output: Any) -> Any:
            alone = isinstance(output, Tensor)
            found = function(output if alone else output[0])
            return found if alone or found is None else (found, *output[1:])

        return self.blocks[layer].register_forward_hook(after)

    def on_positions(self, layer: int, function: Callable[[Int[Tensor, "rows position"]], None]) -> RemovableHandle:
        """Call `function` with the absolute positions of the tokens before `layer` runs, in every forward pass.

        A step of KV-cached generation is one token at the position that its cache gives, not at 0. HookedTransformer hands its
        blocks the cache; Hugging Face's models hand theirs the positions.
        """

        def before(_block: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            stream = inputs[0] if inputs else keywords["hidden_states"]
            positions = keywords.get("position_ids")
            if positions is None:
                cache = keywords.get("past_kv_cache_entry")
                start = 0 if cache is None else cache.past_keys.shape[1]
                positions = torch.arange(start, start + stream.shape[1], device=stream.device)[None]
            function(positions)

        return self.blocks[layer].register_forward_pre_hook(before, with_kwargs=True)

    @torch.no_grad()
    def resid_post(
        self, tokens: Int[Tensor, "text token"], layers: Sequence[int]
    ) -> Float[Tensor, "text token layer d_model"]:
        """The stream after each of `layers`."""
        if not isinstance(self.model, PreTrainedModel):
            return run_resid_post(self.model, tokens, layers)
        streams = run_decoder_layers(self.model, tokens)
        return stacked([streams[layer] for layer in layers])


def decoder_of(model: Any) -> Decoder:
    """The decoder layers of a `Lens`, HookedTransformer, TransformerBridge or Hugging Face decoder model.

    Raises:
        ModelError: it is none of these.
    """
    if isinstance(model, Lens):
        return Decoder(model.model, list(model.model.blocks), model.tokenizer, model.info.d_model)
    if isinstance(model, PreTrainedModel):
        config = model.config.get_text_config()
        return Decoder(model, list(decoder_layers(model)), getattr(model, "tokenizer", None), config.hidden_size)
    if hasattr(model, "hook_dict") and hasattr(model, "blocks"):
        return Decoder(model, list(model.blocks), getattr(model, "tokenizer", None), model.cfg.d_model)
    got, need = type(model).__name__, "HookedTransformer, TransformerBridge or a Hugging Face model"
    raise ModelError("the model is of an unknown kind", got=got, need=need, remedy="pass one of these, or a Lens")
