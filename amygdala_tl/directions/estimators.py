"""The two ways to call an estimator: on labelled activations of many concepts, or on two bare tensors of one.

    whitened(data)                    -> Estimate, vectors [concept, layer, d_model] of any length
    whitened(positive, negative)      -> unit directions [layer, d_model]

An estimator is written once, as a function of `LabelledActivations`; the decorator `estimator` adds the second way.
"""

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, Protocol, overload, runtime_checkable

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.errors import FitError, InputError


@runtime_checkable
class Estimator(Protocol):
    """Callable that turns activations of two classes into directions."""

    @overload
    def __call__(self, data: LabelledActivations, /, **options: Any) -> Estimate: ...

    @overload
    def __call__(
        self,
        positive: Float[Tensor, "positive *layer d_model"],
        negative: Float[Tensor, "negative *layer d_model"],
        /,
        *,
        paired: bool = False,
        spread: tuple[Tensor, Tensor] | None = None,
        **options: Any,
    ) -> Float[Tensor, "*layer d_model"]: ...


def estimator(fit: Callable[..., Estimate]) -> Estimator:
    """Let an estimator of labelled activations also take two tensors, `positive` and `negative`.

    The tensors are [text, layer, d_model], or [text, d_model] for a single layer. The result has unit length, and positive
    texts score higher on it than negative ones. Options of the estimator are passed on, and two more are understood:

        paired: row i of both tensors is one contrast pair; otherwise every text counts as its own group.
        spread: for `subspace`, the token directions of the positive and of the negative texts,
            each [text, layer, component, d_model].

    With two tensors an estimator raises:
        InputError: the shapes do not fit together.
        FitError: a class is empty, an activation is not finite, or the direction is zero. The message holds the shapes.
    """

    @wraps(fit)
    def either(data: LabelledActivations | Tensor, negative: Tensor | None = None, /, **options: Any) -> Any:
        if isinstance(data, LabelledActivations):
            return fit(data, **options)
        if negative is None:
            remedy = f"call {fit.__name__}(positive, negative), or {fit.__name__}(LabelledActivations(...))"
            got = f"positive {list(data.shape)}"
            raise InputError("the negative texts are missing", label=fit.__name__, got=got, remedy=remedy)
        return _of_tensors(fit, data, negative, **options)

    return either


def check_classes(
    positive: Bool[Tensor, "text concept"], negative: Bool[Tensor, "text concept"], concepts: Sequence[str]
) -> None:
    """Refuse labels in which a concept lacks a class, by a `FitError` that names the concepts."""
    for members, name in ((positive, "positive"), (negative, "negative")):
        empty = [concept for concept, some in zip(concepts, members.any(dim=0).tolist(), strict=True) if not some]
        if empty:
            remedy = "leave these concepts out, or label more texts"
            raise FitError(f"no {name} text", label=", ".join(empty), remedy=remedy)


def unit_directions(
    vectors: Float[Tensor, "concept layer d_model"], concepts: Sequence[str]
) -> Float[Tensor, "concept layer d_model"]:
    """Scale the vectors to length 1, in float32; a `FitError` names the concepts with a vector that is zero or not finite."""
    norms = vectors.norm(dim=-1, keepdim=True)
    usable = (torch.isfinite(norms) & (norms > 0)).all(dim=1)[:, 0].tolist()
    if useless := [concept for concept, fine in zip(concepts, usable, strict=True) if not fine]:
        raise FitError(
            "the direction is zero or not finite",
            label=", ".join(useless),
            remedy="check that positive and negative texts differ, that activations are finite, "
            "and that the penalty is not too strong",
        )
    directions: Tensor = (vectors / norms).float()
    return directions


def _of_tensors(
    fit: Callable[..., Estimate],
    positive: Tensor,
    negative: Tensor,
    *,
    paired: bool = False,
    spread: tuple[Tensor, Tensor] | None = None,
    **options: Any,
) -> Tensor:
    """Label two tensors with one concept, fit it, and bring its direction to unit length."""
    shapes = f"positive {list(positive.shape)}, negative {list(negative.shape)}"
    refused = partial(InputError, label=fit.__name__, got=shapes)
    if positive.ndim not in (2, 3) or positive.shape[1:] != negative.shape[1:]:
        need = "[text, layer, d_model] or [text, d_model], with equal layers and d_model"
        raise refused("the two tensors do not fit together", need=need, remedy="check which axis counts texts")
    if paired and len(positive) != len(negative):
        remedy = "leave paired=True out, or drop the texts without a counterpart"
        raise refused("pairs need as many positive as negative texts", remedy=remedy)
    values = torch.cat([positive, negative])
    if values.ndim == 2:
        values = rearrange(values, "text d_model -> text 1 d_model")
    place = torch.arange(len(values), device=values.device)
    label = rearrange(place < len(positive), "text -> text 1")
    groups = place % len(positive) if paired else place
    data = LabelledActivations(values, label, ~label, groups, spread=None if spread is None else torch.cat(spread))
    try:
        check_classes(label, ~label, [fit.__name__])
        if not torch.isfinite(values).all():
            raise FitError("an activation is not finite", remedy="capture in bfloat16 or float32: float16 overflows")
        direction = unit_directions(fit(data, **options).vectors, [fit.__name__])[0]
    except FitError as error:
        facts = shapes if error.got is None else f"{error.got}; {shapes}"
        raise FitError(error.what, label=fit.__name__, got=facts, need=error.need, remedy=error.remedy) from error
    return direction[0] if positive.ndim == 2 else direction
