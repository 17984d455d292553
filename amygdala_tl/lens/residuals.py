"""One forward pass to resid_post at the target layers, stopping above the last of them; and the hook that reads it there.

The hooks are torch's own: each has a handle that removes it and nothing else. TransformerLens's `model.hooks(...)`, and
`run_with_cache` with it, reset all hooks of a model when they end, including those that somebody else put there.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.caches import behind


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """The first tokens of many texts, after one pass.

    Attributes:
        n_tokens: how many they are.
        cache: what the model keeps of them, for a batch of one.
        argument: name of the argument that takes it.
    """

    n_tokens: int
    cache: Any
    argument: str

    def options(self, batch: int, n_tokens: int) -> dict[str, Any]:
        """Return the arguments for a pass of `batch` texts that go on with `n_tokens` more tokens each."""
        rows, cache = torch.zeros(batch, dtype=torch.long), copy.deepcopy(self.cache)
        if hasattr(cache, "reorder_cache"):
            cache.reorder_cache(rows)
        else:  # HookedTransformer's
            for entry in cache.entries:
                entry.past_keys, entry.past_values = entry.past_keys[rows], entry.past_values[rows]
            cache.previous_attention_mask = cache.previous_attention_mask[rows]
        return behind(self.argument, cache, torch.ones(batch, n_tokens, dtype=torch.long))


class _AllRead(Exception):
    """Ends a forward pass whose remaining part nobody reads."""


def on_resid_post(model: Any, layer: int, function: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    """Call `function` with resid_post of `layer` in every forward pass, on either engine; a result replaces the stream.

    Raises:
        ModelError: the model has no such layer.
    """
    if not 0 <= layer < len(model.blocks):
        need = f"0 to {len(model.blocks) - 1}"
        raise ModelError("no such layer", got=layer, need=need, remedy="choose another layer")
    point = model.blocks[layer].hook_resid_post  # the bridge resolves this alias of its own `hook_out`
    handle: RemovableHandle = point.register_forward_hook(lambda _module, _inputs, output: function(output))
    return handle


@torch.no_grad()
def run_resid_post(
    model: Any, tokens: Int[Tensor, "text token"], layers: Sequence[int], *, behind: SharedPrefix | None = None
) -> Float[Tensor, "text token layer d_model"]:
    """Return the residual stream after each of `layers`, in the model's dtype, on the model's first device.

    The model's own hooks fire, and stay. Padding must be on the right: attention is causal, so a pad never reaches the tokens
    before it and no mask is needed. The values at pads mean nothing.

    Args:
        model: HookedTransformer or TransformerBridge.
        tokens: token ids.
        layers: decoder layers, from 0.
        behind: tokens before those of every text, already run; see `share_prefix`.
    """
    device = next(model.parameters()).device
    tokens = tokens.to(device)
    options: dict[str, Any] = {"return_type": None}
    # HookedTransformer masks leading tokens with the padding's id, as BOS often has, behind a tokenizer that pads on the left.
    if getattr(getattr(model, "tokenizer", None), "padding_side", None) == "left":
        options["attention_mask"] = torch.ones_like(tokens)
    if behind is not None:
        options |= behind.options(*tokens.shape)
    return read_streams(model, layers, {}, lambda: model(tokens, **options)).to(device)


def read_streams(
    model: Any, layers: Sequence[int], known: Mapping[int, Tensor], run: Callable[[], object]
) -> Float[Tensor, "text token layer d_model"]:
    """Run, and stack resid_post of `layers` after all edits; streams in `known` are taken as they are.

    The run ends as soon as it has passed the last of the layers. TransformerLens's `stop_at_layer` cannot stop the bridge between
    the model's last layer and the unembedding.
    """
    seen: dict[int, Tensor] = dict(known)
    unknown = set(layers) - set(known)
    with ExitStack() as stack:
        stack.enter_context(suppress(_AllRead))
        for layer in unknown:

            def keep(value: Tensor, layer: int = layer) -> None:
                seen[layer] = value
                if layer == max(layers):
                    raise _AllRead

            stack.callback(on_resid_post(model, layer, keep).remove)
        if unknown:
            run()
    return stacked([seen[layer].to(seen[layers[-1]].device) for layer in layers])


def stacked(streams: Sequence[Float[Tensor, "text token d_model"]]) -> Float[Tensor, "text token layer d_model"]:
    """Stack the streams of several layers."""
    result: Tensor = rearrange(list(streams), "layer text token d_model -> text token layer d_model")
    return result
