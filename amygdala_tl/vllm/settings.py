"""Environment variables that switch the plugin on and name the bundle."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from amygdala_tl.errors import InputError
from amygdala_tl.readout.record import Readout, load_readout

VECTORS = "VLLM_READOUT_VECTORS"
MANIFEST = "VLLM_READOUT_MANIFEST"
ANY_MODEL = "VLLM_READOUT_ANY_MODEL"
SOCKET = "AMYGDALA_TL_READOUT_SOCKET"
"""Address to which engine processes send their rows; the serving process sets it before it starts them."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings from the environment.

    Attributes:
        vectors, manifest: the two files of the bundle.
        any_model: serve a model with other weights than those that the bundle was trained on.
    """

    vectors: Path
    manifest: Path
    any_model: bool

    def load(self) -> Readout:
        """Load the bundle; raises as `load_readout`."""
        return load_readout(self.vectors, self.manifest)


def read_settings(environment: Mapping[str, str] | None = None) -> Settings | None:
    """Read the settings from the environment; None if neither variable is set, so readouts are off.

    Raises:
        InputError: only one of the two is set.
    """
    environment = os.environ if environment is None else environment
    vectors, manifest = environment.get(VECTORS), environment.get(MANIFEST)
    if not vectors and not manifest:
        return None
    if not vectors or not manifest:
        missing, present = (MANIFEST, VECTORS) if vectors else (VECTORS, MANIFEST)
        message, remedy = "one of the two readout variables is missing", "set both or neither"
        raise InputError(message, got=present, need=missing, remedy=remedy)
    return Settings(Path(vectors), Path(manifest), any_model=environment.get(ANY_MODEL, "") not in ("", "0"))
