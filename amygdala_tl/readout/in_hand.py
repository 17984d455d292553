"""Directions that somebody else has computed, as the axes of a readout."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from amygdala_tl.errors import InputError


def stacked(directions: Mapping[str, Mapping[int, Any]]) -> tuple[tuple[str, ...], tuple[int, ...], Tensor]:
    """Return concepts, ascending layers, and unit vectors [layer, concept, d_model] float32.

    Arguments and errors as of `Readout.from_directions`.
    """
    layers = sorted({layer for of in directions.values() for layer in of})
    if not layers:
        raise InputError("no directions were given", need="concept -> layer -> vector", remedy="look at its source")
    if negative := [layer for layer in layers if layer < 0]:
        raise InputError("a layer is negative", got=negative[0], need="a decoder layer, from 0", remedy="count from 0")
    for concept, of in directions.items():
        if set(of) != set(layers):
            what, remedy = "a concept lacks layers of the others", "give all concepts the same layers"
            raise InputError(what, label=concept, got=sorted(of), need=layers, remedy=remedy)
    units = {
        (layer, name): _unit(of[layer], f"{name}, layer {layer}") for name, of in directions.items() for layer in of
    }
    if len(sizes := {len(unit) for unit in units.values()}) > 1:
        raise InputError("the directions differ in size", got=sorted(sizes), remedy="take directions of one model")
    rows = [[units[layer, concept] for concept in directions] for layer in layers]
    return tuple(directions), tuple(layers), torch.stack([torch.stack(row) for row in rows])


def _unit(vector: Any, label: str) -> Tensor:
    """Scale a vector [d_model] to length 1."""
    found = torch.as_tensor(vector).detach().cpu().double()
    if found.ndim != 1 or not found.isfinite().all() or not found.any():
        need, remedy = "a finite vector [d_model] that is not zero", "leave its layer or concept out"
        raise InputError(
            "cannot be used as a direction", label=label, got=f"shape {list(found.shape)}", need=need, remedy=remedy
        )
    unit: Tensor = found / found.norm()
    return unit.float()
