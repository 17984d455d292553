"""Scores of texts as a table and as a labelled array."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from amygdala_tl.frames import optional
from amygdala_tl.readout.record import Readout

KEYS = ("text", "concept")
"""The first columns of a table of scores."""


def score_columns(
    texts: Sequence[str],
    readout: Readout,
    scores: Float[Tensor, "text layer concept"],
    combined: Float[Tensor, "text concept"] | None,
) -> dict[str, list[object]]:
    """Return the columns of a table with a row for each text and concept.

    They are `text`, `concept`, `combined` if there is a score over all layers, and `layer_<i>` for each layer.
    """
    keys = [(text, concept) for text in texts for concept in readout.concepts]
    numbers = {} if combined is None else {"combined": combined.flatten().tolist()}
    numbers |= {f"layer_{layer}": scores[:, column].flatten().tolist() for column, layer in enumerate(readout.layers)}
    return {name: [key[place] for key in keys] for place, name in enumerate(KEYS)} | numbers


def score_dataset(
    texts: Sequence[str],
    readout: Readout,
    scores: Float[Tensor, "text layer concept"],
    combined: Float[Tensor, "text concept"] | None,
) -> Any:
    """Return an xarray `Dataset` of `score`, and of `combined` over all layers if there is one.

    Raises:
        InputError: xarray is not installed.
    """
    variables: dict[str, Any] = {"score": (("text", "layer", "concept"), scores.numpy(force=True))}
    if combined is not None:
        variables["combined"] = (KEYS, combined.numpy(force=True))
    axes = {"text": list(texts), "layer": list(readout.layers), "concept": list(readout.concepts)}
    return optional("xarray").Dataset(variables, coords=axes)
