"""Terminal tables of a diagnosis: verdicts with their numbers, and the first warnings."""

import math
from typing import get_args

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from amygdala_tl.diagnostics.records import Diagnosis, Verdict
from amygdala_tl.report.page_data import most_common_layer
from amygdala_tl.report.tables import UNKNOWN, warning_lines

VERDICT_STYLE: dict[Verdict, str] = {
    "readable": "green",
    "weak": "yellow",
    "redundant": "magenta",
    "not readable": "red",
}


def diagnosis_summary(diagnosis: Diagnosis, *, warnings: int = 5) -> RenderableType:
    """Show the verdict table, the counts of the verdicts and the first warnings.

    Args:
        diagnosis: from `judge`.
        warnings: largest number of pairs to warn about, at the layer that reads most concepts.
    """
    verdicts = [quality.verdict for quality in diagnosis.quality]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in get_args(Verdict) if verdict in verdicts)
    parts: list[RenderableType] = [
        verdict_table(diagnosis),
        Text(f"{len(verdicts)} concepts on {diagnosis.evaluation.data}: {counts}"),
    ]
    layer = most_common_layer(diagnosis)
    parts += [
        warning_lines(found, warnings) for found in diagnosis.crosstalk if found.layer == layer and found.warnings
    ]
    return Group(*parts)


def verdict_table(diagnosis: Diagnosis) -> Table:
    """Show verdict, held-out AUROC, 95% interval, null, bag of words and layer of each concept, by verdict and then by AUROC."""
    evaluation = diagnosis.evaluation
    columns = (
        evaluation.auroc.value.tolist(),
        evaluation.auroc.low.tolist(),
        evaluation.auroc.high.tolist(),
        evaluation.permutation_null.tolist(),
        evaluation.bag_of_words.tolist(),
    )
    order = list(get_args(Verdict))
    rows = sorted(
        zip(diagnosis.quality, *columns, strict=True),
        key=lambda row: (order.index(row[0].verdict), -row[1] if math.isfinite(row[1]) else math.inf),
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("concept", overflow="fold")
    table.add_column("verdict")
    for name in ("AUROC", "95% interval", "null", "bag of words", "layer"):
        table.add_column(name, justify="right", no_wrap=True)
    for quality, value, low, high, null, words in rows:
        verdict = f"redundant with {quality.redundant_with}" if quality.redundant_with else quality.verdict
        table.add_row(
            Text(quality.concept),
            Text(verdict, style=VERDICT_STYLE[quality.verdict]),
            _three(value),
            f"{_three(low)}-{_three(high)}" if math.isfinite(low) and math.isfinite(high) else UNKNOWN,
            _three(null),
            _three(words),
            str(quality.layer),
        )
    return table


def _three(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else UNKNOWN
