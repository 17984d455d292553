"""The residual stream as the decoder layers of a Hugging Face model hand it on: the reference for other engines."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from amygdala_tl.errors import ModelError
from amygdala_tl.records import LayerOutput


def text_decoder(model: PreTrainedModel) -> nn.Module:
    """Return the part of a multimodal model that reads text; any other model itself."""
    multimodal = model.config.get_text_config() is not model.config
    decoder: nn.Module = model.get_decoder() if multimodal else model
    return decoder


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """Return the decoder layers of `model`: its one module list with as many members as the configuration has layers.

    Raises:
        ModelError: no list, or more than one, has that length.
    """
    n_layers = model.config.get_text_config().num_hidden_layers
    modules = text_decoder(model).modules()
    lists = [module for module in modules if isinstance(module, nn.ModuleList) and len(module) == n_layers]
    named = [module for module in lists if all(sum(1 for _ in member.children()) > 1 for member in module)]
    if len(named) != 1:
        kind, got = type(model).__name__, f"{len(named)} lists of {n_layers}"
        raise ModelError("the decoder layers cannot be found", label=kind, got=got, remedy="choose another model")
    return named[0]


def context_of(model: PreTrainedModel) -> int:
    """Return the longest input, in tokens; 2048 where the configuration names none.

    Raises:
        ModelError: what it names is no length.
    """
    length = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2048
    if not isinstance(length, int) or length < 1:
        got, kind = f"max_position_embeddings={length}", type(model).__name__
        raise ModelError("the configuration names no context", label=kind, got=got, remedy="correct its config.json")
    return length


@torch.inference_mode()
def run_decoder_layers(
    model: PreTrainedModel, tokens: Int[Tensor, "text token"]
) -> list[Float[Tensor, "text token d_model"]]:
    """Return the output of every decoder layer, in order.

    It comes from the layers themselves, because the last of Hugging Face's `hidden_states` is after the final norm. The model is
    in evaluation mode, and the tokens have no padding.
    """
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        outputs.append((output if isinstance(output, Tensor) else output[0]).detach().clone())

    handles = [layer.register_forward_hook(keep) for layer in decoder_layers(model)]
    try:
        model(input_ids=tokens.to(model.device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def layer_outputs(model: PreTrainedModel, tokens: Int[Tensor, "text token"]) -> list[LayerOutput]:
    """Return the output of every decoder layer for one text, for `lens.parity`; arguments as in `run_decoder_layers`."""
    streams = [output[0].float().cpu() for output in run_decoder_layers(model, tokens)]
    return [LayerOutput(type(model).__name__, "tensor", {"tensor": stream}) for stream in streams]
