"""How existing files are recognised, so that an output replaces its own kind only.

CORPUS_HEAD = Kind("the head of a corpus", json_with("format", "sha256", "concepts"))
"""

import re
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import msgspec

_MOST = 64 << 20  # bytes of a JSON document that are read
_HEAD = 64 << 10  # bytes of another file


def json_with(*keys: str, lines: bool = False) -> Callable[[BinaryIO], bool]:
    """Recognise a JSON object with at least these keys, or JSON lines whose first has them."""

    def recognises(stream: BinaryIO) -> bool:
        return set(keys) <= set(_json(stream.readline(_MOST) if lines else stream.read(_MOST)))

    return recognises


def text_with(*patterns: str) -> Callable[[BinaryIO], bool]:
    """Recognise a text by regular expressions that all match in its beginning; `^` and `$` match at every line."""
    compiled = [re.compile(pattern.encode(), re.MULTILINE) for pattern in patterns]

    def recognises(stream: BinaryIO) -> bool:
        head = stream.read(_HEAD)
        return all(pattern.search(head) for pattern in compiled)

    return recognises


def safetensors_with(tensor: str, *names: str) -> Callable[[BinaryIO], bool]:
    """Recognise a safetensors file whose tensors all match a regular expression, with these names among its metadata."""

    def recognises(stream: BinaryIO) -> bool:
        size = int.from_bytes(stream.read(8), "little")
        header = _json(stream.read(size)) if size <= _MOST else {}
        about = _json(header.pop("__metadata__", b"{}"))
        return bool(header) and set(names) <= set(about) and all(re.fullmatch(tensor, name) for name in header)

    return recognises


def gguf_with(architecture: str) -> Callable[[BinaryIO], bool]:
    """Recognise a GGUF file of this architecture, which the header says first."""

    def recognises(stream: BinaryIO) -> bool:
        head, key = stream.read(_HEAD), b"general.architecture"
        said = struct.pack(f"<{len(key)}sIQ", key, 8, len(architecture)) + architecture.encode()
        return head.startswith(b"GGUF") and said in head

    return recognises


def parquet_with(*columns: str) -> Callable[[BinaryIO], bool]:
    """Recognise a Parquet file with at least these columns, which its end names."""

    def recognises(stream: BinaryIO) -> bool:
        if stream.read(4) != b"PAR1":
            return False
        stream.seek(max(0, stream.seek(0, 2) - _HEAD))
        tail = stream.read(_HEAD)
        return tail.endswith(b"PAR1") and all(name.encode() in tail for name in columns)

    return recognises


def _json(data: Any) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        return {}
