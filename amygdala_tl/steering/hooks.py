"""Interventions on a running model: on inside a `with` block, off after it, whatever happened in it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from jaxtyping import Int
from torch import Tensor

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.points import on_positions, on_resid_post
from amygdala_tl.steering.interventions import Intervention


@contextmanager
def intervening(loaded: Lens, interventions: Mapping[int, Sequence[Intervention]]) -> Iterator[None]:
    """Edit resid_post of some layers in every forward pass inside the block, KV-cached steps of generation included.

    Interventions of one layer are applied in their order; the layers above see the edited stream. Only the hooks put there are
    removed, also after an exception; hooks of others stay.

    Args:
        loaded: the model, on either engine.
        interventions: decoder layer, from 0 -> what is done there. Their rows are the rows of the batch.

    Raises:
        ModelError: the model has no such layer.
    """
    if outside := [layer for layer in interventions if not 0 <= layer < loaded.info.n_layers]:
        raise ModelError(
            "no such layer", got=outside[0], need=f"0 to {loaded.info.n_layers - 1}", remedy="choose another layer"
        )
    with ExitStack() as stack:
        for layer, edits in interventions.items():
            positions = _Positions()
            stack.callback(on_positions(loaded.model, layer, positions.set).remove)

            def edit(residual: Tensor, edits: Sequence[Intervention] = edits, at: _Positions = positions) -> Tensor:
                return apply_all(edits, residual, at.now)

            stack.callback(on_resid_post(loaded.model, layer, edit).remove)
        yield


def apply_all(
    interventions: Sequence[Intervention], residual: Tensor, positions: Int[Tensor, "rows position"]
) -> Tensor:
    """The stream [batch, position, d_model] after all of them, in their order."""
    for intervention in interventions:
        residual = intervention(residual, positions)
    return residual


class _Positions:
    """Absolute positions of the tokens in the forward pass that is under way."""

    def __init__(self) -> None:
        self.now = torch.zeros(1, 0, dtype=torch.long)

    def set(self, positions: Int[Tensor, "rows position"]) -> None:
        """Called before the layer runs."""
        self.now = positions
