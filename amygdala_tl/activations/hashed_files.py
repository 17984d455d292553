"""Safetensors files that are named by a hash, so that the same content is the same file, and checked against it when read.

The name holds the hash of the header, and the header those of its tensors: a reader checks what it reads, not the whole file. In
files of earlier versions, the name holds the hash of the whole file. On a local disk, everything is checked once per process:
sha256 costs about as much as reading does.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from amygdala_tl.activations.places import Place, size_of, write
from amygdala_tl.decode import Into, decode
from amygdala_tl.errors import ActivationStoreError
from amygdala_tl.files import Kind, read_file
from amygdala_tl.kinds import safetensors_with
from amygdala_tl.tensor_files import tensor_bytes

REMEDY = "delete it; its activations will be computed again"
_HASHED = Kind("a file of activations", safetensors_with(".*", "layers"))
_LARGEST_HEADER = 100_000_000  # bytes, as in safetensors
_FIRST = 1 << 17  # bytes that one request reads: the header of most shards
_HASHES = "sha256"
_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
T = TypeVar("T")

_checked: set[tuple[str, int, int, str]] = set()  # path, size, time and tensor that were found whole


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a tensor of a file is: its dtype, its shape, and its first and last byte but one."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a file.

    Attributes:
        about: the metadata.
        tensors: name -> where it is; offsets count from the beginning of the file.
        hashes: name -> sha256 of the tensor's bytes; empty in a file of an earlier version.
    """

    about: Mapping[str, str]
    tensors: Mapping[str, Entry]
    hashes: Mapping[str, str]


def write_hashed(folder: Place, kind: str, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> Place:
    """Write `<kind>-<hash>.safetensors` and return its path.

    Raises:
        StorageError: the disk refuses.
    """
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    hashes = {name: hashlib.sha256(_bytes(tensor)).hexdigest() for name, tensor in whole.items()}
    data = tensor_bytes(whole, {**about, _HASHES: json.dumps(hashes, sort_keys=True)})
    head = data[: 8 + int.from_bytes(data[:8], "little")]
    path = folder / f"{kind}-{hashlib.sha256(head).hexdigest()[:32]}.safetensors"
    write(path, data, _HASHED)
    return path


def read_header(path: Place) -> Header:
    """Read the header of a file.

    Raises:
        ActivationStoreError: it does not match the hash in the name, is not a safetensors file, or has been cut short.
    """
    try:
        size = size_of(path)
        head = _range(path, 0, min(size, _FIRST))
        end = 8 + int.from_bytes(head[:8], "little")
        if not 8 < end <= min(size, _LARGEST_HEADER):
            raise damaged(path, f"{size} bytes")
        if end > len(head):
            head += _range(path, len(head), end)
    except OSError as cause:
        raise damaged(path, cause) from cause
    found = decode(
        head[8:end], dict[str, dict[str, object]], label=str(path), remedy=REMEDY, error=ActivationStoreError
    )
    about = _as(path, found.pop("__metadata__", {}), dict[str, str])
    entries = {name: _as(path, entry, Entry) for name, entry in found.items()}
    for name, entry in entries.items():
        start, stop = entry.data_offsets
        wide = _DTYPES[entry.dtype].itemsize if entry.dtype in _DTYPES else 0
        if not 0 <= start <= stop <= size - end or wide * math.prod(entry.shape) != stop - start:
            raise damaged(path, f"{name} of {entry.dtype} {entry.shape} at {entry.data_offsets} of {size} bytes")
    hashes = listed(path, about, _HASHES, dict[str, str]) if _HASHES in about else {}
    if hashes and (hashes.keys() != entries.keys() or hashlib.sha256(head[:end]).hexdigest()[:32] != _said(path)):
        raise damaged(path, "a header with another hash")
    moved = {
        name: Entry(entry.dtype, entry.shape, (entry.data_offsets[0] + end, entry.data_offsets[1] + end))
        for name, entry in entries.items()
    }
    return Header(about, moved, hashes)


def read_tensor(path: Place, name: str, header: Header, part: tuple[slice, ...] = ()) -> Tensor:
    """Read a part of a tensor, after checking it against its hash.

    Raises:
        ActivationStoreError: the file does not match its hash, or cannot be read.
    """
    if name not in header.tensors:
        raise damaged(path, f"no tensor {name}")
    try:
        if isinstance(path, Path):
            _check_local(path, name, header)
            with safe_open(path, framework="pt") as file:
                local: Tensor = file.get_slice(name)[part] if part else file.get_tensor(name)
                return local
        # Other places keep nothing of what has been read, so the whole tensor is read and checked each time.
        start, end = header.tensors[name].data_offsets if header.hashes else (0, size_of(path))
        data = _range(path, start, end)
    except (OSError, SafetensorError) as cause:
        raise damaged(path, cause) from cause
    _compare(path, name, header, hashlib.sha256(data).hexdigest())
    entry = header.tensors[name]
    own = bytearray(data[entry.data_offsets[0] - start : entry.data_offsets[1] - start])
    dtype = _DTYPES[entry.dtype]
    tensor = torch.frombuffer(own, dtype=dtype) if own else torch.empty(0, dtype=dtype)
    return tensor.reshape(entry.shape)[part]


def _check_local(path: Path, name: str, header: Header) -> None:
    """Compare the hash of a tensor's bytes, or of the whole file, unless this process has done so."""
    found = path.stat()
    mark = (str(path), found.st_size, found.st_mtime_ns, name if header.hashes else "")
    if mark in _checked:
        return
    start, end = header.tensors[name].data_offsets if header.hashes else (0, found.st_size)
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        stream.seek(start)
        while start < end and (data := stream.read(min(1 << 20, end - start))):
            digest.update(data)
            start += len(data)
    _compare(path, name, header, digest.hexdigest())
    _checked.add(mark)


def _compare(path: Place, name: str, header: Header, found: str) -> None:
    if (found != header.hashes[name]) if header.hashes else (found[:32] != _said(path)):
        raise damaged(path, f"content with the hash {found[:12]}...")


def _range(path: Place, start: int, end: int) -> bytes:
    if not isinstance(path, Path):
        return path.read_bytes(start, end)
    with path.open("rb") as stream:
        stream.seek(start)
        return stream.read(end - start)


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def _said(path: Place) -> str:
    return path.stem.rpartition("-")[2]


def _as(path: Place, value: object, into: Into[T]) -> T:
    return decode(json.dumps(value), into, label=f"{path}, header", remedy=REMEDY, error=ActivationStoreError)


def listed(path: Place, header: Mapping[str, str], name: str, into: Into[T]) -> T:
    """Decode one entry of a file's header.

    Raises:
        ActivationStoreError: it is missing or malformed.
    """
    label = f"{path}, `{name}` in its header"
    return decode(header.get(name, ""), into, label=label, remedy=REMEDY, error=ActivationStoreError)


def read_json(path: Place, into: Into[T]) -> T:
    """Read and decode a JSON file of a store.

    Raises:
        ActivationStoreError: it cannot be read, or is malformed.
    """
    if isinstance(path, Path):
        data = read_file(path, remedy=REMEDY, error=ActivationStoreError)
    else:
        try:
            data = path.read_bytes()
        except OSError as cause:
            raise damaged(path, cause) from cause
    return decode(data, into, label=str(path), remedy=REMEDY, error=ActivationStoreError)


def damaged(path: Place, got: object) -> ActivationStoreError:
    """Return the error for a damaged file."""
    return ActivationStoreError("is damaged", label=str(path), got=got, remedy=REMEDY)
