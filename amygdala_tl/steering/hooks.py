"""Edits on a running model: active inside a `with` block, removed after it, whatever happens inside."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from amygdala_tl.errors import InputError, ModelError
from amygdala_tl.lens.decoder import Decoder, decoder_of
from amygdala_tl.steering.edits import Ablate, Add, Clamp, Edit, Erase, mean_norm
from amygdala_tl.steering.norms import mean_norms


@contextmanager
def intervene(model: Any, edits: Mapping[int, Edit | Sequence[Edit]]) -> Iterator[None]:
    """Edit resid_post of some layers in every forward pass inside the block, steps of KV-cached generation included.

        with intervene(model, {14: Add(readout.write_direction("joy", layer=14), dose=0.2)}):
            model.generate(tokens)

    Several edits of one layer apply in their order; the layers above see the edited stream. The block removes the hooks that it
    put there, also after an exception, and no others.

    A `dose` is in units of the layer's mean residual norm. It is measured when the block is entered, on the plain texts that
    `steer` uses, so it means the same as there; that takes six short forward passes. Without a tokenizer, the norm comes from the
    first forward pass inside the block, and holds for the whole block.

    Args:
        model: a `Lens`, HookedTransformer, TransformerBridge or Hugging Face decoder model. A Lens gives exactly the dose of
            `steer`: TransformerLens's own tokenizers may prepend BOS, which moves the norm by about 1%.
        edits: decoder layer, from 0 -> one edit or several. A direction per row needs a batch of as many rows.

    Raises:
        ModelError: the model has no such layer, or is of an unknown kind.
        InputError: a direction's width differs from the model's.
    """
    decoder = decoder_of(model)
    listed = {layer: [some] if callable(some) else list(some) for layer, some in edits.items()}
    _check(decoder, listed)
    dosed = [layer for layer, some in listed.items() if any(map(_has_dose, some))]
    norms = mean_norms(decoder, dosed) if dosed and decoder.tokenizer is not None else {}
    with ExitStack() as stack:
        for layer, some in listed.items():
            running = _Running(some, norms.get(layer))
            stack.callback(decoder.on_positions(layer, running.place).remove)
            stack.callback(decoder.on_resid_post(layer, running.edit).remove)
        yield


def apply_all(edits: Sequence[Edit], residual: Tensor, positions: Int[Tensor, "rows position"]) -> Tensor:
    """The stream [batch, position, d_model] after all edits, in their order."""
    positions = positions.to(residual.device)
    for edit in edits:
        residual = edit(residual, positions=positions)
    return residual


class _Running:
    """The edits of one layer, with the positions of the tokens in the forward pass under way."""

    def __init__(self, edits: Sequence[Edit], norm: float | None) -> None:
        self.edits = _sized(edits, norm)
        self.positions = torch.zeros(1, 0, dtype=torch.long)

    def place(self, positions: Int[Tensor, "rows position"]) -> None:
        """Called before the layer runs."""
        self.positions = positions

    def edit(self, residual: Tensor) -> Tensor:
        """Called with the stream after the layer."""
        if any(map(_has_dose, self.edits)):
            self.edits = _sized(self.edits, float(mean_norm(residual).mean()))
        return apply_all(self.edits, residual, self.positions)


def _sized(edits: Sequence[Edit], norm: float | None) -> Sequence[Edit]:
    """The edits with amounts instead of doses, if the layer's mean norm is known."""
    return edits if norm is None else [edit.at_norm(norm) if isinstance(edit, Add) else edit for edit in edits]


def _has_dose(edit: Edit) -> bool:
    return isinstance(edit, Add) and edit.dose is not None


def _check(decoder: Decoder, edits: Mapping[int, Sequence[Edit]]) -> None:
    n_layers = len(decoder.blocks)
    if outside := [layer for layer in edits if not 0 <= layer < n_layers]:
        raise ModelError("no such layer", got=outside[0], need=f"0 to {n_layers - 1}", remedy="choose another layer")
    for layer, some in edits.items():
        directions = [edit.direction for edit in some if isinstance(edit, Add | Ablate | Clamp)]
        directions += [edit.erasure.read for edit in some if isinstance(edit, Erase)]
        for direction in directions:
            if direction.shape[-1] != decoder.d_model:
                raise InputError(
                    "the direction does not fit the model", label=f"layer {layer}", got=list(direction.shape),
                    need=f"[{decoder.d_model}]", remedy="take a direction of this model",
                )  # fmt: skip
