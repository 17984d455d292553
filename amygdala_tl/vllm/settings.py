"""Environment variables that switch the plugin on and name the bundle."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from amygdala_tl.errors import InputError
from amygdala_tl.readout.record import Readout, load_readout
from amygdala_tl.routes.rules import Rule, rules_of_text

VECTORS = "VLLM_READOUT_VECTORS"
MANIFEST = "VLLM_READOUT_MANIFEST"
TOLERANCE = "VLLM_READOUT_TOLERANCE"
_REPLACED = "VLLM_READOUT_ANY_MODEL"
KEY = "VLLM_READOUT_KEY"
STREAM_TEXT = "VLLM_READOUT_STREAM_TEXT"
ALERTS = "VLLM_READOUT_ALERTS"
WEBHOOK = "VLLM_READOUT_ALERT_WEBHOOK"
METRICS_CONCEPTS = "VLLM_READOUT_METRICS_CONCEPTS"
STEER = "VLLM_READOUT_STEER"
TRACES = "VLLM_READOUT_TRACES"
SOCKET = "AMYGDALA_TL_READOUT_SOCKET"
"""Address to which engine processes send their rows. A serving process sets it before it starts them, and they inherit it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings from the environment.

    Attributes:
        vectors, manifest: the two files of the bundle.
        tolerance: largest difference of the golden check, in standard deviations of a token's score; None for the usual one.
        key: what clients of the readout routes must know; None for the server's own key, if it has one.
        with_text: let the routes show token ids and text.
        rules: of alerts.
        webhook: address that gets the events of alerts.
        metrics_concepts: names of concepts with metrics of their own.
        steers: let requests edit the residual stream.
        traces: put the strongest concepts into the spans of vLLM's traces.
    """

    vectors: Path
    manifest: Path
    tolerance: float | None = None
    key: str | None = field(default=None, repr=False)
    with_text: bool = False
    rules: tuple[Rule, ...] = ()
    webhook: str | None = field(default=None, repr=False)
    metrics_concepts: tuple[str, ...] = ()
    steers: bool = False
    traces: bool = False

    def load(self) -> Readout:
        """Load the bundle; raises as `load_readout`."""
        return load_readout(self.vectors, self.manifest)


def read_settings(environment: Mapping[str, str] | None = None) -> Settings | None:
    """Read the settings from the environment; None if neither variable is set, so readouts are off.

    Raises:
        InputError: only one of the two is set, the tolerance is not a positive number, no header can carry the key, or an alert
            is not a rule.
    """
    environment = os.environ if environment is None else environment
    vectors, manifest = environment.get(VECTORS), environment.get(MANIFEST)
    if not vectors and not manifest:
        return None
    if not vectors or not manifest:
        missing, present = (MANIFEST, VECTORS) if vectors else (VECTORS, MANIFEST)
        message, remedy = "one of the two readout variables is missing", "set both or neither"
        raise InputError(message, got=present, need=missing, remedy=remedy)
    key = environment.get(KEY)
    if (
        key is not None and re.fullmatch(r"[!-~]+", key) is None
    ):  # one that was not filled in must not leave the routes open
        need, remedy = "printable ASCII without spaces", "set it to a secret, or leave it unset"
        raise InputError("no header can carry the key of the readout routes", label=KEY, need=need, remedy=remedy)
    return Settings(
        Path(vectors),
        Path(manifest),
        tolerance=_tolerance(environment),
        key=key,
        with_text=_is_on(environment.get(STREAM_TEXT)),
        rules=rules_of_text(environment.get(ALERTS, "")),
        webhook=environment.get(WEBHOOK) or None,
        metrics_concepts=tuple(name for name in environment.get(METRICS_CONCEPTS, "").split(",") if name.strip()),
        steers=_is_on(environment.get(STEER)),
        traces=_is_on(environment.get(TRACES)),
    )


def _tolerance(environment: Mapping[str, str]) -> float | None:
    if _is_on(environment.get(_REPLACED)):
        what, remedy = (
            f"{_REPLACED} is no longer known",
            f"set {TOLERANCE} to the difference that you accept, such as 0.5",
        )
        raise InputError(what, remedy=remedy)
    said = environment.get(TOLERANCE)
    if said is None:
        return None
    try:
        tolerance = float(said)
    except ValueError:
        tolerance = math.nan
    if not 0 < tolerance < math.inf:
        need, remedy = "a positive number of standard deviations", "set it to one, such as 0.5, or leave it unset"
        raise InputError("not a tolerance", label=TOLERANCE, got=said, need=need, remedy=remedy)
    return tolerance


def _is_on(value: str | None) -> bool:
    return (value or "0").strip().lower() not in ("0", "false", "no", "off")
