"""Runs of the texts that probes are fitted on, with something taken out of them."""

from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor

from amygdala_tl.activations.resumed import ResumedTexts
from amygdala_tl.activations.runner import pool_texts
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.upper import can_start_above
from amygdala_tl.records import CaptureSettings, ReadPosition
from amygdala_tl.steering.edits import Edit
from amygdala_tl.steering.hooks import apply_all, intervene
from amygdala_tl.steering.probing import Run


def runs_of(lens: Lens, texts: Mapping[str, str], position: ReadPosition, settings: CaptureSettings) -> Run:
    """Return what runs some of the texts with edits: only the layers above the lowest edit, where the engine can start there.

    Args:
        lens: the model.
        texts: id -> text.
        position, settings: as for `pool_texts`.
    """
    number = {name: row for row, name in enumerate(texts)}
    resumed = ResumedTexts(lens, list(texts.values()), settings) if can_start_above(lens) else None

    def run(ids: Sequence[str], edits: Mapping[int, Sequence[Edit]], layers: Sequence[int]) -> Tensor:
        if resumed is None:
            with intervene(lens, edits):
                return pool_texts(lens, [texts[name] for name in ids], layers, position, settings)[0]
        lowest = min(edits, default=min(layers))
        resumed.up_to(lowest)
        with intervene(lens, edits):
            start = partial(apply_all, edits.get(lowest, ()))
            return resumed.pool([number[name] for name in ids], layers, position, start)

    return run
