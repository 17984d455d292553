"""The files of a bundle: written atomically, and refused unless they are whole.

Vectors that write and what erases are in a file of their own, so that nothing changes for those who read the other two.

Reading one imports no torch, so that a command can look at a bundle at once.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from amygdala_tl.decode import decode
from amygdala_tl.errors import InputError, ReadoutError
from amygdala_tl.files import Kind, atomic_write_bytes, atomic_write_text, check_outputs, make_folder, read_file
from amygdala_tl.kinds import json_with, safetensors_with
from amygdala_tl.readout.manifest import WRITE_ENDING, Manifest, WriteFile, manifest_json, read_manifest
from amygdala_tl.tensor_files import tensor_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_LARGEST_MANIFEST = 1 << 28
_LARGEST_HEADER = 1 << 24  # of the safetensors file: names of layers and concepts

_VECTORS = Kind("a readout's vectors", safetensors_with(r"layer_\d+\.vectors"), private=False)
_WRITE = Kind(
    "a readout's write vectors", safetensors_with(r"layer_\d+\.(write|erase_(read|write|mean))"), private=False
)
_MANIFEST = Kind("a readout's manifest", json_with("concepts", "layers", "hidden_size"), private=False)
_UNIT_TOLERANCE = 5e-3  # float16 rounds a unit row to within 1e-3 of length 1
_ERASE = ("erase_read", "erase_write", "erase_mean")
LEAST_COSINE = 1e-4
"""Of the two vectors of an erasure, which divides by it."""

_REMEDY = "export the readout again"
_damaged = partial(ReadoutError, remedy=_REMEDY)


def write_bundle(path: str | Path, vectors: "Tensor", manifest: Manifest, written: "Mapping[str, Tensor]") -> Path:
    """Write the vectors [layer, concept, d_model] to `path`, and the manifest beside it with the ending `.json`.

    What `written` holds, if anything, goes beside them, with the ending `.write.safetensors`: `write`, the write vectors, and
    perhaps the tensors of `Erasing`.

    The manifest is written last and names the hashes of the vectors. A reader sees the old files, the new ones, or files that it
    refuses, never a wrong pair that it takes.

    Raises:
        InputError: `path` does not end in `.safetensors`.
        ReadoutError: a vector is not finite or not of unit length.
        StorageError: another kind of file is in the way, or the disk refused.
    """
    path = vectors_path(path)
    _check_vectors(vectors.numpy(force=True), manifest.concepts)
    data = vectors_bytes({"vectors": vectors}, manifest)
    about = replace(manifest.amygdala_tl, tensors_sha256=hashlib.sha256(data).hexdigest())
    check_outputs(outputs(path))
    make_folder(path.parent)
    if written:
        _check_written({what: tensor.numpy(force=True) for what, tensor in written.items()}, manifest.concepts)
        beside = vectors_bytes(written, manifest)
        about = replace(about, write=WriteFile(hashlib.sha256(beside).hexdigest()))
        atomic_write_bytes(write_path(path), beside, _WRITE)
    atomic_write_bytes(path, data, _VECTORS)
    atomic_write_text(path.with_suffix(".json"), manifest_json(replace(manifest, amygdala_tl=about)), _MANIFEST)
    return path


def vectors_bytes(vectors: "Mapping[str, Tensor]", manifest: Manifest) -> bytes:
    """Return a safetensors file of a bundle with tensors `layer_<i>.<name>`: the same bytes for the same vectors and names."""
    from amygdala_tl.readout.rounding import as_written

    tensors = dict[str, "Tensor"]()
    for what, values in vectors.items():
        kept = values.float() if what == "erase_mean" else as_written(values, manifest.amygdala_tl.model)
        tensors |= {f"layer_{layer}.{what}": kept[index].contiguous() for index, layer in enumerate(manifest.layers)}
    return tensor_bytes(tensors, {"concepts": json.dumps(manifest.concepts), "layers": json.dumps(manifest.layers)})


def read_bundle(
    path: str | Path, manifest_path: str | Path | None = None
) -> "tuple[Manifest, NDArray[np.float32], dict[str, NDArray[np.float32]]]":
    """Read and check the manifest, the vectors [layer, concept, d_model], float32, and what is in the file beside them.

    The last is what `write_bundle` was given, empty if that file is missing. Raises as `load_readout`.
    """
    path = vectors_path(path)
    manifest_path = path.with_suffix(".json") if manifest_path is None else Path(manifest_path)
    manifest = read_manifest(_read(manifest_path, _LARGEST_MANIFEST), str(manifest_path))
    about, written = manifest.amygdala_tl, dict[str, "NDArray[np.float32]"]()
    if about.write is not None and (beside := write_path(path)).exists():
        written = _read_tensors(beside, manifest, ("write",), about.write.sha256, _ERASE)
        _check_written(written, manifest.concepts)
    vectors = _read_tensors(path, manifest, ("vectors",), about.tensors_sha256)["vectors"]
    _check_vectors(vectors, manifest.concepts)
    return manifest, vectors, written


def outputs(path: str | Path) -> dict[Path, Kind]:
    """Return the files of a bundle with their kinds; raises as `vectors_path`."""
    path = vectors_path(path)
    return {path: _VECTORS, write_path(path): _WRITE, path.with_suffix(".json"): _MANIFEST}


def write_path(path: Path) -> Path:
    """Return where the write vectors of the bundle with its vectors at `path` go."""
    return path.with_suffix(WRITE_ENDING)


def vectors_path(path: str | Path) -> Path:
    """Return `path`, which must end in `.safetensors`; raises InputError if not."""
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError("a readout's vectors end in .safetensors", got=str(path), remedy="name the .safetensors file")
    return path


def _read(path: Path, most: int) -> bytes:
    return read_file(path, remedy="check the path", error=ReadoutError, most=most)


def _read_tensors(
    path: Path, manifest: Manifest, what: tuple[str, ...], expected: str | None, more: tuple[str, ...] = ()
) -> "dict[str, NDArray[np.float32]]":
    """Read the tensors `layer_<i>.<name>` of a file with this hash: those of `what`, and all of `more` if it has one of them."""
    n_values = len(manifest.layers) * len(manifest.concepts) * manifest.hidden_size
    data = _read(path, 2 * n_values * len(what + more) + _LARGEST_HEADER)
    found = hashlib.sha256(data).hexdigest()
    if expected is not None and expected != found:
        problem, remedy = (
            "the vectors are not those the manifest was written for",
            "copy all files again, or export again",
        )
        got, need = f"sha256 {found[:12]}...", f"{expected[:12]}..."
        raise ReadoutError(problem, label=str(path), got=got, need=need, remedy=remedy)
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as cause:
        raise _damaged("is not a safetensors file", label=str(path)) from cause
    what += more if any(name.endswith(more) for name in tensors) else ()
    names = {each: [f"layer_{layer}.{each}" for layer in manifest.layers] for each in what}
    if set(tensors) != (needed := {name for each in names.values() for name in each}):
        problem, got = "the layers are not those of the manifest", ", ".join(sorted(tensors))
        raise _damaged(problem, label=str(path), got=got, need=", ".join(sorted(needed)))
    rows, size = len(manifest.concepts), manifest.hidden_size
    for name, tensor in tensors.items():
        need = f"{(size,)} float32" if name.endswith("erase_mean") else f"{(rows, size)} float16"
        if (got := f"{tuple(tensor.shape)} {tensor.dtype}") != need:
            raise _damaged("a layer's vectors do not fit", label=f"{path} {name}", got=got, need=need)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
    label, named = f"{path}, `concepts` in its header", header.get("concepts")
    if named is not None and manifest.concepts != decode(
        named, list[str], label=label, remedy=_REMEDY, error=ReadoutError
    ):
        problem = "the manifest's concepts are not in the order of the vectors' rows"
        raise _damaged(problem, label=str(path.with_suffix(".json")))
    return {each: np.stack([tensors[name].astype(np.float32) for name in names[each]]) for each in what}


def _check_written(written: "Mapping[str, NDArray[np.float32]]", concepts: Sequence[str]) -> None:
    """Refuse write vectors and erasures that are not finite and of unit length, or that divide by next to nothing."""
    for what, values in written.items():
        if what != "erase_mean":
            _check_vectors(values, concepts)
    if "erase_mean" in written:
        cosines = (written["erase_read"] * written["erase_write"]).sum(axis=-1)
        if not (np.isfinite(written["erase_mean"]).all() and (cosines >= LEAST_COSINE).all()):
            raise _damaged("an erasure is not finite", label="erase_mean, or erase_read along erase_write")


def _check_vectors(vectors: "NDArray[np.float32]", concepts: Sequence[str]) -> None:
    """Refuse vectors [layer, concept, d_model] that are not finite and of unit length."""
    with np.errstate(over="ignore"):
        off = ~(np.abs(np.linalg.norm(vectors, axis=-1) - 1.0) <= _UNIT_TOLERANCE).all(axis=0)
    if off.any():
        label = ", ".join(concept for concept, bad in zip(concepts, off.tolist(), strict=True) if bad)
        what = "a vector is not finite or not of unit length"
        raise ReadoutError(what, label=label, remedy="fit these concepts again")
