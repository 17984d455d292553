"""One HTML file that shows a diagnosis: figures by plotly.js, everything inside, nothing fetched.

The page's parts lie in `assets/`: a template, a style sheet and scripts, which are put together here with the data. A
Content-Security-Policy lets run the scripts of the page alone, by their hashes, and forbids every request, so that a name
or a text of the corpus can do no harm even where escaping should fail.
"""

import base64
import hashlib
import json
import os
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

from amygdala_tl.diagnostics.records import Diagnosis
from amygdala_tl.files import atomic_write_text
from amygdala_tl.report.page_data import page_data
from amygdala_tl.report.page_text import headline, model_name, provenance

SCRIPTS = (
    "core.js",
    "controls.js",
    "details.js",
    "table.js",
    "heldout.js",
    "layers.js",
    "warnings.js",
    "matrix.js",
    "crosstalk.js",
    "map.js",
    "texts.js",
    "main.js",
)
"""In the order in which they run, in one scope."""


def write_report(diagnosis: Diagnosis, path: str | os.PathLike[str]) -> None:
    """Write the report of a diagnosis as one self-contained HTML file, whole or not at all.

    Raises:
        StorageError: the disk refuses, or the folder is missing.
    """
    atomic_write_text(path, report_html(diagnosis))


def report_html(diagnosis: Diagnosis) -> str:
    """The report as HTML; about 5 MB of it are plotly.js."""
    # A browser hashes a script after reading CRLF as LF.
    plotly = get_plotlyjs().replace("\r\n", "\n")
    scripts = "".join(f"\n{_asset(name)}" for name in SCRIPTS)
    code = f'(() => {{\n"use strict";{scripts}\n}})();'
    return Template(_asset("page.html")).substitute(
        title=escape(f"Readout report: {model_name(diagnosis)}"),
        model=escape(model_name(diagnosis)),
        policy=escape(_policy(plotly, code)),
        style=_asset("page.css"),
        headline=headline(diagnosis),
        provenance=provenance(diagnosis),
        data=_json_for_html(page_data(diagnosis)),
        plotly=plotly,
        code=code,
    )


def _asset(name: str) -> str:
    return (files("amygdala_tl.report") / "assets" / name).read_text(encoding="utf-8").replace("\r\n", "\n")


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
    """JSON that cannot end the script element it stands in; NaN is a mistake here."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
