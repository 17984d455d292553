"""The lock of the development environment: it covers what the project asks for, every file with a hash, and names no machine."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / ".ci" / "dev.lock.txt").read_text()
PINNED = dict(re.findall(r"^([a-z0-9-]+)(?:\[[^\]]*\])?==([^ ;]+)", LOCK, re.M))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {
    name: lines
    for name, lines in PROJECT["optional-dependencies"].items()
    if name not in ("ray", "inspect", "notebook")
}  # `dev` is without them
WANTED = [Requirement(line) for line in sum(EXTRAS.values(), PROJECT["dependencies"])]


@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_the_lock_has_a_version_of_everything_that_the_project_asks_for(wanted):
    # The Makefile installs torch first: its builds for CPU and CUDA have one version and different hashes.
    assert wanted.name in ("amygdala-tl", "torch") or wanted.specifier.contains(PINNED[wanted.name])


def test_every_file_has_a_hash_and_no_machine_or_registry_is_named():
    entries = re.split(r"\n(?=\S)", LOCK.strip())
    assert len(entries) == LOCK.count("==") - LOCK.count("== '") > 100
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)
    assert "/" not in LOCK
