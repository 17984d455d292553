"""Parity: is layer i of one engine layer i of another? Residual streams of fixed tokens in, records out.

`load_model` asks it of the engine that it picks, `verify` of Hugging Face and vLLM.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from amygdala_tl.records import LayerCheck, LayerOutput

N_TOKENS = 48

TOLERANCES = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
"""Largest relative difference of a token's stream between two correct implementations.

Rounding alone moves resid_post by about 1e-6 of its norm in float32 and by up to 2e-2 in bfloat16; a wrong rotary base, a missing
bias or a wrong norm moves it by more than 0.1. Only float32 proves by number, because neighbouring layers differ by as little as
6e-3. In half precision the tolerance rules out wrong conventions (0.5 to 1.0), and the proof is that no other layer is nearer.

In float32 every token must agree. In half precision the median token must: rounding there sends a token or two of a mixture of
experts to another expert, which moves their stream as much as a wrong layer would.
"""

_EVERY_TOKEN = 1e-3  # the tolerance up to which every token must agree


def golden_ids(vocabulary: int, n_tokens: int = N_TOKENS) -> list[int]:
    """Return fixed token ids, spread over the vocabulary.

    Steps of a large prime keep neighbours apart, so attention has something to distinguish. Only the largest power of two that
    fits is used: engines disagree by a few rows on the size of a padded vocabulary.
    """
    size = 1 << (vocabulary.bit_length() - 1)
    return [index * 7919 % (size - 1) + 1 for index in range(1, n_tokens + 1)] if size > 2 else [0] * n_tokens


def token_differences(
    ours: Float[Tensor, "*axes d_model"], theirs: Float[Tensor, "*axes d_model"]
) -> Float[Tensor, "*axes"]:
    """Return |ours - theirs| / |theirs| of every token; infinity where a value is not finite."""
    ours, theirs = ours.float(), theirs.float()
    difference = (ours - theirs).norm(dim=-1) / theirs.norm(dim=-1).clamp_min(torch.finfo(torch.float32).tiny)
    finite: Tensor = difference.nan_to_num(nan=torch.inf, posinf=torch.inf)
    return finite


def relative_difference(
    ours: Float[Tensor, "*axes d_model"], theirs: Float[Tensor, "*axes d_model"], tolerance: float
) -> float:
    """Return the difference that counts under `tolerance`: that of the worst token, or of the median one in half precision."""
    differences = token_differences(ours, theirs)
    return float(differences.max() if tolerance <= _EVERY_TOKEN else differences.median())


def outliers(apart: Bool[Tensor, "*axes"], tolerance: float) -> str:
    """Say how many tokens lie beyond the tolerance of a comparison that the median token has passed."""
    counted = f"{int(apart.sum())} of {apart.numel()} tokens differ by more than {tolerance:.0e}"
    return f"{counted}, as rounding makes them in a mixture of experts"


def mean_removed(stream: Float[Tensor, "*axes d_model"]) -> Float[Tensor, "*axes d_model"]:
    """Return P h, with P = I - 11^T / d_model: what LayerNorm sees of a stream, and all that centred weights leave of it."""
    return stream - stream.mean(dim=-1, keepdim=True)


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

    def prepare(stream: Tensor) -> Tensor:
        return mean_removed(stream.float()) if without_mean else stream.float()

    def difference(reference: Tensor, output: LayerOutput, way: str | None) -> float:
        stream = None if way is None else output.streams.get(way)
        if stream is None or stream.shape != reference.shape:
            return torch.inf
        return relative_difference(prepare(stream), prepare(reference), tolerance)

    def left_out(layer: int, reference: Tensor) -> str:
        """Return how many tokens of a layer that passes differ by more than the tolerance; empty if none do."""
        own = outputs[layer]
        apart = token_differences(prepare(own.streams[own.way or ""]), prepare(reference)) > tolerance
        return f"layer {layer} in {engine}: {outliers(apart, tolerance)}" if apart.any() else ""

    def compared(layer: int, reference: Tensor) -> tuple[float, bool, str]:
        """Return the difference from the engine's own layer, whether the layer passes, and the finding."""
        if layer >= len(outputs):
            return torch.inf, False, f"{engine} has {len(outputs)} layers and no layer {layer}"
        own = outputs[layer]
        others = {way: difference(reference, own, way) for way in own.streams if way != own.way}
        fitting = min((way for way in others if others[way] <= tolerance), key=others.__getitem__, default=None)
        if own.way is None:  # refused even where a convention fits: serving would have to guess it
            found = difference(reference, own, fitting)
            hint = f"`{fitting}` fits here ({found:.1e})" if fitting else "none fits"
            refused = f"{own.kind} is not a known decoder layer, so its output cannot be read"
            return found, False, f"layer {layer}: {refused}; {hint}"
        by_layer = [difference(reference, output, output.way) for output in outputs]
        nearest = min(range(len(by_layer)), key=by_layer.__getitem__)
        if by_layer[layer] <= min(tolerance, by_layer[nearest]):
            return by_layer[layer], True, left_out(layer, reference)
        if by_layer[nearest] <= tolerance:
            finding = f"layer {layer} of the bundle matches {engine} layer {nearest}"
        elif fitting:
            finding = f"layer {layer}: {own.kind} is read as `{own.way}`, but its stream is `{fitting}`"
        else:
            apart = f"nearest is {nearest}, {by_layer[nearest]:.1e} away"
            finding = f"layer {layer} of the bundle matches no {engine} layer ({apart})"
        return by_layer[layer], False, finding

    checks = {layer: compared(layer, reference) for layer, reference in references.items()}
    return [LayerCheck(engine, layer, *check) for layer, check in checks.items()]
