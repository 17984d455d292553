"""Terminal tables of diagnostics: layers, cross-talk, other texts, single concepts."""

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from amygdala_tl.diagnostics.records import (
    ConceptQuality,
    CrossTalk,
    Evaluation,
    Interval,
    LayerSeparation,
    PairWarning,
    Passages,
)
from amygdala_tl.report.packing import mean_of_known

UNKNOWN = "\u2013"


def layer_table(separation: LayerSeparation, chosen: Sequence[int]) -> RenderableType:
    """Show mean AUROC, d' and Fisher ratio of each layer, and the number of concepts that it reads best; mark chosen layers."""
    auroc = separation.auroc.value
    best = auroc.nan_to_num(nan=-1.0).argmax(dim=0).tolist()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("layer", "AUROC", "d'", "Fisher ratio", "best for", ""):
        table.add_column(name, justify="right")
    for row, layer in enumerate(separation.layers):
        means = (mean_of_known(part.value[row].tolist()) for part in _measures(separation))
        count = best.count(row)
        table.add_row(
            str(layer),
            *(_number(mean) for mean in means),
            f"{count} concept{'s' * (count != 1)}" if count else "",
            "chosen" if layer in chosen else "",
            style="bold" if layer in chosen else None,
        )
    line = Text(f"means over {len(separation.concepts)} concepts, on {separation.of}", style="dim")
    return Group(table, line)


def crosstalk_table(found: CrossTalk, most: int) -> RenderableType:
    """Show which other concept each readout responds to most, and how redundant its direction is."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("readout", overflow="fold")
    for name in ("AUROC", "responds to", "AUROC", "cosine", "scores", "labels", "R\u00b2"):
        table.add_column(name, justify="left" if name == "responds to" else "right", no_wrap=True)
    for row in found.order:
        others = [
            (abs(float(found.auroc[row, label]) - 0.5), label)
            for label in range(len(found.concepts))
            if label != row and math.isfinite(float(found.auroc[row, label]))
        ]
        label = max(others)[1] if others else row
        table.add_row(
            Text(found.concepts[row]),
            _number(float(found.auroc[row, row])),
            Text(found.concepts[label]),
            _number(float(found.auroc[row, label])),
            _number(float(found.cosine[row, label])),
            _number(float(found.score_correlation[row, label])),
            _number(float(found.label_correlation[row, label])),
            _number(float(found.r_squared[row])),
        )
    title = Text(f"layer {found.layer}, held-out texts", style="bold")
    legend = (
        "AUROC on the readout's own label, and on the label of the other concept that it responds to most; cosine of the two "
        "directions; correlation of their scores and of their labels; R\u00b2 of the direction from all others"
    )
    return Group(title, table, Text(legend, style="dim"), warning_lines(found, most))


def warning_lines(found: CrossTalk, most: int) -> RenderableType:
    """List the pairs of concepts that are not independent axes, the most entangled first."""
    if not found.warnings:
        return Text(f"no entangled pair at layer {found.layer}")
    lines = [Text(f"not independent at layer {found.layer}:", style="bold")]
    lines += [Text(f"  {_warning(warning)}") for warning in found.warnings[:most]]
    if more := len(found.warnings) - most:
        lines += [Text(f"  and {more} more pair{'s' * (more > 1)}", style="dim")] if more > 0 else []
    return Group(*lines)


def evaluation_table(evaluation: Evaluation) -> RenderableType:
    """Show how well each concept is read on the given texts, best first."""
    # To fit 80 columns, baselines that nobody computed are left out.
    baselines = ("words", evaluation.bag_of_words), ("emb.", evaluation.embedding)
    shown = [name for name, known in baselines if bool(known.isfinite().any())]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("concept", no_wrap=True)
    for name in ("AUROC", "interval", "a.p.", "null", "rand.", *shown, "p", "+/-", "layer"):
        table.add_column(name, justify="right", no_wrap=True)
    values = evaluation.auroc.value.tolist()
    order = sorted(range(len(values)), key=lambda place: -values[place] if math.isfinite(values[place]) else math.inf)
    for place in order:
        table.add_row(
            Text(evaluation.concepts[place]),
            _number(values[place]),
            _interval(evaluation.auroc, place),
            _number(float(evaluation.average_precision.value[place])),
            _number(float(evaluation.permutation_null[place])),
            _number(float(evaluation.random_null[place])),
            *(_number(float(known[place])) for name, known in baselines if name in shown),
            _number(float(evaluation.p_value[place])),
            f"{int(evaluation.n_positive[place])}/{int(evaluation.n_negative[place])}",
            str(int(evaluation.reading_layer[place])),
        )
    means = [
        f"{name} {_number(mean_of_known(tensor.tolist()))}"
        for name, tensor in (
            ("AUROC", evaluation.auroc.value),
            ("bag of words", evaluation.bag_of_words),
            ("embedding", evaluation.embedding),
        )
    ]
    return Group(table, Text(f"{evaluation.data}; means: {', '.join(means)}"))


def passages_table(found: Sequence[Passages]) -> RenderableType:
    """Show the highest and the lowest texts of each concept."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column("z", justify="right", no_wrap=True)
    table.add_column("text", overflow="fold")
    for passages in found:
        table.add_row("", Text(f"{passages.concept}, layer {passages.layer}", style="bold"))
        for side in (passages.top, passages.bottom[::-1]):
            for z, text in side:
                table.add_row(f"{z:+.1f}", Text(_shortened(text), style="" if z > 0 else "dim"))
        table.add_row("", "")
    return table


def concept_details(quality: ConceptQuality) -> RenderableType:
    """Show everything that is known about one concept."""
    rows = {
        "verdict": f"{quality.verdict}: {quality.reason}",
        "split halves": f"cosine {_number(quality.split_half_cosine)}",
        "positive texts": f"cosine to the direction {_number(quality.agreement)}, first component "
        f"{_number(quality.first_pc_share)} of their variance, {_number(quality.effective_dimension)} effective dimensions",
        "nearest": ", ".join(f"{name} {cosine:+.2f}" for name, cosine in quality.nearest),
        "neuron": "" if quality.neuron is None else "layer {}, {}: cosine {:+.2f}".format(*quality.neuron),
        "raises": " ".join(map(repr, quality.tokens_up)),
        "lowers": " ".join(map(repr, quality.tokens_down)),
        "outliers": "\n".join(
            f"{outlier.text[:12]} labelled {outlier.labelled}, z {outlier.z:+.1f}: {outlier.words}"
            for outlier in quality.outliers
        ),
    }
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        if value:
            table.add_row(name, Text(value))
    return Group(Text(f"{quality.concept}, layer {quality.layer}", style="bold"), table, Text(""))


def _warning(warning: PairWarning) -> str:
    finding: str = warning.finding
    if warning.finding == "close readouts" and warning.score_correlation < 0:
        finding = "ends of one axis"
    return (
        f"{warning.first} and {warning.second}: {finding} (correlation of scores {warning.score_correlation:+.2f}, of labels "
        f"{warning.label_correlation:+.2f}; cosine {warning.cosine:+.2f})"
    )


def _measures(separation: LayerSeparation) -> tuple[Interval, Interval, Interval]:
    return separation.auroc, separation.d_prime, separation.fisher_ratio


def _interval(interval: Interval, place: int) -> str:
    low, high = float(interval.low[place]), float(interval.high[place])
    return f"{low:.3f}-{high:.3f}" if math.isfinite(low) and math.isfinite(high) else UNKNOWN


def _shortened(text: str, most: int = 200) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most].rstrip()} ..."


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else UNKNOWN
