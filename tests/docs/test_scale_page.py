"""docs/scale.md holds the tables that its script prints, from figures that other pages hold."""

import importlib.util
import sys

from tests.docs.pages import ROOT

PAGES = {name: (ROOT / f"docs/{name}.md").read_text(encoding="utf-8") for name in ("scale", "performance", "store")}


def test_the_tables_of_the_page_are_those_that_its_script_computes():
    spec = importlib.util.spec_from_file_location("scale_table", ROOT / "benchmarks/scale_table.py")
    script = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = script
    spec.loader.exec_module(script)
    for table in script.tables():
        assert table in PAGES["scale"]


def test_its_measured_inputs_are_figures_of_other_pages():
    for figure in ("1,294 tokens/s", "189,540 tokens", "11,000 texts", "20,000 training texts | 90 s", "1,460 texts/s"):
        assert figure in PAGES["performance"]
    assert "165 bytes" in PAGES["store"]
