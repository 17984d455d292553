"""The small inputs that fuzzing starts from, some of which once failed: each is decoded, or refused in one message."""

from contextlib import suppress
from pathlib import Path

import pytest

from amygdala_tl.errors import AmygdalaError
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("name", TARGETS)
def test_what_fuzzing_starts_from_is_decoded_or_refused(name):
    target, seeds = TARGETS[name](), sorted((CORPUS / name).iterdir())
    assert len(seeds) >= 2
    for seed in seeds:
        with suppress(AmygdalaError):
            target(seed.read_bytes())


def test_every_folder_of_inputs_has_a_target():
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)
