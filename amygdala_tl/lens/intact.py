"""Are the weights of a model those of its checkpoint, all of them, and finite?

transformers fills in random numbers for a tensor that a checkpoint lacks or holds in another shape, and only logs it.
"""

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.hugging_face import text_decoder

_SHOWN = 3
_BUFFERS = re.compile(r"(\.attn(\.attention)?|\.attention)\.(masked_)?bias$|inv_freq$|position_ids$")
"""Names of constants that older versions of transformers saved with the weights."""


def check_complete(model: PreTrainedModel, info: Mapping[str, Any], label: str) -> None:
    """Check a model against transformers' account of how it was loaded, and warn of tensors that it does not use.

    Args:
        model: what `from_pretrained` returned. Only the part that reads text must be complete.
        info: its `output_loading_info`.
        label: name for messages.

    Raises:
        ModelError: the checkpoint lacks tensors of the model, or has them in another shape.
    """
    parts = [part for part in (text_decoder(model), model.get_output_embeddings()) if part is not None]
    used = {id(tensor) for part in parts for tensor in (*part.parameters(), *part.buffers())}
    tensors = (*model.named_parameters(remove_duplicate=False), *model.named_buffers())
    own = {name for name, tensor in tensors if id(tensor) in used and not _BUFFERS.search(name)}
    remedy = "get the checkpoint's files again, or correct its config.json"
    if missing := sorted(own & set(info["missing_keys"])):
        raise ModelError("the checkpoint lacks weights of the model", label=label, got=some(missing), remedy=remedy)
    if changed := sorted((name, *sizes) for name, *sizes in info["mismatched_keys"] if name in own):
        got = some([f"{name} {list(stored)} for {list(built)}" for name, stored, built in changed])
        raise ModelError("weights have other shapes than config.json says", label=label, got=got, remedy=remedy)
    if unused := sorted(name for name in info["unexpected_keys"] if not _BUFFERS.search(name)):
        warnings.warn(f"{label}: the model does not use {some(unused)} of the checkpoint.", stacklevel=2)


@torch.no_grad()
def check_finite(model: nn.Module, label: str) -> None:
    """Check that every weight is a number.

    Raises:
        ModelError: there are NaN or infinite values.
    """
    broken = [name for name, weight in model.named_parameters() if weight.is_floating_point() and not _finite(weight)]
    if broken:
        remedy = "get the checkpoint's files again, or choose another dtype"
        raise ModelError("weights are NaN or infinite", label=label, got=some(broken), remedy=remedy)


def check_vocabulary(embeddings: torch.Tensor, tokenizer: PreTrainedTokenizerBase, label: str) -> None:
    """Check that the tokenizer's own tokens have an embedding; added ones, as for images, may have none.

    Raises:
        ModelError: it has more tokens than the model.
    """
    tokens, rows = tokenizer.vocab_size, len(embeddings)
    if tokens > rows:
        got, remedy = f"{tokens} tokens for {rows} embeddings", "take the one that the model was trained with"
        raise ModelError("the tokenizer is another model's", label=label, got=got, remedy=remedy)


def some(names: Iterable[str]) -> str:
    """Return the first few names, and how many there are."""
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


def _finite(weight: torch.Tensor) -> bool:
    if weight.dtype.itemsize < 2:
        return True  # an 8-bit float, which torch cannot sum
    # The sum is the cheap test. It may overflow where no value does.
    return bool(weight.sum(dtype=torch.float32).isfinite()) or bool(weight.isfinite().all())
