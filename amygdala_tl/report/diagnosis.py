"""Terminal tables of a diagnosis: verdicts with their numbers, and the first warnings."""

import math
from typing import get_args

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from amygdala_tl.diagnostics.records import Diagnosis, VerdictName
from amygdala_tl.report.grid import fixed, grid, tally
from amygdala_tl.report.page_data import most_common_layer
from amygdala_tl.report.tables import interval, warning_lines

VERDICT_STYLE: dict[VerdictName, str] = {
    "readable": "green", "weak": "yellow", "redundant": "magenta", "undecided": "cyan", "not readable": "red"
}  # fmt: skip


def diagnosis_summary(diagnosis: Diagnosis, *, warnings: int = 5) -> RenderableType:
    """Show the verdict table, the counts of the verdicts, the reasons of those that are not readable, and the first warnings.

    Args:
        diagnosis: from `judge`.
        warnings: largest number of pairs to warn about, at the layer that reads most concepts.
    """
    verdicts = [quality.verdict for quality in diagnosis.quality]
    counts = tally(verdicts, (verdict for verdict in get_args(VerdictName) if verdict in verdicts))
    line = Text(f"{len(verdicts)} concepts on {diagnosis.evaluation.data}: {counts}")
    at_layer = (found for found in diagnosis.crosstalk if found.layer == most_common_layer(diagnosis))
    warned = [warning_lines(found, warnings) for found in at_layer if found.warnings]
    return Group(verdict_table(diagnosis), line, *_reasons(diagnosis), *warned)


def _reasons(diagnosis: Diagnosis) -> list[Text]:
    """Say why each concept is not readable, in the order of the concepts."""
    found = [each for each in diagnosis.quality if each.verdict != "readable"]
    return [Text.assemble((each.concept, VERDICT_STYLE[each.verdict]), f": {each.reason}") for each in found]


def verdict_table(diagnosis: Diagnosis) -> Table:
    """Show verdict, AUROC, 95% interval, null and bag of words of each concept, by verdict and then by AUROC.

    The last columns are the AUROC of the readout's own directions on a held-out split, if there is one, and the reading layer of
    a readout without a score over all layers.
    """
    found, kinds = diagnosis.evaluation, list(get_args(VerdictName))
    beside = {
        "held out": None if diagnosis.held_out is None else [fixed(value) for value in diagnosis.held_out.auroc.value],
        "layer": None if found.combined else [str(quality.layer) for quality in diagnosis.quality],
    }
    shown = {name: column for name, column in beside.items() if column is not None}
    rows = sorted(
        zip(diagnosis.quality, found.auroc.value.tolist(), range(len(diagnosis.quality)), strict=True),
        key=lambda row: (kinds.index(row[0].verdict), -row[1] if math.isfinite(row[1]) else math.inf),
    )
    table = grid(["concept", "verdict"], ["AUROC", "95% interval", "null", "bag of words", *shown])
    for quality, value, place in rows:
        verdict = f"redundant with {quality.redundant_with}" if quality.redundant_with else quality.verdict
        named = Text(quality.concept), Text(verdict, style=VERDICT_STYLE[quality.verdict])
        baselines = fixed(found.permutation_null[place]), fixed(found.bag_of_words[place])
        last = (column[place] for column in shown.values())
        table.add_row(*named, fixed(value), interval(found.auroc, place), *baselines, *last)
    return table
