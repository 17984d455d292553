"""Chain of denoisers: their names, their order, and the two places in which they act.

    activations, by projection    sink, neutral-pca, topic
    vectors, after estimation     grand-mean

A caller denoises, estimates, and denoises the vectors:

    steps = parse_steps("sink,neutral-pca:0.5,grand-mean")
    denoised, removal, parameters = denoise(data, neutral, steps)
    vectors = denoise_vectors(mean(denoised).vectors, removal, steps)

The vectors are projected like the activations, so a server can score raw activations with them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.denoise.grand_mean import grand_mean
from amygdala_tl.directions.denoise.massive import massive
from amygdala_tl.directions.denoise.neutral_pca import neutral_pca
from amygdala_tl.directions.denoise.removal import Removal, check_share, combine, nothing
from amygdala_tl.directions.denoise.topic import topic
from amygdala_tl.errors import InputError

Denoiser = Callable[[LabelledActivations, Tensor, float], Removal]
"""Labelled activations, activations of neutral texts, share of variance -> subspace to remove."""

DENOISERS: dict[str, Denoiser] = {
    "sink": lambda data, neutral, share: massive(data.activations),
    "neutral-pca": lambda data, neutral, share: neutral_pca(neutral, share),
    "topic": lambda data, neutral, share: topic(
        data.activations, data.groups, data.positive, data.negative, share=share
    ),
}
"""Denoisers of activations by name."""

VECTOR_DENOISERS: Mapping[str, Callable[[Tensor], Tensor]] = {"grand-mean": grand_mean}
"""Denoisers of vectors by name."""

SHARES = {"neutral-pca": 0.5, "topic": 0.5}
"""Default share of variance of the denoisers that take one."""


@dataclass(frozen=True, slots=True)
class DenoiseStep:
    """One denoiser.

    Attributes:
        name: in `DENOISERS` or `VECTOR_DENOISERS`.
        parameter: share of variance, between 0 and 1; None for denoisers without one.
    """

    name: str
    parameter: float | None = None

    def __str__(self) -> str:
        return self.name if self.parameter is None else f"{self.name}:{self.parameter:g}"


def parse_steps(spec: str) -> tuple[DenoiseStep, ...]:
    """Read a comma-separated list of denoisers, such as `sink,neutral-pca:0.3` with a share of variance.

    A blank text has no steps.

    Raises:
        InputError: a name is unknown or repeated, or a share is not a number between 0 and 1; lists the names.
    """
    steps = tuple(_parse_step(part.strip()) for part in spec.split(",")) if spec.strip() else ()
    names = [step.name for step in steps]
    if twice := [name for index, name in enumerate(names) if name in names[:index]]:
        raise InputError("the denoiser is named twice", label=f"denoise={spec}", got=twice[0], remedy="name it once")
    return steps


def denoise(
    data: LabelledActivations, neutral: Float[Tensor, "neutral layer d_model"], steps: Sequence[DenoiseStep]
) -> tuple[LabelledActivations, Removal, list[dict[str, Any]]]:
    """Remove the subspaces that the steps find from the activations.

    Each step is fitted on the data and neutral texts that the steps before it have denoised. Steps that act on vectors are
    skipped.

    Args:
        data: activations and labels.
        neutral: activations of neutral texts; may be empty if no step needs them.
        steps: from `parse_steps`.

    Returns:
        Data with denoised activations; one orthonormal removal of all steps, with `removal.apply(data.activations)` equal to
        those activations; for each step that acts on activations a dict with its name and parameters.

    Raises:
        FitError: a step cannot be fitted.
    """
    removal = nothing(data.activations)
    parameters: list[dict[str, Any]] = []
    left, left_neutral = data, neutral
    for step in steps:
        if step.name in DENOISERS:
            share = SHARES.get(step.name, 0.0) if step.parameter is None else step.parameter
            found = DENOISERS[step.name](left, left_neutral, share)
            parameters.append({"name": step.name, **found.parameters})
            removal = combine([removal, found])
            # Always from the originals: the subspaces of two steps need not be orthogonal.
            left, left_neutral = _without(data, removal), removal.apply(neutral)
    return left, removal, parameters


def denoise_vectors(
    vectors: Float[Tensor, "concept layer d_model"], removal: Removal, steps: Sequence[DenoiseStep]
) -> Float[Tensor, "concept layer d_model"]:
    """Remove the same subspaces from vectors estimated on denoised activations, then apply the steps that act on vectors.

    The results have any length. Their score of a raw activation is their score of the denoised one.

    Raises:
        FitError: a step cannot be applied.
    """
    vectors = removal.apply(vectors)
    for step in steps:
        if step.name in VECTOR_DENOISERS:
            vectors = VECTOR_DENOISERS[step.name](vectors)
    return vectors


def _without(data: LabelledActivations, removal: Removal) -> LabelledActivations:
    spread = data.spread
    if spread is not None:
        rows = removal.apply(rearrange(spread, "text layer component d_model -> (text component) layer d_model"))
        spread = rearrange(rows, "(text component) layer d_model -> text layer component d_model", text=len(spread))
    return replace(data, activations=removal.apply(data.activations), spread=spread)


def _parse_step(text: str) -> DenoiseStep:
    name, colon, number = text.partition(":")
    names = [*DENOISERS, *VECTOR_DENOISERS]
    need = ", ".join(f"{each}[:{SHARES[each]}]" if each in SHARES else each for each in names)
    refused = partial(InputError, label="denoise", got=text, need=need)
    if name not in names:
        raise refused("no such denoiser", remedy="choose from these")
    if colon and name not in SHARES:
        raise refused("the denoiser takes no number", remedy=f"write {name}")
    if not colon:
        return DenoiseStep(name, SHARES.get(name))
    try:
        share = float(number)
        check_share(share)
    except (ValueError, InputError) as error:
        what = "the share of variance is not a number between 0 and 1"
        raise refused(what, remedy=f"write for example {name}:{SHARES[name]}") from error
    return DenoiseStep(name, share)
