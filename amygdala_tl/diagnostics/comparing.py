"""Two readouts side by side: what differs in how they were made, their verdicts, and the angles between their directions."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from einops import einsum

from amygdala_tl.readout.provenance import Verdict
from amygdala_tl.readout.record import Readout

BEST_FIRST = ("readable", "redundant", "weak", "undecided", "not readable")
"""Verdicts of a readout, as `--check` ranks them."""


@dataclass(frozen=True, slots=True)
class ReadConcept:
    """One concept in both readouts.

    Attributes:
        first, second: verdicts; None where a readout does not have the concept, or was not judged.
        difference: AUROC of the second minus that of the first; None unless both are known.
        cosines: layer -> cosine of the two directions, at the layers that both readouts have; empty if their streams have
            different sizes.
    """

    concept: str
    first: Verdict | None
    second: Verdict | None
    difference: float | None
    cosines: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class ReadoutComparison:
    """Two readouts.

    Attributes:
        names: of the files.
        differs: (what, in the first, in the second), for every difference in how they were made.
        notes: what else a reader should know.
        layers: those that both readouts have.
        concepts: those of the first readout, then those that only the second has.
    """

    names: tuple[str, str]
    differs: tuple[tuple[str, str, str], ...]
    notes: tuple[str, ...]
    layers: tuple[int, ...]
    concepts: tuple[ReadConcept, ...]

    @property
    def worse(self) -> tuple[ReadConcept, ...]:
        """Concepts whose verdict is worse in the second readout, or missing there."""
        return tuple(
            each for each in self.concepts if each.first is not None and _rank(each.second) > _rank(each.first)
        )

    def as_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {**asdict(self), "worse": [each.concept for each in self.worse]}


def _rank(found: Verdict | None) -> int:
    known = found is not None and found.verdict in BEST_FIRST  # a manifest may say what it likes
    return BEST_FIRST.index(found.verdict) if found is not None and known else len(BEST_FIRST)


def compare_readouts(first: Readout, second: Readout, names: tuple[str, str]) -> ReadoutComparison:
    """Compare two readouts.

    Args:
        first, second: readouts of any concepts and layers.
        names: what to call them.
    """
    both = first, second
    one_space = first.d_model == second.d_model
    layers = tuple(layer for layer in first.layers if layer in second.layers)
    notes = []
    if not one_space:
        notes.append("The residual streams have different sizes: their directions have no cosine.")
    elif not layers:
        notes.append("The readouts have no layer in common: their directions have no cosine.")
    elif None not in (weights := [_facts(each)["weights"] for each in both]) and weights[0] != weights[1]:
        notes.append("The models differ: a cosine says little unless one was fine-tuned from the other.")
    if first.provenance.corpus_sha256 != second.provenance.corpus_sha256:
        notes.append("The corpora differ: each AUROC is on the texts of its own corpus.")
    cosines = _cosines(first, second, layers) if one_space else {}
    return ReadoutComparison(
        names=names,
        differs=differing(_facts(first), _facts(second)),
        notes=tuple(notes),
        layers=layers if one_space else (),
        concepts=tuple(
            _concept(concept, both, cosines.get(concept, {}))
            for concept in dict.fromkeys([*first.concepts, *second.concepts])
        ),
    )


def _concept(concept: str, both: tuple[Readout, Readout], cosines: Mapping[int, float]) -> ReadConcept:
    before, after = (each.verdicts.get(concept) if concept in each.concepts else None for each in both)
    known = None if before is None or after is None else (before.auroc, after.auroc)
    difference = None if known is None or known[0] is None or known[1] is None else known[1] - known[0]
    return ReadConcept(concept, before, after, difference, cosines)


def _cosines(first: Readout, second: Readout, layers: tuple[int, ...]) -> dict[str, dict[int, float]]:
    """Concept -> layer -> cosine, of the concepts and layers that both have."""
    concepts = [concept for concept in first.concepts if concept in second.concepts]
    sides = [
        each.vectors.double()[[each.column(layer) for layer in layers]][:, [each.concepts.index(of) for of in concepts]]
        for each in (first, second)
    ]
    before, after = (torch.nn.functional.normalize(side, dim=-1) for side in sides)
    found = einsum(before, after, "layer concept d_model, layer concept d_model -> concept layer")
    return {concept: dict(zip(layers, row, strict=True)) for concept, row in zip(concepts, found.tolist(), strict=True)}


def _facts(of: Readout) -> dict[str, Any]:
    """Name -> value of everything that a readout is made of."""
    said, model = of.provenance, of.provenance.model
    return {
        "concepts": of.concepts,
        "layers": of.layers,
        "d_model": of.d_model,
        **({} if model is None else {"model": model.id, "revision": model.revision, "dtype": model.dtype}),
        "weights": None if model is None else model.fingerprint,
        "engine": None if model is None else model.engine,
        "chat template": said.capture.chat_template,
        "read position": said.read_position,
        "method": said.method or said.estimator.get("aggregator"),
        "write vectors": said.writer,
        "labels": said.estimator.get("labels"),
        "corpus": said.corpus_sha256,
        **{f"corpus: {name}": value for name, value in said.corpus.items()},
    }


def differing(
    first: Mapping[str, Any], second: Mapping[str, Any], only: tuple[Mapping[str, Any], ...] = ()
) -> tuple[tuple[str, str, str], ...]:
    """Return (name, in the first, in the second) of the facts that differ, in a few characters each.

    Args:
        first, second: name -> value.
        only: leave out the facts that one of these does not name.
    """
    names = [name for name in dict.fromkeys([*first, *second]) if all(name in of for of in only)]
    rows = ((name, _shown(first.get(name)), _shown(second.get(name))) for name in names)
    return tuple(row for row in rows if row[1] != row[2])


def _shown(value: Any) -> str:
    """A value in a few characters; a hash by its first twelve."""
    if isinstance(value, tuple | list):
        return ", ".join(_shown(part) for part in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{count} {name}" for name, count in value.items())
    if isinstance(value, str) and len(value) >= 32 and all(letter in "0123456789abcdef" for letter in value):
        return value[:12]
    return "\u2013" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
