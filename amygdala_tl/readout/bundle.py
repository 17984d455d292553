"""Write a bundle atomically; read one and refuse it unless it is whole."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from safetensors import SafetensorError
from safetensors.torch import load, save

from amygdala_tl.errors import InputError, ReadoutError
from amygdala_tl.files import atomic_write_bytes, atomic_write_text, make_folder
from amygdala_tl.readout.contract import manifest_problem
from amygdala_tl.readout.manifest import build_manifest, calibration_of
from amygdala_tl.records import Fit, Readout

_UNIT_TOLERANCE = 5e-3  # float16 rounds a unit row to within 1e-3 of length 1


def export_readout(fit: Fit, path: str | Path) -> tuple[Path, Path]:
    """Write `fit` as a bundle: the vectors to `path`, the manifest beside it with the ending `.json`.

    The manifest is written last and names the hash of the vectors, so that a reader sees the old pair, the new pair, or two
    files that it refuses, never a wrong pair that it takes.

    Args:
        fit: directions with their provenance.
        path: must end in `.safetensors`.

    Returns:
        The paths of the two files.

    Raises:
        InputError: `path` has another ending.
        ReadoutError: a vector is not finite or not of unit length.
        StorageError: the disk refused.
    """
    path = vectors_path(path)
    vectors = rearrange(fit.directions.float(), "concept layer d_model -> layer concept d_model")
    _check_vectors(vectors, fit.concepts)
    tensors = {
        f"layer_{layer}.vectors": vectors[index].to(torch.float16).contiguous()
        for index, layer in enumerate(fit.layers)
    }
    data = save(tensors, metadata={"concepts": json.dumps(list(fit.concepts)), "layers": json.dumps(list(fit.layers))})
    manifest = build_manifest(fit, hashlib.sha256(data).hexdigest())
    manifest_path = path.with_suffix(".json")
    make_folder(path.parent)
    atomic_write_bytes(path, data)
    atomic_write_text(manifest_path, json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return path, manifest_path


def load_readout(path: str | Path, manifest_path: str | Path | None = None) -> Readout:
    """Read the bundle whose vectors are at `path`.

    A bundle with only the four contracted keys is taken too, without calibration.

    Args:
        path: of the vectors.
        manifest_path: of the manifest; beside the vectors, with the ending `.json`, if None.

    Raises:
        ReadoutError: a file is missing or damaged, or hash, shapes, order, length or finiteness do not fit.
        InputError: `path` does not end in `.safetensors`.
    """
    path = vectors_path(path)
    manifest = _read_manifest(path.with_suffix(".json") if manifest_path is None else Path(manifest_path))
    try:
        data = path.read_bytes()
    except OSError as cause:
        raise ReadoutError("cannot be read", label=str(path), got=cause.strerror, remedy="check the path") from cause
    said = manifest.get("amygdala_tl", {})
    expected, found = said.get("tensors_sha256"), hashlib.sha256(data).hexdigest()
    if expected is not None and expected != found:
        raise ReadoutError(
            "the vectors are not those the manifest was written for",
            label=str(path),
            got=f"sha256 {found[:12]}...",
            need=f"{str(expected)[:12]}...",
            remedy="copy both files again, or export again",
        )
    vectors = _read_vectors(path, data, manifest)
    _check_order(path, data, manifest)
    return Readout(
        concepts=tuple(manifest["concepts"]),
        layers=tuple(manifest["layers"]),
        vectors=vectors,
        text_calibration=calibration_of(manifest, "texts"),
        token_calibration=calibration_of(manifest, "tokens"),
        manifest=manifest,
    )


def vectors_path(path: str | Path) -> Path:
    """`path`, if it ends in `.safetensors`.

    Raises:
        InputError: it does not.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError("a readout's vectors end in .safetensors", got=str(path), remedy="name the .safetensors file")
    return path


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as cause:
        raise ReadoutError("cannot be read", label=str(path), got=cause.strerror, remedy="check the path") from cause
    except ValueError as cause:
        raise ReadoutError("is not JSON", label=str(path), got=str(cause), remedy="export the readout again") from cause
    if problem := manifest_problem(manifest):
        raise ReadoutError(problem, label=str(path), remedy="export the readout again")
    return dict(manifest)


def _read_vectors(path: Path, data: bytes, manifest: Mapping[str, Any]) -> torch.Tensor:
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError) as cause:
        raise ReadoutError("is not a safetensors file", label=str(path), remedy="export the readout again") from cause
    names = [f"layer_{layer}.vectors" for layer in manifest["layers"]]
    shape = (len(manifest["concepts"]), manifest["hidden_size"])
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
    _check_vectors(vectors, manifest["concepts"])
    return vectors


def _check_vectors(vectors: torch.Tensor, concepts: tuple[str, ...] | list[str]) -> None:
    """Refuse vectors [layer, concept, d_model] that are not finite and of unit length."""
    off = ~((vectors.norm(dim=-1) - 1.0).abs() <= _UNIT_TOLERANCE).all(dim=0)
    if bool(off.any()):
        raise ReadoutError(
            "a vector is not finite or not of unit length",
            label=", ".join(concept for concept, bad in zip(concepts, off.tolist(), strict=True) if bad),
            remedy="fit these concepts again",
        )


def _check_order(path: Path, data: bytes, manifest: Mapping[str, Any]) -> None:
    """Refuse a manifest whose concepts stand in another order than the rows were written in, where the vectors say it."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    if "concepts" in header and json.loads(header["concepts"]) != manifest["concepts"]:
        raise ReadoutError(
            "the manifest's concepts are not in the order of the vectors' rows",
            label=str(path.with_suffix(".json")),
            remedy="export the readout again",
        )
