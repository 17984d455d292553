"""The data that Python hands to a page, checked by TypeScript against the types that the page's scripts are checked with."""

import json
import subprocess
from pathlib import Path

import pytest

import amygdala_tl.web
from amygdala_tl.report.page_data import page_data
from amygdala_tl.report.steering_data import steering_data
from tests.report.example import example_diagnosis
from tests.report.steering_example import example_run

TSC = Path(__file__).parents[2] / ".ci/web/node_modules/.bin/tsc"
TYPES = Path(amygdala_tl.web.__file__).parent / "report/types.d.ts"
needs_tsc = pytest.mark.skipif(not TSC.exists(), reason="TypeScript is not installed (make lint-web)")


def errors(data, folder):
    """What TypeScript says about a page's data."""
    source = folder / "data.ts"
    source.write_text(
        f'import type {{ PageData }} from "{TYPES}";\nexport const data: PageData = {json.dumps(data)};\n'
    )
    options = ["--noEmit", "--strict", "--allowImportingTsExtensions", "--target", "es2024", "--module", "esnext"]
    done = subprocess.run([TSC, *options, source], capture_output=True, text=True, check=False)
    return done.stdout


@needs_tsc
@pytest.mark.parametrize("n_concepts", [4, 16])
def test_the_data_of_a_page_have_the_types_that_its_scripts_expect(n_concepts, tmp_path):
    diagnosis, run = example_diagnosis(n_concepts), example_run(n_concepts, seeds=(0, 1))
    data = {"diagnosis": page_data(diagnosis), "steering": steering_data(run)}
    assert errors(data, tmp_path) == ""
    assert errors({"steering": data["steering"]}, tmp_path) == ""


@needs_tsc
def test_a_missing_and_an_unknown_value_are_found(tmp_path):
    diagnosis = page_data(example_diagnosis(4))
    assert "extra" in errors({"diagnosis": diagnosis | {"extra": 1}}, tmp_path)
    del diagnosis["quality"][0]["reason"]
    assert "reason" in errors({"diagnosis": diagnosis}, tmp_path)
