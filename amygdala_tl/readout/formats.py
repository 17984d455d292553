"""The files of a readout in each format, by the ending of the first one's name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amygdala_tl.files import Kind
from amygdala_tl.readout import bundle
from amygdala_tl.readout.arrays import array_files, read_arrays
from amygdala_tl.readout.control_vector import CONTROL_VECTOR, read_control_vector

ENDINGS = (".safetensors", ".gguf", ".npy", ".npz")
"""Endings that `load_readout` takes: a bundle, a control vector, and NumPy's arrays."""


def files_of(path: str | Path) -> dict[Path, Kind]:
    """Return the files of a readout at `path` with their kinds.

    Raises:
        InputError: the name has none of `ENDINGS`.
    """
    path = Path(path)
    if path.suffix in (".npy", ".npz"):
        return array_files(path)
    return {path: CONTROL_VECTOR} if path.suffix == ".gguf" else bundle.outputs(path)


def other_directions(path: Path) -> tuple[Mapping[str, Mapping[int, Any]], str] | None:
    """Read a control vector or NumPy arrays: concept -> layer -> vector, and the name of the format. None for a bundle.

    Raises:
        ReadoutError: the file cannot be read, or is damaged.
    """
    if path.suffix == ".gguf":
        return {path.stem: read_control_vector(path)}, "a control vector"
    return (read_arrays(path), "NumPy arrays") if path.suffix in (".npy", ".npz") else None
