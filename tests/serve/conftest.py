"""A real `serve` application of the embedded model, with random directions that are calibrated on it."""

import dataclasses

import pytest
import torch

from amygdala_tl.lens.residuals import run_resid_post
from amygdala_tl.readout.erasing import Erasing
from amygdala_tl.readout.provenance import Provenance
from amygdala_tl.readout.record import Readout
from amygdala_tl.readout.scale import Combined, Scale
from amygdala_tl.records import Calibration
from tests.report.conftest import browser  # noqa: F401
from tests.serve.page import answer_of_a_module, opening, visit, with_an_answer  # noqa: F401
from tests.servers import running_app

LAYERS = (6, 14, 23)
CONCEPTS = ("awe", "calm", "grief", "joy")


def readout_of(lens, n_concepts=None, layers=LAYERS):
    """A readout of unit directions, with z over the tokens of a plain text."""
    concepts = CONCEPTS if n_concepts is None else tuple(f"concept {at:03}" for at in range(n_concepts))
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(len(layers), len(concepts), lens.info.d_model, generator=generator)
    vectors = (vectors / vectors.norm(dim=-1, keepdim=True)).half().float()
    ids = lens.tokenizer("The tide came in again, as it does, and nobody was there to see it. " * 2).input_ids
    streams = run_resid_post(lens.model, torch.tensor([ids]), layers)[0, 1:].float()
    bare = Readout(concepts, tuple(layers), vectors, provenance=Provenance(model=lens.info))
    scores = bare.scores(streams)
    tokens = Calibration(scores.mean(dim=0), scores.std(dim=0), len(scores))
    total = (scores / tokens.std).sum(dim=1)
    combined = Calibration(total.mean(dim=0)[None], total.std(dim=0)[None], len(scores))
    return dataclasses.replace(
        bare, token_calibration=tokens, combined=Combined(1 / tokens.std, Scale(None, combined, None))
    )


@pytest.fixture(scope="session")
def readout(embedded):
    """A readout that has write vectors, and erases: what reads a concept becomes what it reads of a mean."""
    bare = readout_of(embedded)
    other = torch.randn(bare.vectors.shape, generator=torch.Generator().manual_seed(3))
    steers = bare.vectors + other / other.norm(dim=-1, keepdim=True)
    bare = dataclasses.replace(bare, write_vectors=steers / steers.norm(dim=-1, keepdim=True))
    generator = torch.Generator().manual_seed(2)
    write = bare.vectors + 0.02 * torch.randn(bare.vectors.shape, generator=generator)
    mean = 100 * torch.randn(len(LAYERS), bare.d_model, generator=generator)
    return dataclasses.replace(bare, erasing=Erasing(bare.vectors, write / write.norm(dim=-1, keepdim=True), mean))


@pytest.fixture(scope="package")
def url(embedded, readout):
    """Address of a running server."""
    from amygdala_tl.serve.app import readout_app

    with running_app(readout_app(readout, embedded)) as address:
        yield address


@pytest.fixture(scope="package")
def many_url(embedded):
    """Address of a server with 171 concepts."""
    from amygdala_tl.serve.app import readout_app

    with running_app(readout_app(readout_of(embedded, 171), embedded)) as address:
        yield address


@pytest.fixture(scope="package")
def some_url(embedded):
    """Address of a server with 16 concepts."""
    from amygdala_tl.serve.app import readout_app

    with running_app(readout_app(readout_of(embedded, 16), embedded)) as address:
        yield address
