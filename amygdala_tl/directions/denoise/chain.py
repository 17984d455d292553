"""`--denoise`: the names of the denoisers, their order, and the two places where they act.

    activations, by projection    sink, neutral-pca, topic
    vectors, after estimation     grand-mean

A caller denoises, estimates, and denoises the vectors:

    steps = parse_steps("sink,neutral-pca:0.5,grand-mean")
    denoised, removal, parameters = denoise(data, neutral, steps)
    vectors = denoise_vectors(mean(denoised).vectors, removal, steps)

The vectors are projected like the activations, so that a server scores activations that nobody denoised.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
"""Labelled activations, activations of neutral texts, share of variance -> the subspace to remove."""

DENOISERS: Mapping[str, Denoiser] = {
    "sink": lambda data, neutral, share: massive(data.activations),
    "neutral-pca": lambda data, neutral, share: neutral_pca(neutral, share),
    "topic": lambda data, neutral, share: topic(data, share),
}
"""`--denoise` name -> denoiser of activations."""

VECTOR_DENOISERS: Mapping[str, Callable[[Tensor], Tensor]] = {"grand-mean": grand_mean}
"""`--denoise` name -> denoiser of vectors."""

SHARES = {"neutral-pca": 0.5, "topic": 0.5}
"""Denoisers that take a share of variance, and the one they take if none is given."""


@dataclass(frozen=True, slots=True)
class DenoiseStep:
    """One denoiser.

    Attributes:
        name: as on the command line.
        parameter: the share of variance, between 0 and 1; None for denoisers without one.
    """

    name: str
    parameter: float | None = None

    def __str__(self) -> str:
        return self.name if self.parameter is None else f"{self.name}:{self.parameter:g}"


def parse_steps(spec: str) -> tuple[DenoiseStep, ...]:
    """Steps of a `--denoise` argument: names with commas between, `neutral-pca:0.3` where one takes a share of variance.

    A blank argument has no steps.

    Raises:
        InputError: a name is unknown or comes twice, or a share is no number between 0 and 1; lists the names.
    """
    steps = tuple(_parse_step(part.strip()) for part in spec.split(",")) if spec.strip() else ()
    for index, step in enumerate(steps):
        if step.name in {other.name for other in steps[:index]}:
            raise InputError(
                "the denoiser is named twice", label=f"--denoise {spec}", got=step.name, remedy="name it once"
            )
    return steps


def denoise(
    data: LabelledActivations, neutral: Float[Tensor, "neutral layer d_model"], steps: Sequence[DenoiseStep]
) -> tuple[LabelledActivations, Removal, list[dict[str, Any]]]:
    """The data without what the steps remove, the removal itself, and what each step chose.

    Each step is fitted on what the ones before it left, of the data and of the neutral texts. Steps that act on vectors are
    passed over.

    Args:
        data: activations and labels.
        neutral: activations of neutral texts; there may be none where no step needs them.
        steps: from `parse_steps`.

    Returns:
        Data with denoised activations; one orthonormal removal of all steps, with `removal.apply(data.activations)` equal to
        those activations; for each step that acts on activations a dict with its name and parameters.

    Raises:
        FitError: a step cannot be fitted.
    """
    removal = nothing(data.activations.shape[1], data.activations)
    parameters: list[dict[str, Any]] = []
    left, left_neutral = data, neutral
    for step in steps:
        if step.name in DENOISERS:
            share = SHARES.get(step.name, 0.0) if step.parameter is None else step.parameter
            found = DENOISERS[step.name](left, left_neutral, share)
            parameters.append({"name": step.name, **found.parameters})
            removal = combine([removal, found])
            # Always from the originals: what a later step finds need not be orthogonal to what an earlier one removed.
            left, left_neutral = _without(data, removal), removal.apply(neutral)
    return left, removal, parameters


def denoise_vectors(
    vectors: Float[Tensor, "concept layer d_model"], removal: Removal, steps: Sequence[DenoiseStep]
) -> Float[Tensor, "concept layer d_model"]:
    """Vectors that were estimated from denoised activations, without what was removed, and denoised themselves; any length.

    Their score of an activation h as the model has it is the score of the denoised h.

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
    known = ", ".join(
        f"{each}[:{SHARES[each]}]" if each in SHARES else each for each in [*DENOISERS, *VECTOR_DENOISERS]
    )
    if name not in DENOISERS and name not in VECTOR_DENOISERS:
        raise InputError(
            "there is no such denoiser", label="--denoise", got=text, need=known, remedy="choose from these"
        )
    if name not in SHARES:
        if colon:
            raise InputError(
                "the denoiser takes no number", label="--denoise", got=text, need=known, remedy=f"write {name}"
            )
        return DenoiseStep(name)
    if not colon:
        return DenoiseStep(name, SHARES[name])
    try:
        share = float(number)
        check_share(share)
    except (ValueError, InputError) as error:
        raise InputError(
            "the share of variance is no number between 0 and 1",
            label="--denoise",
            got=text,
            need=known,
            remedy=f"write for example {name}:{SHARES[name]}",
        ) from error
    return DenoiseStep(name, share)
