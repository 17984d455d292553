"""Terminal tables of diagnostics: layers, cross-talk, other texts, single concepts."""

import math
from collections.abc import Sequence
from typing import get_args

from rich.console import Group, RenderableType
from rich.text import Text

from amygdala_tl.diagnostics.records import (
    ConceptQuality,
    CrossTalk,
    DomainTable,
    Evaluation,
    Interval,
    LayerSeparation,
    PairWarning,
    Passages,
    Transfer,
    TransferName,
)
from amygdala_tl.diagnostics.transfer import KEPT
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


def domain_table(found: DomainTable) -> RenderableType:
    """Show the mean AUROC of each domain's directions on every domain, over the concepts that both have."""
    table = grid(["trained on"], [f"on {name}" for name in found.domains], wrap=True)
    for name, row in zip(found.domains, found.auroc, strict=True):
        cells = [f"{fixed(mean_of_known(each.tolist()))} ({int(each.isfinite().sum())})" for each in row]
        table.add_row(Text(name), *cells)
    legend = (
        "mean AUROC over the concepts that both have (their number); a corpus's own texts by directions of other groups"
    )
    return Group(table, Text(legend, style="dim"))


def evaluation_table(found: Evaluation) -> RenderableType:
    """Show how well each concept is read on the given texts, best first; of texts from elsewhere, those that transfer first."""
    there = None if found.transfer is None else found.transfer.trained_there
    known = {
        "home": found.at_home,
        "there": there,
        "rand.": found.random_null,
        "words": found.bag_of_words,
        "emb.": found.embedding,
    }
    # To fit 80 columns, what nobody computed is left out.
    shown = {name: column for name, column in known.items() if column is not None and bool(column.isfinite().any())}
    layer = [] if found.combined else ["layer"]
    table = grid([], ["AUROC", "interval", *shown, "a.p.", "p", "+/-", *layer], whole=["concept"], padding=NARROW)
    columns = (*shown.values(), found.average_precision.value, found.p_value)
    values = found.auroc.value.tolist()
    best = sorted(range(len(values)), key=lambda place: -values[place] if math.isfinite(values[place]) else math.inf)
    for verdict, places in _by_verdict(found.transfer, best):
        if verdict is not None:
            table.add_row(Text(verdict, style="bold"))
        for place in places:
            numbers = fixed(values[place]), interval(found.auroc, place), *(fixed(column[place]) for column in columns)
            texts = f"{int(found.n_positive[place])}/{int(found.n_negative[place])}"
            table.add_row(
                Text(found.concepts[place]), *numbers, texts, *(str(int(found.reading_layer[place])) for _ in layer)
            )
    averaged = {"AUROC": found.auroc.value} | {name: column for name, column in shown.items() if name != "rand."}
    means = ", ".join(f"{name} {fixed(mean_of_known(column.tolist()))}" for name, column in averaged.items())
    legend = [meaning for name, meaning in LEGEND.items() if name in shown] + LEGEND_OF_ALL
    if found.transfer is not None:
        legend.append(TRANSFERS)
    return Group(table, Text(f"{found.data}; means: {means}"), Text("; ".join(legend) + ".", style="dim"))


LEGEND = {
    "home": "home: AUROC in the corpus that the readout was trained on",
    "there": "there: AUROC of the same method trained on these texts, each read by directions of other groups",
    "rand.": "rand.: one random direction in twenty does as well",
    "words": "words: bag of words of the training corpus",
    "emb.": "emb.: mean token embeddings",
}
LEGEND_OF_ALL = ["a.p.: average precision", "p: of shuffled labels, corrected for the number of concepts", "+/-: texts"]
TRANSFERS = (
    f"transfers: keeps clearly more than {KEPT:.0%} of the distance from .5 that the lower of home and there has; only where it "
    "was trained: clearly less"
)


def _by_verdict(transfer: Transfer | None, order: Sequence[int]) -> list[tuple[str | None, list[int]]]:
    """Return the places of the concepts under each verdict, in the given order; under None where there are no verdicts."""
    if transfer is None:
        return [(None, list(order))]
    by_verdict = (
        (name, [place for place in order if transfer.verdict[place] == name]) for name in get_args(TransferName)
    )
    return [(name, places) for name, places in by_verdict if places]


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
