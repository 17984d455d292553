"""Parts of a fit: a bundle back as a fit, and a fit without the concepts that should not be read."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from einops import rearrange

from amygdala_tl.errors import InputError, ReadoutError
from amygdala_tl.memory.tags import fold_name
from amygdala_tl.readout.manifest import fit_from_provenance
from amygdala_tl.records import Calibration, Fit, Readout


def fit_of(readout: Readout) -> Fit:
    """The fit that a bundle was exported from; its vectors have float16 precision.

    Raises:
        ReadoutError: the bundle does not say where it comes from.
    """
    said = readout.manifest.get("amygdala_tl", {})
    needed = ("model", "capture", "read_position", "estimator", "corpus_sha256", "counts")
    missing = [key for key in needed if key not in said]
    if missing or "method" not in said.get("estimator", {}) or readout.text_calibration is None:
        raise ReadoutError(
            "the bundle does not say how it was made",
            got=f"no {', '.join(missing or ['estimator.method'])}",
            remedy="train it again with this version",
        )
    return fit_from_provenance(
        said,
        concepts=readout.concepts,
        layers=readout.layers,
        tensors={
            "directions": rearrange(readout.vectors, "layer concept d_model -> concept layer d_model"),
            "text_calibration": readout.text_calibration,
            "token_calibration": readout.token_calibration,
        },
    )


def only_readable(fit: Fit) -> Fit:
    """The fit without concepts whose verdict is not `readable`; they are named in `left_out`, with the reason.

    Raises:
        ReadoutError: the fit has no verdicts, or no concept is readable.
    """
    if not fit.verdicts:
        raise ReadoutError("the fit was not judged", remedy="fit it again without --no-verdicts")
    keep = [concept for concept in fit.concepts if fit.verdicts[concept]["verdict"] == "readable"]
    if not keep:
        raise ReadoutError("no concept is readable", remedy="export without --only-readable, or label more texts")
    dropped = {
        concept: f"{fit.verdicts[concept]['verdict']}: {fit.verdicts[concept]['reason']}"
        for concept in fit.concepts
        if concept not in keep
    }
    return of_concepts(fit, keep, dropped)


def of_concepts(fit: Fit, keep: Sequence[str], dropped: dict[str, str]) -> Fit:
    """The fit of the concepts in `keep`, in the fit's order; `dropped` says why the others went."""
    rows = torch.tensor([place for place, concept in enumerate(fit.concepts) if concept in keep])
    concepts = tuple(concept for concept in fit.concepts if concept in keep)

    def some(calibration: Calibration) -> Calibration:
        return Calibration(calibration.mean[:, rows], calibration.std[:, rows], calibration.n)

    return replace(
        fit,
        concepts=concepts,
        directions=fit.directions[rows],
        text_calibration=some(fit.text_calibration),
        token_calibration=some(fit.token_calibration),
        counts={concept: fit.counts[concept] for concept in concepts},
        verdicts={concept: fit.verdicts[concept] for concept in concepts if concept in fit.verdicts},
        left_out={**fit.left_out, **dropped},
    )


def named_concepts(names: Sequence[str], concepts: Sequence[str], option: str = "--concepts") -> tuple[str, ...]:
    """Those of a bundle's concepts that `names` names, in their order and once each; case and Unicode spelling do not matter.

    Args:
        names: as a user gives them; blank ones do not count.
        concepts: the bundle's.
        option: that the names come from, for the message.

    Raises:
        InputError: a name is none of the concepts.
    """
    by_fold = {fold_name(concept): concept for concept in concepts}
    wanted = [fold_name(name.strip()) for name in names if name.strip()]
    if unknown := [name for name in wanted if name not in by_fold]:
        raise InputError("no such concept", got=", ".join(unknown), need=", ".join(concepts), remedy=f"change {option}")
    return tuple(dict.fromkeys(by_fold[name] for name in wanted))
