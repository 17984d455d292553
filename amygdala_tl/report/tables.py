"""Terminal tables of diagnostics: layers, cross-talk, other texts, single concepts."""

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
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
from amygdala_tl.report.grid import NARROW, UNKNOWN, counted, fact_table, fixed, grid
from amygdala_tl.report.packing import mean_of_known


def layer_table(separation: LayerSeparation, chosen: Sequence[int]) -> RenderableType:
    """Show mean AUROC, d' and Fisher ratio of each layer, and the number of concepts that it reads best; mark chosen layers."""
    measures = separation.auroc, separation.d_prime, separation.fisher_ratio
    best = separation.auroc.value.nan_to_num(nan=-1.0).argmax(dim=0).tolist()
    table = grid([], ["layer", "AUROC", "d'", "Fisher ratio", "best for", ""], wrap=True)
    for row, layer in enumerate(separation.layers):
        means = [fixed(mean_of_known(measure.value[row].tolist())) for measure in measures]
        best_for = counted(best.count(row), "concept") if row in best else ""
        mark, style = ("chosen", "bold") if layer in chosen else ("", None)
        table.add_row(str(layer), *means, best_for, mark, style=style)
    return Group(table, Text(f"means over {len(separation.concepts)} concepts, on {separation.of}", style="dim"))


def crosstalk_table(found: CrossTalk, most: int) -> RenderableType:
    """Show which other concept each readout responds to most, and how redundant its direction is."""
    table = grid(["readout"], ["AUROC", "responds to", "AUROC", "cosine", "scores", "labels", "R\u00b2"])
    table.columns[2].justify = "left"
    for row in found.order:
        strength = (found.auroc[row].double() - 0.5).abs().tolist()
        others = [(value, label) for label, value in enumerate(strength) if label != row and math.isfinite(value)]
        label = max(others)[1] if others else row
        pair = (found.auroc, found.cosine, found.score_correlation, found.label_correlation)
        table.add_row(
            Text(found.concepts[row]), fixed(found.auroc[row, row]), Text(found.concepts[label]),
            *(fixed(matrix[row, label]) for matrix in pair), fixed(found.r_squared[row]),
        )  # fmt: skip
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
    if (more := len(found.warnings) - most) > 0:
        lines.append(Text(f"  and {counted(more, 'more pair')}", style="dim"))
    return Group(*lines)


def evaluation_table(found: Evaluation) -> RenderableType:
    """Show how well each concept is read on the given texts, best first."""
    # To fit 80 columns, baselines that nobody computed are left out.
    baselines = {"words": found.bag_of_words, "emb.": found.embedding}
    shown = {name: known for name, known in baselines.items() if bool(known.isfinite().any())}
    headings = ["AUROC", "interval", "a.p.", "null", "rand.", *shown, "p", "+/-", "layer"]
    table = grid([], headings, whole=["concept"], padding=NARROW)
    columns = (found.average_precision.value, found.permutation_null, found.random_null, *shown.values(), found.p_value)
    values = found.auroc.value.tolist()
    order = sorted(range(len(values)), key=lambda place: -values[place] if math.isfinite(values[place]) else math.inf)
    for place in order:
        numbers = fixed(values[place]), interval(found.auroc, place), *(fixed(column[place]) for column in columns)
        texts = f"{int(found.n_positive[place])}/{int(found.n_negative[place])}"
        layer = "all" if found.combined else str(int(found.reading_layer[place]))
        table.add_row(Text(found.concepts[place]), *numbers, texts, layer)
    averaged = {"AUROC": found.auroc.value, "bag of words": found.bag_of_words, "embedding": found.embedding}
    means = ", ".join(f"{name} {fixed(mean_of_known(column.tolist()))}" for name, column in averaged.items())
    return Group(table, Text(f"{found.data}; means: {means}"))


def passages_table(found: Sequence[Passages]) -> RenderableType:
    """Show the highest and the lowest texts of each concept."""
    table = grid(numbers=["z"], show_header=False, padding=(0, 2, 0, 0))
    table.add_column("text", overflow="fold")
    for passages in found:
        table.add_row("", Text(_named(passages), style="bold"))
        for z, text in (*passages.top, *passages.bottom[::-1]):
            table.add_row(f"{z:+.1f}", Text(_shortened(text), style="" if z > 0 else "dim"))
        table.add_row("", "")
    return table


def _named(passages: Passages) -> str:
    return f"{passages.concept}, {'all layers' if passages.layer is None else f'layer {passages.layer}'}"


def concept_details(quality: ConceptQuality) -> RenderableType:
    """Show everything that is known about one concept."""
    facts = {
        "verdict": f"{quality.verdict}: {quality.reason}",
        "split halves": f"cosine {fixed(quality.split_half_cosine)}",
        "positive texts": f"cosine to the direction {fixed(quality.agreement)}, first component "
        f"{fixed(quality.first_pc_share)} of their variance, {fixed(quality.effective_dimension)} effective dimensions",
        "nearest": ", ".join(f"{name} {cosine:+.2f}" for name, cosine in quality.nearest),
        "neuron": "" if quality.neuron is None else "layer {}, {}: cosine {:+.2f}".format(*quality.neuron),
        "raises": " ".join(map(repr, quality.tokens_up)),
        "lowers": " ".join(map(repr, quality.tokens_down)),
        "outliers": "\n".join(
            f"{outlier.text[:12]} labelled {outlier.labelled}, z {outlier.z:+.1f}: {outlier.words}"
            for outlier in quality.outliers
        ),
    }
    title = Text(f"{quality.concept}, layer {quality.layer}", style="bold")
    return Group(title, fact_table(facts, style="dim"), Text(""))


def interval(found: Interval, place: int) -> str:
    """Return the ends of one interval; a dash where one of them is not known."""
    ends = fixed(found.low[place]), fixed(found.high[place])
    return UNKNOWN if UNKNOWN in ends else "-".join(ends)


def _warning(warning: PairWarning) -> str:
    return (
        f"{warning.first} and {warning.second}: {warning.finding} (correlation of scores "
        f"{warning.score_correlation:+.2f}, of labels {warning.label_correlation:+.2f}; cosine {warning.cosine:+.2f})"
    )


def _shortened(text: str, most: int = 200) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most].rstrip()} ..."
