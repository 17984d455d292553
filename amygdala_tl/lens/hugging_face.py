"""What the decoder layers of a Hugging Face model themselves hand on, to compare other engines with."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from amygdala_tl.errors import ModelError


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder layers of `model`: the one module list of as many members as its configuration names layers.

    Raises:
        ModelError: there is none, or more than one outside the first.
    """
    n_layers = model.config.get_text_config().num_hidden_layers
    lists = [
        module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) == n_layers
    ]  # fmt: skip
    named = [module for module in lists if all(sum(1 for _ in member.children()) > 1 for member in module)]
    if len(named) != 1:
        raise ModelError(
            "the decoder layers cannot be found", label=type(model).__name__, got=f"{len(named)} lists of {n_layers}",
            remedy="choose another model",
        )  # fmt: skip
    return named[0]


@torch.inference_mode()
def run_decoder_layers(
    model: PreTrainedModel, tokens: Int[Tensor, "text token"]
) -> list[Float[Tensor, "text token d_model"]]:
    """The output of every decoder layer, in order.

    Taken from the layers: the last of Hugging Face's `hidden_states` is after the final norm.

    Args:
        model: in evaluation mode.
        tokens: token ids, without padding.
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
