"""Directions in NumPy files, as `numpy.save` and `numpy.savez` write them.

    joy.npz    arrays `vectors`, `concepts` and `layers`
    joy.npy    `vectors` alone; `joy.json` beside it holds {"concepts": [...], "layers": [...]}

`vectors` has the axes [layer, concept, d_model], or [concept, d_model] where there is one layer.
"""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from amygdala_tl.decode import convert, decode
from amygdala_tl.errors import ReadoutError
from amygdala_tl.files import LARGEST, Kind, read_file
from amygdala_tl.kinds import json_with
from amygdala_tl.readout.manifest import Index

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REMEDY = "see docs/neighbours.md, Matrices"


@dataclass(frozen=True, slots=True)
class _Axes:
    """What the rows are."""

    concepts: list[str]
    layers: list[Index]


def array_files(path: Path) -> dict[Path, Kind]:
    """Return the files that `read_arrays` reads, with their kinds."""

    def recognises(stream: BinaryIO) -> bool:
        return stream.read(6).startswith((b"\x93NUMPY", b"PK"))

    arrays = Kind("NumPy arrays", recognises)
    axes = {path.with_suffix(".json"): Kind("names of concepts and layers", json_with("concepts", "layers"))}
    return {path: arrays} | (axes if path.suffix == ".npy" else {})


def read_arrays(path: Path) -> "dict[str, dict[int, NDArray[np.float64]]]":
    """Return concept -> layer -> vector [d_model].

    Raises:
        ReadoutError: a file cannot be read, does not say its concepts and layers, or holds other numbers of them.
    """
    data = read_file(path, remedy="check the path", error=ReadoutError)
    if path.suffix == ".npy":
        beside = path.with_suffix(".json")
        names = decode(
            read_file(beside, remedy=_REMEDY, error=ReadoutError), _Axes, label=str(beside), remedy=_REMEDY,
            error=ReadoutError,
        )  # fmt: skip
        (vectors,) = _loaded(path, data)
    else:
        vectors, concepts, layers = _loaded(path, data, "vectors", "concepts", "layers")
        said = {"concepts": concepts.tolist(), "layers": layers.tolist()}
        names = convert(said, _Axes, label=str(path), remedy=_REMEDY, error=ReadoutError)
    sizes = len(set(names.layers)), len(set(names.concepts))
    rows = vectors[None] if vectors.ndim == 2 else vectors
    if rows.ndim != 3 or rows.shape[:2] != sizes or rows.dtype.kind not in "fiu":
        got, need = f"{vectors.dtype} {list(vectors.shape)}", f"numbers [{sizes[0]}, {sizes[1]}, d_model]"
        raise ReadoutError("other vectors than concepts and layers", label=path, got=got, need=need, remedy=_REMEDY)
    return {
        concept: {layer: rows[row, column].astype(np.float64) for row, layer in enumerate(names.layers)}
        for column, concept in enumerate(names.concepts)
    }


def _loaded(path: Path, data: bytes, *names: str) -> "list[NDArray[Any]]":
    """Return the array of a `.npy` file, or these arrays of a `.npz` file."""
    try:
        if not names:
            return [np.load(io.BytesIO(data), allow_pickle=False)]
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            if (size := sum(entry.file_size for entry in packed.infolist())) > LARGEST:
                raise ValueError(f"{size:,} bytes when unpacked")
            return [np.load(io.BytesIO(packed.read(f"{name}.npy")), allow_pickle=False) for name in names]
    except Exception as cause:  # numpy, zipfile and zlib raise a dozen kinds
        need = f"arrays {', '.join(names)}" if names else "one array"
        raise ReadoutError("is not an array file", label=path, got=str(cause), need=need, remedy=_REMEDY) from cause
