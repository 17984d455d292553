"""Results as JSON documents, for `--json`: what `print_json` makes of records, without what is in files already."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amygdala_tl.diagnostics.records import Diagnosis
    from amygdala_tl.readout.record import Readout
    from amygdala_tl.steering.results import SteeringRun


def readout_document(readout: "Readout", files: Mapping[str, object]) -> dict[str, Any]:
    """Say what a readout is, and where its files are; vectors and calibrations are in these."""
    said = readout.provenance
    return {
        "files": files,
        "concepts": readout.concepts,
        "layers": readout.layers,
        "d_model": readout.d_model,
        "method": said.method,
        "read_position": said.read_position,
        "estimator": said.estimator,
        "denoisers": said.denoisers,
        "left_out": said.left_out,
        "verdicts": dict(readout.verdicts),
    }


def diagnosis_document(found: "Diagnosis", concepts: Collection[str] = ()) -> dict[str, Any]:
    """Return all diagnostics of a readout, the quality of these concepts or of all; without texts and vectors."""
    document = {each.name: getattr(found, each.name) for each in fields(found) if each.name not in ("readout", "texts")}
    return document | {"quality": [each for each in found.quality if not concepts or each.concept in concepts]}


def run_document(run: "SteeringRun", files: Mapping[str, object]) -> dict[str, Any]:
    """Return the verdicts of a causal check, and all numbers of each seed."""
    return {"files": files, "concepts": run.concepts, "reports": run.reports}
