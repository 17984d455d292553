"""The small inputs that fuzzing starts from, some of which once failed: each is decoded, or refused in one message, at once."""

import time
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
        start = time.process_time()
        with suppress(AmygdalaError):
            target(seed.read_bytes())
        assert time.process_time() - start < 1.0, seed.name


def test_every_folder_of_inputs_has_a_target():
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)
