"""Plotly figures with one row a concept, best first: a dot with its interval, on a bar as wide as chance reaches.

Arrays go by concept, and `order` lists the concepts from top to bottom. The page drops the rows that its filters leave out and
names the others. Colours are custom properties of the page's style sheet, such as `var(--ink)`, because the page changes between
light and dark.
"""

import math
from collections.abc import Sequence
from dataclasses import fields
from html import escape
from typing import Any, get_args

import plotly.graph_objects as go
import torch
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.diagnostics.records import Diagnosis, VerdictName
from amygdala_tl.report.erasures import ablation_places, read_again
from amygdala_tl.report.grid import counted, fixed
from amygdala_tl.report.packing import camel, plain
from amygdala_tl.report.page_text import slug
from amygdala_tl.steering.records import Ablation, ConceptSteering, DoseEffect, Refit, SteeringReport
from amygdala_tl.steering.summary import ConceptSummary

BAND = 1.96
"""Deviations of random directions that hold 95% of them."""

SYMBOLS = {
    "readable": "circle",
    "weak": "diamond",
    "redundant": "square",
    "undecided": "triangle-up-open",
    "not readable": "circle-open",
}

Row = Float[Tensor, " concept"]


def held_out_figure(diagnosis: Diagnosis) -> dict[str, Any]:
    """Draw held-out AUROC beside what permuted labels, random directions and a bag of words reach."""
    scores, quality = diagnosis.evaluation, diagnosis.quality
    auroc, low, high = scores.auroc.value, scores.auroc.low, scores.auroc.high
    hover = [
        f"{_heading(diagnosis.concepts[i])}, {quality[i].verdict}<br>"
        f"AUROC {_fixed(auroc[i])} ({_fixed(low[i])} to {_fixed(high[i])})<br>"
        f"null {_fixed(scores.permutation_null[i])}, random directions {_fixed(scores.random_null[i])}<br>"
        f"bag of words {_fixed(scores.bag_of_words[i])}, token embeddings {_fixed(scores.embedding[i])}<br>"
        f"{scores.n_positive[i]} positive, {scores.n_negative[i]} negative texts, layer {quality[i].layer}"
        for i in range(len(auroc))
    ]
    tick = {"symbol": "line-ns", "size": 0.55 * _height(auroc), "line": {"width": 1.6, "color": "var(--muted)"}}
    cross = {"symbol": "x-thin", "size": 7, "line": {"width": 1.5, "color": "var(--ink)"}}
    traces = [
        _bars(torch.full_like(auroc, 0.5), scores.permutation_null),
        go.Scatter(x=plain(scores.random_null), mode="markers", marker=tick, hoverinfo="skip"),
        go.Scatter(x=plain(scores.bag_of_words), mode="markers", marker=cross, hoverinfo="skip"),
    ]
    for verdict in get_args(VerdictName):
        own = torch.tensor([each.verdict == verdict for each in quality])
        marker = {"symbol": SYMBOLS[verdict], "size": 10 if verdict == "weak" else 9}
        traces.append(_dots(auroc.where(own, torch.nan), low, high, hover, f"var(--{slug(verdict)})", marker))
    start = min(0.5, *_finite(torch.stack((auroc, low, scores.bag_of_words))))
    axis = {"range": [max(0, math.floor(10 * start - 0.2)) / 10, 1.005], "tickformat": ".1f"}
    return _figure(auroc.nan_to_num(-1), traces, origin=0.5, title="AUROC on held-out texts", **axis)


def ablation_figures(report: SteeringReport) -> list[dict[str, Any]]:
    """Draw the fall of each concept's words without its direction, beside random directions: one named figure a place.

    Each figure comes with `curves`: the AUROC of each concept's refitted probes by layer, None where no probe was fitted.
    """
    return [
        {"name": name, "figure": _ablation(report, found), "curves": [_curve(each) for each in found]}
        for name, found in ablation_places(report)
    ]  # fmt: skip


def _curve(found: Ablation | None) -> dict[str, Any] | None:
    """Return the AUROCs of refitted probes, by layer."""
    if found is None or not found.refits:
        return None
    columns = {field.name: [getattr(each, field.name) for each in found.refits] for field in fields(Refit)}
    columns = {camel(name): plain(values) for name, values in columns.items()}
    return {"layers": columns.pop("layer"), "erased": list(found.layers), **columns}


def _ablation(report: SteeringReport, found: Sequence[Ablation | None]) -> dict[str, Any]:
    names = ("fall", "low", "high", "random_mean", "random_deviation", "p_value")
    fall, low, high, mean, deviation, p = (
        torch.tensor([torch.nan if (value := getattr(each, name, None)) is None else value for each in found])
        for name in names
    )
    hover = [
        ""
        if each is None
        else f"{_heading(concept.concept)}, {concept.verdict}<br>"
        f"fall {_fixed(fall[i], '+.2f')} nats ({_fixed(low[i], '.2f')} to {_fixed(high[i], '.2f')}), "
        f"{counted(each.texts, 'carrying text')}<br>"
        f"random {_fixed(mean[i], '+.2f')} \u00b1 {_fixed(deviation[i], '.2f')}, p {_fixed(p[i])}{_refitted(each)}"
        for i, (concept, each) in enumerate(zip(report.concepts, found, strict=True))
    ]
    chance = (mean - BAND * deviation, mean + BAND * deviation)
    symbols = ["circle" if significant else "circle-open" for significant in (p <= report.plan.level).tolist()]
    traces = [_bars(*chance), _dots(fall, low, high, hover, "var(--accent)", {"symbol": symbols, "size": 9})]
    known = [0.0, *_finite(torch.stack((fall, low, high, *chance)))]
    room = 0.04 * (max(known) - min(known) or 1)
    axis = {"range": [min(known) - room, max(known) + room], "tickformat": ".2~f"}
    return _figure(fall, traces, origin=0.0, title="fall of the concept's words, nats", **axis)


