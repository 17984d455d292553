"""Projection inside a served model: decoder layers also write their stream's scores into a preallocated buffer.

Each layer runs one custom op that mutates a buffer allocated before the model is compiled or captured. A compiler sees an opaque
node with an effect that it must keep. A CUDA graph records a product between fixed addresses.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from amygdala_tl.vllm.mapping import required_convention, split_output


def project(hidden: Tensor, residual: Tensor | None, vectors: Tensor, scores: Tensor) -> None:
    """Write (hidden + residual) @ vectors^T into the first rows of `scores`.

    Errors are kept for `raise_failures`, because this runs in the model's forward pass and must not stop it.

    Args:
        hidden: [token, d_model].
        residual: [token, d_model], or None if `hidden` is the stream.
        vectors: [concept, d_model] float32.
        scores: [rows, concept] float32, rows >= token.
    """
    try:
        stream = hidden.to(torch.float32)
        if residual is not None:
            stream = stream + residual.to(torch.float32)
        if len(stream) > len(scores):  # `out=` would accept it and write elsewhere
            raise IndexError(f"a step of {len(stream)} tokens, and room for {len(scores)}")
        torch.matmul(stream, vectors.t(), out=scores[: stream.shape[0]])
    except Exception as cause:
        _FAILED.append(cause)


_FAILED: list[Exception] = []


def raise_failures() -> None:
    """Raise the first error of a projection since the last call; the scores of that step are worthless."""
    if _FAILED:
        cause = _FAILED[0]
        _FAILED.clear()
        raise cause


def _project_nothing(hidden: Tensor, residual: Tensor | None, vectors: Tensor, scores: Tensor) -> None:
    """Stand in for `project` while tracing: no output; the schema says what is mutated."""


LIBRARY: Any = torch.library.Library("amygdala_tl", "FRAGMENT")  # type: ignore[no-untyped-call]  # torch has no types here
LIBRARY.define("project" + torch.library.infer_schema(project, mutates_args=("scores",)))
LIBRARY.impl("project", project, "CompositeExplicitAutograd")
torch.library.register_fake("amygdala_tl::project", _project_nothing, lib=LIBRARY)


class Projection:
    """Hooks on the layers of a bundle, and the buffers that they fill.

    Attributes:
        buffers: a [rows, concept] float32 tensor for each layer, in the bundle's order.
    """

    def __init__(self, members: Sequence[nn.Module], indices: Sequence[int], vectors: Tensor, rows: int) -> None:
        """Hook decoder layers.

        Args:
            members: all decoder layers.
            indices: the bundle's layers.
            vectors: [layer, concept, d_model], in the order of `indices`.
            rows: largest number of tokens in a step, padding included.

        Raises:
            ModelError: the convention of a layer's class is unknown.
        """
        conventions = [required_convention(members[index]) for index in indices]
        self.buffers: list[Tensor] = []
        for index, convention, directions in zip(indices, conventions, vectors, strict=True):
            layer = members[index]
            device = next(layer.parameters()).device
            scores = torch.zeros(rows, directions.shape[0], dtype=torch.float32, device=device)
            placed = directions.to(device, torch.float32).contiguous()
            layer.register_buffer("readout_vectors", placed, persistent=False)
            layer.register_buffer("readout_scores", scores, persistent=False)
            layer.register_forward_hook(_HOOKS[convention])
            self.buffers.append(scores)

    def first(self, n_tokens: int) -> Tensor:
        """Copy the scores of the first `n_tokens` rows, [token, layer, concept]."""
        return torch.stack([buffer[:n_tokens] for buffer in self.buffers], dim=1)


def _hook_first(module: nn.Module, inputs: Any, output: Any) -> None:
    _hook_sum(module, inputs, split_output(output)[0])


def _hook_sum(module: nn.Module, _inputs: Any, output: Any) -> None:
    torch.ops.amygdala_tl.project(*split_output(output), module.readout_vectors, module.readout_scores)


_HOOKS = {"sum": _hook_sum, "first": _hook_first, "tensor": _hook_first, "sum-if-not-none": _hook_sum}
