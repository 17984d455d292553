"""Is layer i layer i? A reference's streams against what another engine hands on at every layer; tensors in, records out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.records import LayerCheck
from amygdala_tl.vllm.mapping import CONVENTIONS, Convention, stream

TOLERANCES = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
"""Largest relative difference of any token's stream between two right implementations.

Only float32 proves by number: neighbouring layers differ by as little as 6e-3, and rounding in bfloat16 by as much as 2e-2. In
half precision the tolerance rules out wrong conventions (0.5 to 1.0), and the proof is that no other layer is nearer.
"""


@dataclass(frozen=True, slots=True)
class LayerOutput:
    """What one decoder layer of an engine returned for the golden tokens.

    Attributes:
        hidden, residual: [token, d_model], as `mapping.split_output` gives them.
        kind: `<module>.<class>` of the layer.
        convention: how the table reads it; None for a class that is not in it.
    """

    hidden: Float[Tensor, "token d_model"]
    residual: Float[Tensor, "token d_model"] | None
    kind: str
    convention: Convention | None

    def read(self, convention: Convention | None) -> Float[Tensor, "token d_model"] | None:
        """The stream by `convention`; None where there is none, or the output cannot be read so."""
        return None if convention is None else stream(self.hidden, self.residual, convention)


def relative_difference(ours: Float[Tensor, "token d_model"], theirs: Float[Tensor, "token d_model"]) -> float:
    """Largest over tokens of |ours - theirs| / |theirs|; infinite where anything is not finite."""
    ours, theirs = ours.float(), theirs.float()
    difference = (ours - theirs).norm(dim=-1) / theirs.norm(dim=-1).clamp_min(torch.finfo(torch.float32).tiny)
    return float(difference.max().nan_to_num(nan=torch.inf, posinf=torch.inf))


def check_layers(
    references: Mapping[int, Float[Tensor, "token d_model"]],
    outputs: Sequence[LayerOutput],
    *,
    engine: str,
    tolerance: float,
) -> list[LayerCheck]:
    """One verdict for every exported layer.

    Args:
        references: layer as the bundle names it -> the stream that its vectors are of.
        outputs: what each decoder layer of the engine returned, in order.
        engine: name for messages.
        tolerance: largest relative difference that passes.
    """
    return [_check(layer, reference, outputs, engine, tolerance) for layer, reference in references.items()]


def _check(layer: int, reference: Tensor, outputs: Sequence[LayerOutput], engine: str, tolerance: float) -> LayerCheck:
    if layer >= len(outputs):
        return LayerCheck(
            engine=engine, layer=layer, difference=torch.inf, passed=False,
            finding=f"{engine} has {len(outputs)} layers and no layer {layer}",
        )  # fmt: skip
    own = outputs[layer]
    if own.convention is None:
        return _unknown(layer, reference, own, engine, tolerance)
    by_layer = [_difference(reference, output, output.convention) for output in outputs]
    difference = by_layer[layer]
    nearest = min(range(len(outputs)), key=by_layer.__getitem__)
    passed = difference <= tolerance and difference <= by_layer[nearest]
    finding = "" if passed else _finding(layer, reference, own, engine, tolerance, by_layer[nearest], nearest)
    return LayerCheck(engine=engine, layer=layer, difference=difference, passed=passed, finding=finding)


def _finding(
    layer: int, reference: Tensor, own: LayerOutput, engine: str, tolerance: float, least: float, nearest: int
) -> str:
    """Why the layer fails: another layer, another convention, or neither."""
    if least <= tolerance:
        return f"layer {layer} of the bundle matches {engine} layer {nearest}"
    if other := _fitting(reference, own, tolerance):
        return f"layer {layer}: {own.kind} is read as `{own.convention}`, but its stream is `{other}`"
    return f"layer {layer} of the bundle matches no {engine} layer (nearest is {nearest}, {least:.1e} away)"


def _unknown(layer: int, reference: Tensor, own: LayerOutput, engine: str, tolerance: float) -> LayerCheck:
    """A layer class without a convention is refused, even where one fits: serving would have to guess it."""
    fitting = _fitting(reference, own, tolerance)
    difference = torch.inf if fitting is None else _difference(reference, own, fitting)
    hint = f"`{fitting}` fits here ({difference:.1e})" if fitting else "none fits"
    return LayerCheck(
        engine=engine, layer=layer, difference=difference, passed=False,
        finding=f"layer {layer}: {own.kind} is no known decoder layer, so how its output is read is not known; {hint}",
    )  # fmt: skip


def _fitting(reference: Tensor, own: LayerOutput, tolerance: float) -> Convention | None:
    candidates = [convention for convention in CONVENTIONS if convention != own.convention]
    best = min(candidates, key=lambda convention: _difference(reference, own, convention))
    return best if _difference(reference, own, best) <= tolerance else None


def _difference(reference: Tensor, output: LayerOutput, convention: Convention | None) -> float:
    found = output.read(convention)
    if found is None or found.shape != reference.shape:
        return torch.inf
    return relative_difference(found, reference)
