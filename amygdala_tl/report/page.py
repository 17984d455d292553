"""One HTML file that shows a diagnosis, a run of the causal check, or both, with figures by plotly.js.

The templates are in `assets/`, the style sheet and scripts in `amygdala_tl/web/`. The page fetches nothing. Its
Content-Security-Policy forbids every request and allows only its own scripts, by their hashes, so a name or text of the corpus
can do no harm even where escaping fails.
"""

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

from amygdala_tl.diagnostics.records import Diagnosis
from amygdala_tl.files import Kind, atomic_write_text
from amygdala_tl.kinds import text_with
from amygdala_tl.report.page_data import page_data
from amygdala_tl.report.page_text import headline, model_name, provenance
from amygdala_tl.report.steering_data import steering_data
from amygdala_tl.report.steering_text import steering_headline, steering_provenance
from amygdala_tl.steering.results import SteeringRun
from amygdala_tl.web.inline import asset, script

DIAGNOSIS_SECTIONS = {
    "verdicts": "Verdicts",
    "heldout": "Held-out scores",
    "layers": "Layers",
    "crosstalk": "Cross-talk",
    "map": "Map",
    "texts": "Texts",
}
STEERING_SECTIONS = {
    "steering": "Steering",
    "doses": "Dose and effect",
    "moves": "Causal cross-talk",
    "removed": "Ablation",
    "said": "Generations",
}
PAGE = Kind("a report", text_with(r"\A<!doctype html>", r"^<title>(Readout report|Causal check): "))

MADE = {"made": "How it was made"}
"""Sections of the page by id, with the names of their links at its top."""


def write_report(diagnosis: Diagnosis, path: str | os.PathLike[str], steering: SteeringRun | None = None) -> None:
    """Write the report of a diagnosis as one self-contained HTML file, atomically.

    Args:
        diagnosis: what to show.
        path: of the file.
        steering: a run of the causal check to show below it.

    Raises:
        StorageError: the file cannot be written, because its folder is missing, or another kind of file is in the way.
    """
    atomic_write_text(path, report_html(diagnosis, steering), PAGE)


def write_steering_page(run: SteeringRun, path: str | os.PathLike[str]) -> None:
    """Write a run of the causal check alone as one self-contained HTML file; raises as `write_report`."""
    atomic_write_text(path, steering_html(run), PAGE)


def report_html(diagnosis: Diagnosis, steering: SteeringRun | None = None) -> str:
    """Return the report as HTML; plotly.js takes about 5 MB of it."""
    data, made = {"diagnosis": page_data(diagnosis)}, provenance(diagnosis)
    if steering is not None:
        data["steering"] = steering_data(steering)
        made += f"<h3>The causal check</h3>{steering_provenance(steering)}"
    return _page(
        f"Readout report: {model_name(diagnosis)}",
        headline(diagnosis),
        DIAGNOSIS_SECTIONS | ({} if steering is None else STEERING_SECTIONS),
        _template("diagnosis.html") + ("" if steering is None else _template("steering.html")),
        made,
        data,
    )


def steering_html(run: SteeringRun) -> str:
    """Return a run of the causal check as HTML."""
    return _page(
        f"Causal check: {run.reports[0].model}",
        steering_headline(run),
        STEERING_SECTIONS,
        _template("steering.html"),
        steering_provenance(run),
        {"steering": steering_data(run)},
    )


def _page(title: str, head: str, sections: Mapping[str, str], body: str, made: str, data: Mapping[str, Any]) -> str:
    # A browser hashes a script after reading CRLF as LF.
    plotly = get_plotlyjs().replace("\r\n", "\n")
    code = script("report/main.js")
    links = (f'<a href="#{section}">{escape(name)}</a>' for section, name in (dict(sections) | MADE).items())
    return Template(_template("page.html")).substitute(
        title=escape(title),
        policy=escape(_policy(plotly, code)),
        style=asset("style.css"),
        first=next(iter(sections)),
        headline=head,
        nav="\n".join(links),
        sections=body,
        provenance=made,
        data=_json_for_html(data),
        plotly=plotly,
        code=code,
    )


def _template(name: str) -> str:
    return (files("amygdala_tl.report") / "assets" / name).read_text(encoding="utf-8")


def _policy(*scripts: str) -> str:
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}'" for script in scripts
    )
    # plotly.js sets inline styles, and draws heatmaps as data: images.
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _json_for_html(value: Any) -> str:
    """JSON that cannot end its script element. NaN raises: the data must not hold any."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
