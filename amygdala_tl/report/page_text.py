"""The static text of the report: its headline and the provenance of the readout, as escaped HTML."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, get_args

from amygdala_tl.diagnostics.records import Diagnosis, VerdictName
from amygdala_tl.report.grid import UNKNOWN, counted, fixed
from amygdala_tl.report.packing import mean_of_known

VERDICTS: tuple[VerdictName, ...] = get_args(VerdictName)
DOT = " \u00b7 "


def model_name(diagnosis: Diagnosis) -> str:
    """Return the name of the model."""
    model = diagnosis.readout.provenance.model
    return "unnamed model" if model is None else model.id


def headline(diagnosis: Diagnosis) -> str:
    """Sum up model and corpus, count the verdicts, and compare the mean held-out AUROC with a bag of words."""
    readout, evaluation = diagnosis.readout, diagnosis.evaluation
    model, texts = readout.provenance.model, readout.text_calibration
    facts = [
        counted(len(diagnosis.concepts), "concept"),
        f"layer{'s' if len(diagnosis.layers) > 1 else ''} {', '.join(map(str, diagnosis.layers))}"
        + ("" if model is None else f" of {model.n_layers}")
        + (", judged by one score over all" if evaluation.combined and len(diagnosis.layers) > 1 else ""),
        *([] if texts is None else [counted(texts.n, "training text")]),
        f"{counted(evaluation.n_groups, 'group')}, each judged by the others",
    ]
    verdicts = [quality.verdict for quality in diagnosis.quality]
    counts: dict[str, int] = {verdict: verdicts.count(verdict) for verdict in VERDICTS}
    pairs = zip(evaluation.auroc.value.tolist(), evaluation.bag_of_words.tolist(), strict=True)
    both = [(ours, words) for ours, words in pairs if ours == ours and words == words]
    ours, words = (mean_of_known(column) for column in zip(*both, strict=True)) if both else (float("nan"),) * 2
    return (
        f'<p class="facts">{escape(DOT.join(facts))}</p>'
        f'<div class="headline">{verdict_bar(counts, {verdict: slug(verdict) for verdict in VERDICTS})}'
        f'<dl class="means"><div><dt>mean held-out AUROC</dt><dd>{fixed(ours)}</dd></div>'
        f"<div><dt>bag of words, same texts</dt><dd>{fixed(words)}</dd></div></dl></div>"
    )


def verdict_bar(counts: Mapping[str, int], looks: Mapping[str, str]) -> str:
    """Show how many concepts got which verdict, as a bar and in numbers.

    Args:
        counts: verdict -> concepts.
        looks: verdict -> name of its colour and mark.
    """
    bars = "".join(
        f'<i class="v-{looks[verdict]}" style="flex-grow:{count}"></i>' for verdict, count in counts.items() if count
    )
    items = "".join(
        f'<li class="v-{looks[verdict]}"><svg class="mark" aria-hidden="true"><use href="#mark-{looks[verdict]}"/></svg>'
        f"<b>{count}</b> {verdict}</li>"
        for verdict, count in counts.items()
    )
    return (
        f'<div class="verdicts"><div class="bar" aria-hidden="true">{bars}</div><ul class="counts">{items}</ul></div>'
    )


def definitions(rows: Mapping[str, str]) -> str:
    """List names and their values, escaped."""
    return (
        f'<dl class="made">{"".join(f"<dt>{escape(name)}</dt><dd>{escape(of)}</dd>" for name, of in rows.items())}</dl>'
    )


def _held_out(diagnosis: Diagnosis) -> str:
    """Say what the readout's own directions reach on texts that nothing was fitted on."""
    if (found := diagnosis.held_out) is None:
        return "none"
    return f"{found.data}, mean AUROC {fixed(mean_of_known(found.auroc.value.tolist()))}"


def provenance(diagnosis: Diagnosis) -> str:
    """Show how the readout was made: a list of settings, the methods compared, and the texts counted."""
    readout, said = diagnosis.readout, diagnosis.readout.provenance
    model = said.model
    calibrated = (("text", readout.text_calibration), ("token", readout.token_calibration))
    rows = {
        "model": None if model is None else listed(model.id, model.revision),
        "architecture": None
        if model is None
        else listed(model.architecture, f"{model.n_layers} layers of {model.d_model}", model.dtype),
        "weights fingerprint": model and model.fingerprint,
        "engine": model and model.engine,
        "hooks": listed(*said.hooks.values()),
        "read position": said.read_position,
        "chat template": said.capture.chat_template,
        "longest text": f"{said.capture.max_tokens} tokens",
        "estimator": _parameters(said.estimator),
        "denoisers": "; ".join(map(_parameters, said.denoisers)) or "none",
        "corpus sha256": said.corpus_sha256,
        "calibrated on": listed(*(counted(of.n, kind) for kind, of in calibrated if of is not None)),
        "evaluated on": f"{diagnosis.evaluation.data}, {counted(diagnosis.evaluation.n_groups, 'group')}",
        "held-out split": _held_out(diagnosis),
        "left out": "; ".join(f"{concept}: {why}" for concept, why in said.left_out.items()) or "nothing",
        "versions": listed(*(f"{name} {version}" for name, version in (model.versions if model else {}).items())),
    }
    made = definitions({name: str(value or UNKNOWN) for name, value in rows.items()})
    return f"{made}{_compared(said.estimator, diagnosis.layers)}{_counted(said.counts)}"


def _compared(estimator: Mapping[str, Any], layers: Sequence[int]) -> str:
    rows = estimator.get("chosen_from") or ()
    if not rows:
        return ""
    body = [
        [str(row.get("method")), str(row["failed"]), *[UNKNOWN] * len(layers)]
        if "failed" in row
        else [str(row.get("method")), *(fixed(value) for value in (row["auroc"], *row["auroc_by_layer"]))]
        for row in rows
    ]
    title = "Methods compared, by mean AUROC on held-out groups of the training texts"
    return _folded(title, ["method", "mean", *(f"layer {layer}" for layer in layers)], body)


def _counted(counts: Mapping[str, Mapping[str, int]]) -> str:
    if not counts:
        return ""
    body = [
        [concept, *(f"{count.get(key, 0):,}" for key in ("positive", "negative"))] for concept, count in counts.items()
    ]
    return _folded("Training texts of each concept", ["concept", "positive", "negative"], body)


def _folded(title: str, header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in body)
    return (
        f'<details><summary>{escape(title)}</summary><div class="scroll" tabindex="0" role="region" aria-label="{escape(title)}">'
        f'<table class="small"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>'
    )


def _parameters(entry: Mapping[str, Any]) -> str:
    """Names and short values, without long tables."""
    shown = [
        ("" if name in ("aggregator", "name") else f"{name} ")
        + (", ".join(map(str, value)) if isinstance(value, list) else str(value))
        for name, value in entry.items()
        if isinstance(value, str | int | float)
        or (isinstance(value, list) and all(isinstance(item, str | int | float) for item in value))
    ]
    return "; ".join(shown)


def listed(*values: object) -> str:
    """Join the values that are not empty with commas."""
    return ", ".join(str(value) for value in values if value)


def slug(verdict: str) -> str:
    """Return the name of a verdict's colour and mark in the page."""
    return verdict.replace(" ", "-")
