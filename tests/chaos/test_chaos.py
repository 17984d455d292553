"""A short form of `make chaos`: the same trials, a few of each kind."""

import pytest

from tests.chaos.objects import object_server
from tests.chaos.report import table
from tests.chaos.stage import build
from tests.chaos.trials import KINDS, Scene, Trial, attempt

FEW = [
    *(Trial("kill before a change", "export", number) for number in range(9)),
    *(Trial("kill before a change", "extract over an older corpus", number) for number in (3, 6)),
    *(Trial(kind, "export", 0) for kind in KINDS if kind not in ("kill before a change", "small disk")),
    Trial("kill", "capture", 0),
    *(Trial("kill before a change", "capture into an object store", number) for number in (0, 3)),
    Trial("full disk", "capture into an object store", 0),
]


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """A stage with everything that the commands need."""
    monkeypatch.setenv("AMYGDALA_TL_CACHE", str(tmp_path / "cache"))
    tmp_path.parent.chmod(0o755)
    tmp_path.chmod(0o755)  # another user reads below it
    found = Scene(tmp_path)
    with object_server(tmp_path):
        build(found.stage)
        yield found


def test_nothing_is_lost_by_kills_full_disks_or_missing_permissions(scene):
    outcomes = [attempt(scene, trial) for trial in FEW]
    assert not [each.line for each in outcomes if each.lost], table(outcomes)
    assert sum(not each.skipped for each in outcomes) > len(FEW) / 2
