"""Safetensors files that are named by the hash of their content, and checked against it when they are read.

The hash is checked once per process and file: sha256 costs about as much as reading does.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from torch import Tensor

from amygdala_tl.decode import Into, decode
from amygdala_tl.errors import ActivationStoreError
from amygdala_tl.files import Kind, atomic_write_bytes, read_file
from amygdala_tl.kinds import safetensors_with
from amygdala_tl.tensor_files import tensor_bytes

REMEDY = "delete it; its activations will be computed again"
_HASHED = Kind("a file of activations", safetensors_with(".*", "layers"))
T = TypeVar("T")

_checked: set[tuple[str, int, int]] = set()  # path, size and time of files that were found whole


def write_hashed(folder: Path, kind: str, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> Path:
    """Write `<kind>-<hash>.safetensors` and return its path.

    Raises:
        StorageError: the disk refuses.
    """
    data = tensor_bytes({name: tensor.contiguous() for name, tensor in tensors.items()}, header)
    path = folder / f"{kind}-{hashlib.sha256(data).hexdigest()[:32]}.safetensors"
    atomic_write_bytes(path, data, _HASHED)
    return path


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a file for its header, without a check of its content.

    Raises:
        ActivationStoreError: it is not a safetensors file, or shorter than its header says.
    """
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as cause:
        raise damaged(path, cause) from cause


def read_tensor(path: Path, name: str) -> Tensor:
    """Read one tensor of a file, after checking the file against the hash in its name.

    Raises:
        ActivationStoreError: the file does not match its hash, or cannot be read.
    """
    try:
        found = path.stat()
        mark = (str(path), found.st_size, found.st_mtime_ns)
        if mark not in _checked:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if digest[:32] != path.stem.rpartition("-")[2]:
                raise damaged(path, f"content with the hash {digest[:12]}...")
            _checked.add(mark)
    except OSError as cause:
        raise damaged(path, cause) from cause
    with opened(path) as file:
        tensor: Tensor = file.get_tensor(name)
    return tensor


def listed(path: Path, header: Mapping[str, str], name: str, into: Into[T]) -> T:
    """Decode one entry of a file's header.

    Raises:
        ActivationStoreError: it is missing or malformed.
    """
    label = f"{path}, `{name}` in its header"
    return decode(header.get(name, ""), into, label=label, remedy=REMEDY, error=ActivationStoreError)


def read_json(path: Path, into: Into[T]) -> T:
    """Read and decode a JSON file of a store.

    Raises:
        ActivationStoreError: it cannot be read, or is malformed.
    """
    data = read_file(path, remedy=REMEDY, error=ActivationStoreError)
    return decode(data, into, label=str(path), remedy=REMEDY, error=ActivationStoreError)


def damaged(path: Path, got: object) -> ActivationStoreError:
    """Return the error for a damaged file."""
    return ActivationStoreError("is damaged", label=str(path), got=got, remedy=REMEDY)
