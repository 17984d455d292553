"""Summaries of corpus, capture and fit for the terminal."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from amygdala_tl.corpus.reasons import tally_lines
from amygdala_tl.corpus.record import Corpus, count_examples
from amygdala_tl.records import CaptureSummary, LeftOutText, ModelInfo
from amygdala_tl.report.grid import fact_table, fixed, grid
from amygdala_tl.settings import AUTO

if TYPE_CHECKING:  # the command line prints its help without torch
    from amygdala_tl.readout.record import Readout

LEFT_OUT_SHOWN = 3


def corpus_summary(corpus: Corpus) -> RenderableType:
    """Show the counts of each concept, and what was dropped and why."""
    held_out = any(text.split == "heldout" for text in corpus.texts)
    columns = ["positive", "negative", *(["held-out pos.", "held-out neg."] if held_out else [])]
    table = grid(["concept"], columns, wrap=True)
    for concept, counts in count_examples(corpus).items():
        numbers = [str(count) for split in counts.values() for count in split.values()]
        table.add_row(concept, *numbers[: len(columns)])
    neutral = sum(text.neutral for text in corpus.texts)
    groups = len({text.group for text in corpus.texts})
    lines = [Text(f"{len(corpus.texts)} texts ({neutral} neutral) in {groups} groups, {len(corpus.concepts)} concepts")]
    return Group(table, *lines, *corpus_notices(corpus))


def corpus_notices(corpus: Corpus) -> list[RenderableType]:
    """Say what was left out of a corpus, by count and with an example, and how its source was read."""
    lines = [Text(f"left out: {line}") for line in tally_lines(corpus.dropped, corpus.examples)]
    if corpus.left_out:
        lines.append(_facts("concepts left out", corpus.left_out))
    return [*lines, *(Text(f"note: {notice}") for notice in corpus.notices)]


def model_line(info: ModelInfo) -> Text:
    """Name the model and its engine."""
    return Text.assemble(
        (info.id, "bold"),
        f" ({info.architecture}, {info.n_layers} layers of {info.d_model}, {info.dtype}) on ",
        (info.engine, "bold"),
        f", transformer-lens {info.versions.get('transformer-lens', '?')}",
    )


def capture_line(summary: CaptureSummary) -> Text:
    """Say how many texts ran, how fast, how many the store already had, and which cannot be run."""
    left_out = _left_out(summary.left_out)
    if not summary.texts_run:
        return Text(f"the store already has all {summary.texts:,} texts{left_out}")
    rate = summary.tokens_run / summary.seconds if summary.seconds else 0.0
    cut = f", {summary.texts_cut} cut at the longest length" if summary.texts_cut else ""
    return Text(
        f"{summary.texts_run:,} of {summary.texts:,} texts run: {summary.tokens_run:,} tokens at {rate:,.0f} tokens/s{cut}"
        f"{left_out}"
    )


def _left_out(texts: Sequence[LeftOutText]) -> str:
    """Count the texts that cannot be run, and name the first few."""
    if not texts:
        return ""
    named = [f"\n  {text.id[:12]} {text.text!r}: {text.reason}" for text in texts[:LEFT_OUT_SHOWN]]
    more = [f"\n  and {len(texts) - LEFT_OUT_SHOWN:,} more"] if len(texts) > LEFT_OUT_SHOWN else []
    return f"\n{len(texts):,} texts cannot be run and are left out:" + "".join(named + more)


def fit_summary(readout: "Readout") -> RenderableType:
    """Show concepts, layers and how the directions were made; what `auto` chose from; what was left out."""
    said = readout.provenance
    denoisers = "".join(f" + {denoiser['name']}" for denoiser in said.denoisers)
    line = (
        f"{len(readout.concepts)} concepts x layers {', '.join(map(str, readout.layers))}: "
        f"{said.estimator['aggregator']}{denoisers} of {said.read_position} activations"
    )
    parts: list[RenderableType] = [Text(line)]
    if table := said.estimator.get("chosen_from"):
        parts.append(_comparison(table, readout.layers))
        if said.estimator.get("requested", AUTO) != AUTO:
            parts.append(_of_concepts(table, readout.concepts))
    if said.left_out:
        parts.append(_facts("left out", said.left_out))
    return Group(*parts)


def _comparison(rows: Sequence[Mapping[str, Any]], layers: Sequence[int]) -> Table:
    """Show the mean AUROC of each compared method on held-out groups of the training texts."""
    headings = ["mean", *(f"layer {layer}" for layer in layers)]
    table = grid(["AUROC on held-out groups of the training texts"], headings, wrap=True)
    best = max(row.get("auroc", 0.0) for row in rows)
    for row in rows:
        if "failed" in row:
            table.add_row(row["method"], *"-" * len(headings))
        else:
            numbers = (f"{value:.3f}" for value in (row["auroc"], *row["auroc_by_layer"]))
            table.add_row(row["method"], *numbers, style="bold" if row["auroc"] == best else None)
    return table


def _of_concepts(rows: Sequence[Mapping[str, Any]], concepts: Sequence[str]) -> Table:
    """Show the AUROC of each concept by each compared method, averaged over layers."""
    known = {row["method"]: row["auroc_by_concept"] for row in rows if "auroc_by_concept" in row}
    table = grid(["concept"], list(known), wrap=True)
    for place, concept in enumerate(concepts):
        values = [column[place] for column in known.values()]
        best = max((value for value in values if value is not None), default=None)
        cells = (Text(fixed(value), style="bold" if value == best else "") for value in values)
        table.add_row(Text(concept), *cells)
    return table


def stage_times(seconds: Mapping[str, float]) -> Table:
    """Show the wall time of each stage."""
    table = grid(["stage"], ["seconds"])
    for stage, value in seconds.items():
        table.add_row(stage, f"{value:.1f}")
    table.add_row("total", f"{sum(seconds.values()):.1f}", style="bold")
    return table


def file_list(files: Mapping[str, object]) -> Table:
    """List the paths of the results."""
    return fact_table({name: str(path) for name, path in files.items()}, style="")


def serving_command(vectors: Path, model: str) -> Text:
    """Show the commands that serve a bundle with vLLM; `model` is what vLLM reads the checkpoint from."""
    variables = {"VLLM_READOUT_VECTORS": vectors, "VLLM_READOUT_MANIFEST": vectors.with_suffix(".json")}
    said = " ".join(f"{name}={shlex.quote(str(path))}" for name, path in variables.items())
    command = f"{said} vllm serve {shlex.quote(model)}"
    plugin = ("\nonce, in vLLM's environment: pip install --no-deps amygdala-tl", "dim")
    return Text.assemble(("serve it with vLLM: ", "bold"), command, plugin)


def _facts(name: str, facts: Mapping[str, str]) -> Text:
    return Text.assemble((f"{name}: ", "bold"), "; ".join(f"{key}: {value}" for key, value in facts.items()))
