"""The unit of a dose: the mean norm of a layer's residual stream over plain texts."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

SINK_RATIO = 10.0
"""A token whose norm exceeds its text's median this many times is an attention sink, and says nothing about the usual norm."""

PLAIN_TEXTS = (
    "The river rises in the hills to the north and flows for about two hundred kilometres before it reaches the sea.",
    "To replace the filter, close the valve, unscrew the housing with the supplied wrench and rinse the inside with water.",
    "The committee meets on the first Tuesday of each month in the town hall. Minutes are kept by the secretary.",
    "Iron is the most common element on Earth by mass, forming much of the outer and inner core of the planet.",
    "The library was built in 1904 of local stone, with a tower added twenty years later to hold the clock.",
    "A function takes one or more arguments and returns a value; if no value is given, it returns nothing.",
)
"""Plain prose without feeling, for the unit of a dose, and to see what steering breaks."""

PLAIN_TOKENS = 24
"""Tokens of a plain text that are kept."""


def plain_tokens(tokenizer: Any) -> tuple[tuple[int, ...], ...]:
    """Return the token ids of the plain texts, cut."""
    return tuple(tuple(tokenizer(text).input_ids[:PLAIN_TOKENS]) for text in PLAIN_TEXTS)


def without_sinks(norms: Tensor) -> Tensor:
    """Return the norms of a text's tokens, [..., token], with NaN for attention sinks."""
    return norms.masked_fill(norms > SINK_RATIO * norms.median(dim=-1, keepdim=True).values, torch.nan)


def dose_units(norms: Sequence[Tensor]) -> list[float]:
    """Return the mean norm of each layer over the plain texts, without each text's first token and other attention sinks.

    Args:
        norms: [layer, token] of every plain text, of all its tokens.
    """
    means = torch.cat([without_sinks(each[:, 1:]) for each in norms], dim=1).double().nanmean(dim=1)
    # Five digits: the last ones depend on which other layers were asked for, and the journal would not find its blocks.
    return [float(f"{mean:.5g}") for mean in means.tolist()]
