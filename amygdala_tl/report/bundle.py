"""Summary of a bundle for the terminal, from its manifest alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import RenderableType

from amygdala_tl.readout.manifest import Manifest
from amygdala_tl.readout.provenance import Verdict
from amygdala_tl.report.grid import fact_table


def bundle_summary(manifest: Manifest, files: Sequence[Path], *, writes: bool, erases: bool) -> RenderableType:
    """Describe a bundle; `writes` and `erases` say whether its write vectors and erasures are there."""
    said, model, rows = manifest.provenance, manifest.amygdala_tl.model, manifest.amygdala_tl.calibration
    calibrations = ("texts", rows.texts), ("tokens", rows.tokens)
    concepts = (
        f"{concept} ({said.counts[concept]['positive']}/{said.counts[concept]['negative']})"
        if concept in said.counts
        else concept
        for concept in manifest.concepts
    )
    facts = {
        "files": ", ".join(map(str, files)),
        "vectors": f"{len(manifest.concepts)} concepts x {len(manifest.layers)} layers x {manifest.hidden_size}, "
        f"float16, unit length: whole",
        "write vectors": f"{said.writer}: {'whole' if writes else 'their file is missing'}" if said.writer else "none",
        "erasures": "whole" if erases else "none",
        "layers": ", ".join(f"{layer} ({said.hooks.get(str(layer), '?')})" for layer in manifest.layers),
        "model": "?" if model is None else f"{model.id} {model.revision or ''}".strip(),
        "weights": "?" if model is None else model.fingerprint[:16],
        "engine": "?" if model is None else f"{model.engine} {model.versions.get('transformer-lens', '')}".strip(),
        "read position": said.read_position,
        "chat template": said.capture.chat_template,
        "estimator": _parameters(said.estimator),
        "denoisers": ", ".join(map(_parameters, said.denoisers)) or "none",
        "corpus": (said.corpus_sha256 or "?")[:16],
        "calibration": " and ".join(f"{of.n:,} {kind}" for kind, of in calibrations if of is not None) or "none",
        "verdicts": _verdicts(said.verdicts),
        "left out": "; ".join(f"{concept}: {why}" for concept, why in said.left_out.items()),
        "concepts": ", ".join(concepts) + (" (positive/negative training texts)" if said.counts else ""),
    }
    return fact_table(facts)


def _verdicts(verdicts: Mapping[str, Verdict]) -> str:
    """Count the verdicts, and name the concepts of all but `readable`."""
    kinds: dict[str, list[str]] = {}
    for concept, of in verdicts.items():
        kinds.setdefault(of.verdict, []).append(concept)
    return "; ".join(
        f"{len(names)} {kind}" + ("" if kind == "readable" else f" ({', '.join(names)})")
        for kind, names in kinds.items()
    )


def _parameters(entry: Mapping[str, object]) -> str:
    """Names and short values; long tables are for the manifest."""
    short = [f"{name} {value}" for name, value in entry.items() if isinstance(value, str | float | int)]
    for name, value in entry.items():
        if isinstance(value, list) and len(value) <= 8 and all(isinstance(item, float | int) for item in value):
            short.append(f"{name} {', '.join(map(str, value))}")
    return ", ".join(short) or "?"
