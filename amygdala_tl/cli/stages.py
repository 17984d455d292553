"""Stages of one command: their results on the screen, and their wall time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from amygdala_tl.errors import FitError, ModelError
from amygdala_tl.records import CaptureSummary
from amygdala_tl.report.summaries import capture_line, fit_summary

if TYPE_CHECKING:
    from amygdala_tl.api.train import StageResult

_STAGES = {
    "CaptureSummary": "capture", "ChosenLayers": "layers", "Readout": "fit", "DomainTable": "domains", "Diagnosis": "judge",
    "FitError": "judge",
}  # fmt: skip


class Stages:
    """Seconds of each stage, in order.

    `with stages("read"): ...` times a block. A verb that reports its stages one by one is timed by `begin` and `ended`.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.begin()

    def begin(self) -> None:
        """Start the clock of the next stage."""
        self._since = time.monotonic()

    def ended(self, result: "StageResult") -> None:
        """Add the time since the last stage to the stage that returned `result`."""
        self._add(_STAGES[type(result).__name__], time.monotonic() - self._since)
        self.begin()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self._add(name, time.monotonic() - start)

    def _add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


def show_result(console: Console, result: "StageResult") -> None:
    """Print the result of a stage of `train`."""
    if isinstance(result, CaptureSummary):
        console.print(capture_line(result))
    elif isinstance(result, FitError):
        console.print(f"no verdicts: {result}", style="yellow")
    else:
        from amygdala_tl.api.train import ChosenLayers
        from amygdala_tl.diagnostics.records import DomainTable
        from amygdala_tl.readout.record import Readout
        from amygdala_tl.report.diagnosis import diagnosis_summary
        from amygdala_tl.report.tables import domain_table, layer_table

        if isinstance(result, Readout):
            console.print(fit_summary(result))
        elif isinstance(result, ChosenLayers):
            console.print(layer_table(result.separation, result.layers))
        elif isinstance(result, DomainTable):
            console.print(domain_table(result))
        else:
            console.print(diagnosis_summary(result))


def show_serving(console: Console, vectors: Path, source: str | None) -> None:
    """Print the command that serves a readout with vLLM, if vLLM can read the model from `source`, and the readout."""
    if source is None or source.endswith(".gguf") or vectors.suffix != ".safetensors":
        return
    from amygdala_tl.lens.checkpoints import readable_source
    from amygdala_tl.report.summaries import serving_command

    with suppress(ModelError):  # the embedded model's package is not installed here
        console.print(serving_command(vectors, readable_source(source)), soft_wrap=True)
