"""Parity: is layer i of one engine layer i of another? Residual streams of fixed tokens in, records out.

`load_model` asks it of the engine that it picks, `verify` of Hugging Face and vLLM.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.records import LayerCheck, LayerOutput

N_TOKENS = 48

TOLERANCES = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
"""Largest relative difference of any token's stream between two correct implementations.

Rounding alone moves resid_post by about 1e-6 of its norm in float32 and by up to 2e-2 in bfloat16; a wrong rotary base, a missing
bias or a wrong norm moves it by more than 0.1. Only float32 proves by number, because neighbouring layers differ by as little as
6e-3. In half precision the tolerance rules out wrong conventions (0.5 to 1.0), and the proof is that no other layer is nearer.
"""


def golden_ids(vocabulary: int, n_tokens: int = N_TOKENS) -> list[int]:
    """Return fixed token ids, spread over the vocabulary.

    Steps of a large prime keep neighbours apart, so attention has something to distinguish. Only the largest power of two that
    fits is used: engines disagree by a few rows on the size of a padded vocabulary.
    """
    size = 1 << (vocabulary.bit_length() - 1)
    return [index * 7919 % (size - 1) + 1 for index in range(1, n_tokens + 1)] if size > 2 else [0] * n_tokens


def relative_difference(ours: Float[Tensor, "*axes d_model"], theirs: Float[Tensor, "*axes d_model"]) -> float:
    """Return the largest |ours - theirs| / |theirs| of any token; infinity where a value is not finite."""
    ours, theirs = ours.float(), theirs.float()
    difference = (ours - theirs).norm(dim=-1) / theirs.norm(dim=-1).clamp_min(torch.finfo(torch.float32).tiny)
    return float(difference.max().nan_to_num(nan=torch.inf, posinf=torch.inf))


def check_layers(
    references: Mapping[int, Float[Tensor, "token d_model"]],
    outputs: Sequence[LayerOutput],
    *,
    engine: str,
    tolerance: float,
    without_mean: bool = False,
) -> list[LayerCheck]:
    """Compare every exported layer with the same layer of an engine.

    Args:
        references: layer as the bundle names it -> the stream that its vectors are of.
        outputs: what each decoder layer of the engine returned, in order.
        engine: name for messages.
        tolerance: largest relative difference that passes.
        without_mean: compare the streams without their mean over d_model, where the reference's weights are centred.
    """
    shown = _Shown(outputs, engine, tolerance, without_mean)
    return [shown.check(layer, shown.prepare(reference)) for layer, reference in references.items()]


class _Shown:
    """An engine's layers, ready to be compared with."""

    def __init__(self, outputs: Sequence[LayerOutput], engine: str, tolerance: float, without_mean: bool) -> None:
        self.outputs = outputs
        self.engine = engine
        self.tolerance = tolerance
        self.without_mean = without_mean

    def prepare(self, stream: Tensor) -> Tensor:
        return without_mean(stream.float()) if self.without_mean else stream.float()

    def difference(self, reference: Tensor, output: LayerOutput, way: str | None) -> float:
        stream = None if way is None else output.streams.get(way)
        if stream is None or stream.shape != reference.shape:
            return torch.inf
        return relative_difference(self.prepare(stream), reference)

    def check(self, layer: int, reference: Tensor) -> LayerCheck:
        if layer >= len(self.outputs):
            return self._failed(layer, torch.inf, f"{self.engine} has {len(self.outputs)} layers and no layer {layer}")
        own = self.outputs[layer]
        if own.way is None:
            return self._unknown(layer, reference, own)
        by_layer = [self.difference(reference, output, output.way) for output in self.outputs]
        nearest = min(range(len(by_layer)), key=by_layer.__getitem__)
        if by_layer[layer] <= self.tolerance and by_layer[layer] <= by_layer[nearest]:
            return LayerCheck(
                engine=self.engine, layer=layer, difference=by_layer[layer], passed=True, finding=""
            )  # fmt: skip
        if by_layer[nearest] <= self.tolerance:
            finding = f"layer {layer} of the bundle matches {self.engine} layer {nearest}"
        elif other := self._fitting(reference, own):
            finding = f"layer {layer}: {own.kind} is read as `{own.way}`, but its stream is `{other}`"
        else:
            finding = (
                f"layer {layer} of the bundle matches no {self.engine} layer "
                f"(nearest is {nearest}, {by_layer[nearest]:.1e} away)"
            )
        return self._failed(layer, by_layer[layer], finding)

    def _unknown(self, layer: int, reference: Tensor, own: LayerOutput) -> LayerCheck:
        """Refuse a layer class without a convention, even where one fits: serving would have to guess it."""
        fitting = self._fitting(reference, own)
        difference = self.difference(reference, own, fitting)
        hint = f"`{fitting}` fits here ({difference:.1e})" if fitting else "none fits"
        return self._failed(
            layer,
            difference,
            f"layer {layer}: {own.kind} is not a known decoder layer, so its output cannot be read; {hint}",
        )

    def _fitting(self, reference: Tensor, own: LayerOutput) -> str | None:
        """Another way of reading the layer's output that gives the reference."""
        others = [way for way in own.streams if way != own.way]
        best = min(others, key=lambda way: self.difference(reference, own, way), default=None)
        return best if self.difference(reference, own, best) <= self.tolerance else None

    def _failed(self, layer: int, difference: float, finding: str) -> LayerCheck:
        return LayerCheck(engine=self.engine, layer=layer, difference=difference, passed=False, finding=finding)


def without_mean(stream: Float[Tensor, "*axes d_model"]) -> Float[Tensor, "*axes d_model"]:
    """Return P h, with P = I - 11^T / d_model: what LayerNorm sees of a stream, and all that centred weights leave of it."""
    return stream - stream.mean(dim=-1, keepdim=True)
