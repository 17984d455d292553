"""Spans of vLLM's traces with the strongest concepts of the answer, as OpenTelemetry attributes.

vLLM starts, fills and ends a request's span in one call when the last token arrives, which may be before its scores do. So the
call waits until the scores are here, and the span keeps the time at which it would have ended.
"""

import functools
import time
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

import numpy as np
import torch

from amygdala_tl.readout.record import Readout
from amygdala_tl.routes.store import Entry
from amygdala_tl.vllm.failures import Failures

CONCEPTS, Z = "amygdala_tl.concepts", "amygdala_tl.z"
"""Attributes of a span: names, strongest first, and the z of each."""

_MOST = 5  # concepts of a span


def strongest(readout: Readout, entry: Entry) -> list[tuple[str, float]]:
    """Return the strongest concepts of an answer with their z, strongest first; none for an answer without scores.

    Args:
        readout: the bundle; concepts that nothing shows to be read are left out.
        entry: the answer. z is that of the mean over its tokens, over all layers, or at the middle one if the readout has no such
            score.

    Raises:
        ReadoutError: the readout has no z of single tokens.
    """
    positions = entry.sampled_from(0, len(entry.output_ids))
    readable = (at for at in positions if at > 0)  # position 0 is an attention sink
    rows = [row for at in readable if (row := entry.rows.get(at)) is not None]
    if not rows:
        return []
    mean = torch.from_numpy(np.mean(rows, axis=0, dtype=np.float32))
    if readout.combined is not None:
        z = readout.combined_z(mean, tokens=len(rows))
    else:
        z = readout.calibrated(mean, of="tokens", tokens=len(rows))[readout.column(readout.middle_layer)]
    unread = readout.verdicts.unread
    found = [pair for pair in zip(readout.concepts, z.tolist(), strict=True) if pair[0] not in unread]
    return sorted(found, key=lambda pair: -pair[1])[:_MOST]


class Traces:
    """Spans that wait for the scores of their answers."""

    def __init__(self, readout: Readout, failures: Failures) -> None:
        """Wait for nothing yet.

        Raises:
            ReadoutError: the readout has no z of single tokens.
        """
        (readout.calibration if readout.combined is None else readout.combined.scale.of)("tokens")
        self._readout, self._failures = readout, failures
        self._write: Callable[..., object] = lambda **_: None
        self._begun: str | None = None
        self._waiting: dict[str, tuple[Context, dict[str, Any]]] = {}

    def install(self, is_open: Callable[[str], bool]) -> None:
        """Hold the spans of this process's engine clients back.

        Args:
            is_open: whether `write` will be called for the sequence of this name.
        """
        from vllm.v1.engine import output_processor

        do_tracing = output_processor.OutputProcessor.do_tracing
        self._write = output_processor.instrument_manual

        @functools.wraps(do_tracing)
        def and_hold(processor: Any, output: Any, state: Any, statistics: Any) -> None:
            self._begun = state.request_id if is_open(state.request_id) else None
            do_tracing(processor, output, state, statistics)

        output_processor.OutputProcessor.do_tracing = and_hold
        output_processor.instrument_manual = self._hold

    def _hold(self, **span: Any) -> None:
        if self._begun is None:
            self._write(**span)
        else:  # the span that is active now may be its parent
            self._waiting[self._begun] = copy_context(), span | {"end_time": time.time_ns()}

    def write(self, entry: Entry) -> None:
        """Write the span of an answer that has all of its scores, or gets no more, if one waits."""
        if (waiting := self._waiting.pop(entry.engine_id, None)) is None:
            return
        context, span = waiting
        with self._failures.noted("answer"):
            if found := strongest(self._readout, entry):
                names, z = zip(*found, strict=True)
                span["attributes"] = {**span["attributes"], CONCEPTS: names, Z: tuple(round(each, 4) for each in z)}
        context.run(self._write, **span)
