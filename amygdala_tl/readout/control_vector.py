"""Control vectors in GGUF files, as llama.cpp and repeng read and write them: one vector a layer, added to the residual stream.

    general.architecture        controlvector
    controlvector.model_hint    the model's architecture, for people: llama
    controlvector.layer_count   number of vectors
    direction.<i>               float32 [d_model]

llama.cpp adds `direction.<i>` to the output of decoder layer i, counted from 0 as everywhere here: `layer_<i>` of a bundle. It
has no place for a vector of layer 0 and refuses a file with one.

Sources: the GGUF specification, version 3; `common_control_vector_load`, `llama_adapter_cvec` and the calls of `build_cvec` in
llama.cpp; `ControlVector.export_gguf` of repeng 0.4.
"""

import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from amygdala_tl.errors import ReadoutError
from amygdala_tl.files import Kind, read_file
from amygdala_tl.kinds import gguf_with

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONTROL_VECTOR = Kind("a control vector", gguf_with("controlvector"), private=False)

_ALIGNMENT = 32
_STRING, _UINT32, _ARRAY = 8, 4, 9
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Type of a value in the header -> format of `struct`."""

_FLOAT32 = 0
"""Type of a tensor; llama.cpp takes no other one here."""


def control_vector_bytes(vectors: "Mapping[int, NDArray[np.float32]]", model_hint: str) -> bytes:
    """Return the file of some vectors, layer -> [d_model]: the same bytes for the same vectors and name."""
    head = [
        struct.pack("<4sIQQ", b"GGUF", 3, len(vectors), 3),
        _string("general.architecture") + struct.pack("<I", _STRING) + _string("controlvector"),
        _string("controlvector.model_hint") + struct.pack("<I", _STRING) + _string(model_hint),
        _string("controlvector.layer_count") + struct.pack("<II", _UINT32, len(vectors)),
    ]
    data = b""
    for layer, vector in sorted(vectors.items()):
        shape = struct.pack("<IQIQ", 1, len(vector), _FLOAT32, len(data))
        head.append(_string(f"direction.{layer}") + shape)
        data += _padded(vector.astype("<f4").tobytes())
    return _padded(b"".join(head)) + data


def read_control_vector(path: str | Path) -> "dict[int, NDArray[np.float32]]":
    """Read the vectors of a file: layer -> [d_model], in the order of the layers, without those that are all zero.

    Raises:
        ReadoutError: the file cannot be read, or it does not hold finite float32 vectors of one length.
    """
    data = read_file(path, remedy="check the path", error=ReadoutError)
    try:
        vectors = _vectors(data)
        if len({vector.shape for vector in vectors.values()}) != 1:
            raise ValueError("no vectors of one length")
        if not all(np.isfinite(vector).all() for vector in vectors.values()):
            raise ValueError("a vector that is not finite")
        return {layer: vector for layer, vector in sorted(vectors.items()) if vector.any()}
    except (ValueError, struct.error) as cause:
        need = "a GGUF file with float32 tensors direction.<layer>"
        remedy = "export it again from llama.cpp or repeng"
        raise ReadoutError("is not a control vector", label=path, got=str(cause), need=need, remedy=remedy) from cause


def _vectors(data: bytes) -> "dict[int, NDArray[np.float32]]":
    reader = _Reader(data)
    magic, version, n_tensors, n_values = reader.numbers("4sIQQ")
    if magic != b"GGUF" or version not in (2, 3):
        raise ValueError(f"{magic!r} of version {version}")
    values = {reader.string(): reader.value() for _ in reader.times(n_values)}
    if values.get("general.architecture") != "controlvector":
        raise ValueError(f"architecture {values.get('general.architecture')}")
    places = {}
    for _ in reader.times(n_tensors):
        name, (n_axes,) = reader.string(), reader.numbers("I")
        shape = tuple(reader.numbers("Q")[0] for _ in reader.times(n_axes))
        kind, offset = reader.numbers("IQ")
        if found := re.fullmatch(r"direction\.([0-9]{1,6})", name):
            if kind != _FLOAT32 or len(shape) != 1 or int(found[1]) in places:
                raise ValueError(f"{name} of type {kind} and shape {shape}")
            places[int(found[1])] = offset, shape[0]
    alignment = values.get("general.alignment", _ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        raise ValueError(f"alignment {alignment}")
    start = -(-reader.at // alignment) * alignment
    vectors = {}
    for layer, (offset, length) in places.items():
        if not 0 < start + offset + 4 * length <= len(data) or not length:
            raise ValueError(f"direction.{layer} that ends after the file")
        vectors[layer] = np.frombuffer(data, "<f4", length, start + offset).astype(np.float32)
    return vectors


class _Reader:
    """The header of a GGUF file, read in its order. It raises ValueError or struct.error where the file does not go on."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def numbers(self, what: str) -> tuple[Any, ...]:
        """Read numbers in a format of `struct`."""
        found = struct.unpack_from(f"<{what}", self.data, self.at)
        self.at += struct.calcsize(f"<{what}")
        return found

    def string(self) -> str:
        """Read a string."""
        (size,) = self.numbers("Q")
        return self._next(size).decode()

    def value(self) -> Any:
        """Read a value after its type; an array is skipped and given as None."""
        (kind,) = self.numbers("I")
        if kind != _ARRAY:
            return self._one(kind)
        of, length = self.numbers("IQ")
        if of in _NUMBERS:
            self._next(length * struct.calcsize(f"<{_NUMBERS[of]}"))
        else:
            for _ in self.times(length):
                self._one(of)
        return None

    def times(self, number: int) -> range:
        """Return a range of this many; each takes at least a byte."""
        if number > len(self.data) - self.at:
            raise ValueError(f"{number} entries")
        return range(number)

    def _next(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise ValueError("a value that ends after the file")
        self.at += size
        return self.data[self.at - size : self.at]

    def _one(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind not in _NUMBERS:
            raise ValueError(f"a value of type {kind}")
        return self.numbers(_NUMBERS[kind])[0]


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _ALIGNMENT)
