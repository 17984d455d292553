"""The two files of a bundle: written atomically, and refused unless they are whole."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from amygdala_tl.errors import InputError, ReadoutError
from amygdala_tl.files import atomic_write_bytes, atomic_write_text, make_folder
from amygdala_tl.readout.manifest import Manifest, manifest_json, read_manifest
from amygdala_tl.readout.rounding import round_keeping_sum

_UNIT_TOLERANCE = 5e-3  # float16 rounds a unit row to within 1e-3 of length 1


def write_bundle(path: str | Path, vectors: Tensor, manifest: Manifest) -> Path:
    """Write the vectors [layer, concept, d_model] to `path`, and the manifest beside it with the ending `.json`.

    The manifest is written last and names the hash of the vectors. A reader sees the old pair, the new pair, or two files that
    it refuses, never a wrong pair that it takes.

    Raises:
        InputError: `path` does not end in `.safetensors`.
        ReadoutError: a vector is not finite or not of unit length.
        StorageError: the disk refused.
    """
    path = vectors_path(path)
    _check_vectors(vectors, manifest.concepts)
    model = manifest.amygdala_tl.model
    centred = model is not None and model.weights == "centred"
    rounded = round_keeping_sum(vectors) if centred else vectors.to(torch.float16)
    tensors = {f"layer_{layer}.vectors": rounded[index].contiguous() for index, layer in enumerate(manifest.layers)}
    names = {"concepts": json.dumps(manifest.concepts), "layers": json.dumps(manifest.layers)}
    data = save(tensors, metadata=names)
    about = replace(manifest.amygdala_tl, tensors_sha256=hashlib.sha256(data).hexdigest())
    make_folder(path.parent)
    atomic_write_bytes(path, data)
    atomic_write_text(path.with_suffix(".json"), manifest_json(replace(manifest, amygdala_tl=about)))
    return path


def read_bundle(path: str | Path, manifest_path: str | Path | None = None) -> tuple[Manifest, Tensor]:
    """Read and check the manifest and the vectors [layer, concept, d_model], float32; raises as `load_readout`."""
    path = vectors_path(path)
    manifest_path = path.with_suffix(".json") if manifest_path is None else Path(manifest_path)
    manifest = read_manifest(_read(manifest_path), str(manifest_path))
    data = _read(path)
    expected, found = manifest.amygdala_tl.tensors_sha256, hashlib.sha256(data).hexdigest()
    if expected is not None and expected != found:
        raise ReadoutError(
            "the vectors are not those the manifest was written for", label=str(path), got=f"sha256 {found[:12]}...",
            need=f"{expected[:12]}...", remedy="copy both files again, or export again",
        )  # fmt: skip
    vectors = _read_vectors(path, data, manifest)
    _check_order(path, data, manifest)
    return manifest, vectors


def vectors_path(path: str | Path) -> Path:
    """Return `path`, which must end in `.safetensors`; raises InputError if not."""
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError("a readout's vectors end in .safetensors", got=str(path), remedy="name the .safetensors file")
    return path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as cause:
        raise ReadoutError("cannot be read", label=str(path), got=cause.strerror, remedy="check the path") from cause


def _read_vectors(path: Path, data: bytes, manifest: Manifest) -> torch.Tensor:
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError) as cause:
        raise ReadoutError("is not a safetensors file", label=str(path), remedy="export the readout again") from cause
    names = [f"layer_{layer}.vectors" for layer in manifest.layers]
    shape = (len(manifest.concepts), manifest.hidden_size)
    if set(tensors) != set(names):
        raise ReadoutError(
            "the layers are not those of the manifest",
            label=str(path),
            got=", ".join(sorted(tensors)),
            need=", ".join(names),
            remedy="export the readout again",
        )
    for name in names:
        if tuple(tensors[name].shape) != shape or tensors[name].dtype != torch.float16:
            raise ReadoutError(
                "a layer's vectors do not fit",
                label=f"{path} {name}",
                got=f"{tuple(tensors[name].shape)} {tensors[name].dtype}",
                need=f"{shape} torch.float16",
                remedy="export the readout again",
            )
    vectors = torch.stack([tensors[name].float() for name in names])
    _check_vectors(vectors, manifest.concepts)
    return vectors


def _check_vectors(vectors: torch.Tensor, concepts: Sequence[str]) -> None:
    """Refuse vectors [layer, concept, d_model] that are not finite and of unit length."""
    off = ~((vectors.norm(dim=-1) - 1.0).abs() <= _UNIT_TOLERANCE).all(dim=0)
    if bool(off.any()):
        raise ReadoutError(
            "a vector is not finite or not of unit length",
            label=", ".join(concept for concept, bad in zip(concepts, off.tolist(), strict=True) if bad),
            remedy="fit these concepts again",
        )


def _check_order(path: Path, data: bytes, manifest: Manifest) -> None:
    """Refuse a manifest whose concepts stand in another order than the rows were written in, where the vectors say it."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    if "concepts" in header and json.loads(header["concepts"]) != manifest.concepts:
        raise ReadoutError(
            "the manifest's concepts are not in the order of the vectors' rows",
            label=str(path.with_suffix(".json")),
            remedy="export the readout again",
        )
