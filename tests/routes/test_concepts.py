"""Metrics of chosen concepts, and the dashboard and rules that are made of them."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch

from amygdala_tl.errors import InputError
from amygdala_tl.routes.collector import collector_of
from amygdala_tl.routes.concepts import MOST_CONCEPTS, metrics_rules
from amygdala_tl.routes.dashboard import grafana_dashboard, prometheus_rules
from amygdala_tl.routes.metrics import TextMetrics
from amygdala_tl.routes.rules import rule_of
from amygdala_tl.routes.store import Entry, Step
from tests.cli.conftest import run
from tests.readout.example import a_readout

READOUT = a_readout()
NAMES = ("grief", 'a "b".c\\d', "engine")


def numbers(collector):
    """Name with labels -> number."""
    lines = [line for line in collector.metrics.text().splitlines() if not line.startswith("#")]
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}


def test_tokens_are_counted_by_the_z_of_the_window_that_they_end():
    collector = collector_of(
        READOUT, TextMetrics, with_text=False, rules=[rule_of("joy>2@window=4")], concepts=["GRIEF"]
    )
    collector.watch()
    random = np.random.default_rng(0)
    z = []
    for name, n in (("a", 90), ("b", 10), ("c", 40)):
        scores = (2 * random.normal(size=(2, 3)) + random.normal(size=(n, 2, 3))).astype(np.float32)
        collector.store.open(Entry(name, name, 0, [1, 2]))
        for token in range(n):
            collector.store.add(Step(((name, 1),), np.array([token + 1]), scores[token][None]))
        collector.store.finish(name)
        for end in range(16, n + 1):
            own = scores[max(0, end - 64) : end]
            mean = np.mean(own, axis=0, dtype=np.float64).astype(np.float32)

            z.append(float(READOUT.combined_z(torch.from_numpy(mean), tokens=len(own))[2]))
    found = numbers(collector)
    tokens = {
        edge: found[f'amygdala_tl_concept_tokens_total{{concept="grief",above="{edge}"}}']
        for edge in ("any", *range(-4, 5))
    }
    assert tokens == {"any": len(z)} | {edge: sum(each > edge for each in z) for edge in range(-4, 5)}
    assert 0 < tokens[0] < tokens[-1] <= tokens["any"], "10 tokens are no window yet"
    assert 'amygdala_tl_concept_z{concept="grief",window="64"}' in found
    assert 'amygdala_tl_alerts_total{rule="joy>2@window=4"}' in found


def test_metrics_of_concepts_need_no_alerts_and_names_of_other_metrics_do_not_clash():
    readout = a_readout(concepts=NAMES)
    collector = collector_of(readout, TextMetrics, with_text=False, concepts=NAMES)
    collector.metrics.count("engine")
    found = numbers(collector)
    assert found['amygdala_tl_failures_total{where="engine"}'] == 1
    assert found['amygdala_tl_concept_tokens_total{concept="engine",above="any"}'] == 0
    assert found['amygdala_tl_concept_z{concept="a \\"b\\".c\\\\d",window="64"}'] == 0
    assert collector.alerts is None
    assert collector_of(readout, TextMetrics, with_text=False).concepts is None


def test_so_many_concepts_have_metrics_and_no_more():
    readout = a_readout(concepts=tuple(f"c{at}" for at in range(MOST_CONCEPTS + 1)))
    assert len(metrics_rules(readout.concepts[:-1], readout)) == MOST_CONCEPTS
    with pytest.raises(InputError, match="too many concepts"):
        metrics_rules(readout.concepts, readout)
    with pytest.raises(InputError, match="no such concept"):
        metrics_rules(["envy"], readout)


@pytest.mark.parametrize("names", [(), NAMES])
def test_dashboard_and_rules_name_only_metrics_that_a_server_has(names):
    metrics = TextMetrics(["grief>3@window=64"], names)
    there = {line.split(" ")[2] for line in metrics.text().splitlines() if line.startswith("# TYPE")}
    made = grafana_dashboard(names)
    expressions = [target["expr"] for panel in made["panels"] for target in panel["targets"]]
    named = set(re.findall(r"amygdala_tl_\w+", " ".join([*expressions, prometheus_rules(names)])))
    assert named <= there
    assert any("concept" in name for name in named) == bool(names)
    places = [tuple(panel["gridPos"].values()) for panel in made["panels"]]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in made["panels"]})
    assert json.loads(json.dumps(made)) == made


def test_the_command_needs_a_bundle_for_concepts_only(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "dashboard")
    assert (code, json.loads(out)) == (0, grafana_dashboard(()))
    code, _, err = run(capsys, "dashboard", "--concepts", "grief")
    assert (code, "readout.json: cannot be read" in err) == (2, True)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is needed (Debian package prometheus)")
@pytest.mark.parametrize("names", [(), NAMES])
def test_prometheus_takes_the_rules_and_the_expressions_of_the_dashboard(tmp_path, names):
    panels = [target["expr"] for panel in grafana_dashboard(names)["panels"] for target in panel["targets"]]
    shown = [each.replace("${concept:doublequote}", '"grief"') for each in panels]
    records = "".join(f"      - record: panel{at}\n        expr: {json.dumps(each)}\n" for at, each in enumerate(shown))
    (tmp_path / "rules.yml").write_text(prometheus_rules(names) + records)
    done = subprocess.run(
        ["promtool", "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{4 + bool(names) + len(shown)} rules found" in done.stdout
