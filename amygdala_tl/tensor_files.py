"""Safetensors files with reproducible bytes.

`safetensors.torch.save` writes the names of the header's metadata in another order each time, so the same tensors get another
hash. The format does not prescribe an order.

Source: safetensors 0.6, whose serialiser keeps the metadata in a Rust HashMap.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def tensor_bytes(tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file of these tensors and this metadata: the same bytes for the same content."""
    from safetensors.torch import save

    data = save(dict(tensors), metadata=dict(metadata))
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:start]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the tensors start at a multiple of 8
    return b"".join((len(header).to_bytes(8, "little"), header, memoryview(data)[start:]))