def seeds_figure(reports: Sequence[SteeringReport], summaries: Sequence[ConceptSummary]) -> dict[str, Any] | None:
    """Draw each concept's effect at its summary's layer and dose, in deviations of each seed's random directions.

    None for one seed.

    A concept's own effect is the same with every seed: what differs is what it is held against.
    """
    if len(reports) == 1:
        return None
    found = [[_at(report.concepts[place], of) for place, of in enumerate(summaries)] for report in reports]
    t = torch.tensor([[torch.nan if at.t is None else at.t for at in row] for row in found])
    traces = [_bars(torch.full_like(t[0], -BAND), torch.full_like(t[0], BAND))]
    for report, row, values in zip(reports, found, t, strict=True):
        hover = [
            f"{_heading(concept.concept)}, seed {report.plan.seed}: {concept.verdict}<br>effect {at.effect:+.2f} nats, random "
            f"{at.random_mean:+.2f} \u00b1 {at.random_deviation:.2f}, p {fixed(at.p_value)}"
            for concept, at in zip(report.concepts, row, strict=True)
        ]  # fmt: skip
        symbols = ["circle" if concept.verdict == "steers" else "circle-open" for concept in report.concepts]
        zero = torch.zeros_like(values)
        traces.append(
            _dots(values, values - zero, values + zero, hover, "var(--accent)", {"symbol": symbols, "size": 8})
        )
    known = [-BAND, BAND, *_finite(t)]
    axis = {"range": [min(known) - 0.3, max(known) + 0.3], "tickformat": ".2~f"}
    return _figure(t.nan_to_num(0.0).mean(dim=0), traces, origin=0.0, title="deviations of random directions", **axis)


def _at(found: ConceptSteering, of: ConceptSummary) -> DoseEffect:
    layer = next(each for each in found.layers if each.layer == of.layer)
    return next(at for at in layer.doses if at.dose == of.at.dose)


def _refitted(found: Ablation) -> str:
    """What plain texts lose, and what a probe fitted anew reads, as more lines of a hover text."""
    lost = "" if found.loss is None else f"<br>plain texts lose {fixed(found.loss, '+.3f')} nats a token"
    at, again = found.refit, read_again(found)
    if at is None:
        return lost
    later = "at no later layer" if again is None else f"again from layer {again}"
    return (
        f"{lost}<br>a new probe reads it with AUROC {fixed(at.after, '.2f')}, before {fixed(at.before, '.2f')}; {later}<br>"
        f"one from unseen texts {fixed(at.unseen, '.2f')}, before {fixed(at.unseen_before, '.2f')}"
    )


def _figure(by: Row, traces: Sequence[Any], *, origin: float, title: str, **axis: Any) -> dict[str, Any]:
    """Traces and layout with an upright line at `origin`, and the order of the concepts that have a finite value in `by`."""
    xaxis = {"title": {"text": title}, "nticks": 12, **axis}
    line = {"yref": "paper", "layer": "below", "line": {"color": "var(--muted)", "width": 1}}
    shapes = [{"type": "line", "x0": origin, "x1": origin, "y0": 0, "y1": 1, **line}]
    figure: dict[str, Any] = go.Figure(traces, {"xaxis": xaxis, "shapes": shapes}).to_plotly_json()
    del figure["layout"]["template"]  # the page has its own looks
    order = by.nan_to_num(-torch.inf).argsort(descending=True, stable=True)[: int(by.isfinite().sum())]
    return {"order": order.tolist(), "row": _height(by), **figure}


def _bars(low: Row, high: Row) -> go.Bar:
    marker = {"color": "var(--null)"}
    return go.Bar(base=plain(low), x=plain(high - low), orientation="h", width=0.62, marker=marker, hoverinfo="skip")


def _dots(value: Row, low: Row, high: Row, hover: list[str], colour: str, marker: dict[str, Any]) -> go.Scatter:
    ends = {"array": plain(high - value), "arrayminus": plain(value - low)}
    return go.Scatter(
        x=plain(value),
        mode="markers",
        hoverinfo="text",
        hovertext=hover,
        marker={**marker, "color": colour, "line": {"width": 1.6, "color": colour}},
        error_x={"type": "data", "symmetric": False, **ends, "color": colour, "thickness": 1.5, "width": 0},
    )


def _height(values: Row) -> int:
    """Pixels of a row."""
    return 18 if len(values) > 40 else 24


def _heading(concept: str) -> str:
    """A name in bold that plotly takes as text: it reads a little markup in hover texts."""
    line = " ".join(concept.split())
    short = line if len(line) <= 40 else line[:39] + "\u2026"
    return f"<b>{escape(short, quote=False)}</b>"


def _finite(values: Tensor) -> list[float]:
    return list(values[values.isfinite()].tolist())


def _fixed(value: Tensor, form: str = ".3f") -> str:
    return fixed(value, form).replace("-", "\u2212")
