"""The static text of the steering page: its headline and the provenance of the run, as escaped HTML."""

from collections import Counter
from collections.abc import Mapping
from html import escape
from typing import Any

from amygdala_tl.report.page_text import DOT, counted, definitions, listed, verdict_bar
from amygdala_tl.steering.stored import StoredRun
from amygdala_tl.steering.summary import summarise

LOOKS = {"steers": "readable", "reads only": "weak", "neither": "not-readable"}
"""Verdict -> name of its colour and mark."""


def steering_headline(run: StoredRun) -> str:
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


def steering_provenance(run: StoredRun) -> str:
    """Show how the run was made."""
    plan, about = run.plan, run.about
    model, readout = (_table(about, key) for key in ("model", "readout"))
    rows = {
        "model": listed(model.get("id") or run.reports[0].model, model.get("revision")),
        "weights fingerprint": model.get("fingerprint"),
        "engine": listed(model.get("engine"), model.get("dtype")),
        "readout sha256": readout.get("sha256"),
        "estimator": readout.get("estimator"),
        "corpus sha256": about.get("corpus_sha256"),
        "dose 1 is a norm of": "; ".join(f"{norm:g} at layer {layer}" for layer, norm in run.reports[0].norms.items()),
        "prompts": f"{run.reports[0].prompts}, sha256 {about['prompts_sha256']}" if "prompts_sha256" in about else None,
        "controls a layer": listed(*(f"{count} {kind}" for kind, count in run.reports[0].controls.items())),
        "a dose breaks the model at": f"{plan.most_loss:g} nats a token",
        "level": f"{plan.level:g}, over concepts, layers and doses",
        "seeds": listed(*(str(report.plan.seed) for report in run.reports)),
        "versions": listed(*(f"{name} {version}" for name, version in _table(about, "versions").items())),
    }
    return definitions({name: str(value) for name, value in rows.items() if value})


def run_model(run: StoredRun) -> str:
    """Return the name of the model."""
    return run.reports[0].model


def _table(about: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = about.get(key)
    return found if isinstance(found, Mapping) else {}
