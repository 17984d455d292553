"""Decoder layers of a TransformerBridge that run as Hugging Face's own modules while nobody looks inside them.

The bridge re-implements norms and attention, so that a hook can sit at every step, and computes each step whether or not it has
one. A layer with hooks at its ends only (`hook_resid_pre`, `hook_resid_post`) gives the same stream as the layer it was built
from, with fused attention where that is exact, in about two thirds of the time (docs/performance.md). A hook anywhere inside the
layer brings back the bridge's own computation for as long as it stays.

The same place can start a pass above a layer, which TransformerBridge cannot do: the layers below are skipped.
"""

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from amygdala_tl.lens.hugging_face import decoder_layers


def plain_copy(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy of the modules of `model` that shares its tensors, in evaluation mode."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared).eval()


def fused_attention(model: PreTrainedModel) -> str:
    """Return the attention implementation that is fast and exact: `sdpa`, or `eager` where that leaves something out.

    Scaled dot-product attention knows no soft-capping (Gemma 2), and transformers says of each architecture whether it works.
    """
    capped = getattr(model.config.get_text_config(), "attn_logit_softcapping", None)
    return "sdpa" if getattr(model, "_supports_sdpa", False) and capped is None else "eager"


class PlainBlocks:
    """The layers of `plain` behind those of `bridge`, which must have run once: it adds hooks of its own in its first pass.

    Run it once more before `starting_above`, which gives what the layers gave before, tensors or tuples.
    """

    def __init__(self, bridge: Any, plain: PreTrainedModel) -> None:
        self.model = plain
        self._blocks = list(bridge.blocks)
        self._start: tuple[int, Tensor] | None = None
        self._in_tuples = [False for _ in self._blocks]
        self._mask: tuple[Tensor, bool] | None = None
        self._fused = plain.config._attn_implementation == "sdpa"
        self._restore = [
            restore
            for layer, (block, own) in enumerate(zip(self._blocks, decoder_layers(plain), strict=True))
            for restore in (self._run_plain(block, own), self._let_skip(block, layer))
        ]

    def remove(self) -> None:
        """Let the bridge compute every layer itself again."""
        for restore in self._restore:
            restore()

    @contextmanager
    def starting_above(self, layer: int, residual: Float[Tensor, "batch position d_model"]) -> Iterator[None]:
        """Let passes inside the block start with `residual` as the stream after `layer`; no hook fires up to that layer."""
        self._start = layer, residual
        try:
            yield
        finally:
            self._start = None

    def _run_plain(self, block: Any, plain: nn.Module) -> Callable[[], None]:
        component = block.original_component
        own = component.forward
        ends = (block, block.hook_in, block.hook_out)
        hooked = _more_hooks_than_now([module for module in block.modules() if all(module is not end for end in ends)])

        @functools.wraps(own)
        def forward(*arguments: Any, **options: Any) -> Any:
            if hooked():
                return own(*arguments, **options)
            if self._fused and self._only_causal(options.get("attention_mask")):
                options["attention_mask"] = None  # half the work: fused attention then skips what is masked
            return plain(*arguments, **options)

        component.forward = forward
        return functools.partial(setattr, component, "forward", own)

    def _only_causal(self, mask: Any) -> bool:
        """Return whether a mask, which is the same tensor for all layers of a pass, hides later tokens and nothing else."""
        if not isinstance(mask, Tensor) or mask.ndim != 4 or mask.shape[-2] != mask.shape[-1]:
            return False
        if self._mask is None or self._mask[0] is not mask:
            visible = mask if mask.dtype == torch.bool else mask == 0
            self._mask = mask, torch.equal(visible, torch.ones_like(visible).tril())
        return self._mask[1]

    def _let_skip(self, block: Any, layer: int) -> Callable[[], None]:
        own = block.forward

        @functools.wraps(own)
        def forward(*arguments: Any, **options: Any) -> Any:
            if self._start is None or layer > self._start[0]:
                found = own(*arguments, **options)
                self._in_tuples[layer] = isinstance(found, tuple)
                return found
            stream = arguments[0] if arguments else options["hidden_states"]
            stream = self._start[1] if layer == self._start[0] else stream
            return (stream,) if self._in_tuples[layer] else stream

        block.__dict__["forward"] = forward  # setattr would reach the layer behind it
        return functools.partial(block.__dict__.pop, "forward")


def _more_hooks_than_now(modules: Sequence[nn.Module]) -> Callable[[], bool]:
    """Return a function that says whether any of `modules` has a hook that it does not have now.

    transformers' own do not count: it puts some into every attention module when outputs are first asked for, and leaves them.
    """
    places = [
        hooks
        for module in modules
        for hooks in (
            module._forward_hooks,
            module._forward_pre_hooks,
            module._backward_hooks,
            module._backward_pre_hooks,
        )
    ]
    known = [(hooks, _foreign(hooks)) for hooks in places]
    return lambda: any(len(hooks) > count and _foreign(hooks) > count for hooks, count in known)


def _foreign(hooks: Mapping[int, Any]) -> int:
    """Count hooks that are not transformers' own."""
    return sum(not (getattr(hook, "__module__", None) or "").startswith("transformers.") for hook in hooks.values())
