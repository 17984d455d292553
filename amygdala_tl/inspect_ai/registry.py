"""What Inspect finds by its entry point: the model provider `readout`, and the scorer `readout_scores`."""

from typing import Any

from inspect_ai.model import modelapi

from amygdala_tl.inspect_ai.scorer import readout_scores

__all__ = ["readout", "readout_scores"]


@modelapi(name="readout")  # type: ignore[untyped-decorator]  # inspect_ai is an extra
def readout() -> type[Any]:
    """Return the provider: `inspect eval TASK --model readout/NAME --model-base-url http://localhost:8010/v1`."""
    from amygdala_tl.inspect_ai.provider import ReadoutAPI

    return ReadoutAPI
