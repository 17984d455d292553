"""The static text of the steering page: its headline and the provenance of the run, as escaped HTML."""

from collections import Counter
from html import escape

from amygdala_tl.report.grid import counted
from amygdala_tl.report.page_text import DOT, definitions, listed, verdict_bar
from amygdala_tl.steering.results import About, SteeringRun
from amygdala_tl.steering.summary import summarise

LOOKS = {"steers": "readable", "reads only": "weak", "neither": "not-readable"}
"""Verdict -> name of its colour and mark."""


def steering_headline(run: SteeringRun) -> str:
    """Sum up what was checked, count the verdicts, and name the largest effect."""
    plan, found = run.plan, summarise(run.reports)
    layers = ", ".join(map(str, plan.layers))
    controls = run.reports[0].controls
    random = sum(count for kind, count in controls.items() if kind in ("random", "orthogonal"))
    facts = [
        counted(len(plan.concepts), "concept"),
        f"layer{'s' if len(plan.layers) > 1 else ''} {layers}",
        f"doses {', '.join(f'{dose:g}' for dose in plan.doses if dose)}",
        counted(random, "random direction"),
        *([f"{controls['shuffled']} of shuffled labels"] if "shuffled" in controls else []),
        *([f"{counted(len(run.reports), 'seed')}, figures of the first"] if len(run.reports) > 1 else []),
    ]
    counts = Counter(str(each.verdict) for each in found)
    bar = verdict_bar({verdict: counts[verdict] for verdict in LOOKS}, LOOKS)
    best = max((each for each in found if each.verdict == "steers"), key=lambda each: each.at.effect, default=None)
    strongest = (
        ""
        if best is None
        else '<dl class="means"><div><dt>largest effect, nats: '
        f"{escape(best.concept)}</dt><dd>{best.at.effect:.2f}</dd></div></dl>"
    )
    return f'<p class="facts">{escape(DOT.join(facts))}</p><div class="headline">{bar}{strongest}</div>'


def steering_provenance(run: SteeringRun) -> str:
    """Show how the run was made."""
    plan, about, report = run.plan, run.about or About(), run.reports[0]
    model, readout = about.model, about.readout
    rows = {
        "model": listed(model.id or report.model, model.revision),
        "weights fingerprint": model.fingerprint,
        "engine": listed(model.engine, model.dtype),
        "readout sha256": readout.sha256,
        "estimator": readout.estimator,
        "corpus sha256": about.corpus_sha256,
        "dose 1 is a norm of": "; ".join(f"{norm:g} at layer {layer}" for layer, norm in report.norms.items()),
        "prompts": about.prompts_sha256 and f"{report.prompts}, sha256 {about.prompts_sha256}",
        "controls a layer": listed(*(f"{count} {kind}" for kind, count in report.controls.items())),
        "a dose breaks the model at": f"{plan.most_loss:g} nats a token",
        "level": f"{plan.level:g}, over concepts",
        "seeds": listed(*(str(each.plan.seed) for each in run.reports)),
        "versions": listed(*(f"{name} {version}" for name, version in about.versions.items())),
    }
    return definitions({name: str(value) for name, value in rows.items() if value})
