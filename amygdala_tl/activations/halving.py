"""Batches that do not fit into memory, run as halves."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.third_party import out_of_memory

Result = TypeVar("Result")


def run_halving(
    batches: Iterable[list[int]], lengths: Sequence[int], run: Callable[[list[int]], Result]
) -> Iterator[Result]:
    """Yield `run(batch)` of every batch; one that does not fit into memory runs in halves, and later ones are no larger.

    Args:
        batches: positions among the texts.
        lengths: tokens of each text; a batch is as large as its number of texts times its longest one.
        run: called again with part of a batch.

    Raises:
        ModelError: a single text does not fit.
    """
    most = None
    for batch in batches:
        waiting = [batch]
        while waiting:
            part = waiting.pop()
            size = len(part) * max(lengths[index] for index in part)
            if most is None or size <= most or len(part) == 1:
                result = _tried(run, part, size)
                if result is not None:
                    yield result[0]
                    continue
                most = size // 2
            half = (len(part) + 1) // 2
            waiting += [part[half:], part[:half]]


def _tried(run: Callable[[list[int]], Result], part: list[int], size: int) -> tuple[Result] | None:
    """Return what `run` returns; None where memory lacks for more than one text."""
    try:
        return (run(part),)
    except Exception as error:
        if not out_of_memory(error):
            raise
        if len(part) == 1:
            remedy = "lower `max_tokens`, choose a half-precision `dtype`, or free some memory"
            raise ModelError("a text does not fit into memory", got=f"{size} tokens", remedy=remedy) from error
    # The error is gone by now, and with it its frames, which hold tensors.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None
