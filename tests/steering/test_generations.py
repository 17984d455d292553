"""Generations of several concepts in one batch, and in a journal."""

import pytest
import torch

from amygdala_tl.lens.model import load_model
from amygdala_tl.steering import generations
from amygdala_tl.steering.blocks import SampleBlock
from amygdala_tl.steering.generations import sample
from amygdala_tl.steering.journal import Journal
from tests.steering.conftest import ENGINES


def block(lens, concept, layer, norm):
    direction = torch.randn(64, generator=torch.Generator().manual_seed(norm))
    prompts, doses = ((5, 900, 77), (8, 21)), (0.0, 0.5)
    return SampleBlock(
        lens.info.key, concept, layer, direction / direction.norm(), doses, float(norm), prompts, 2, 3, 6, 0.7, None
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_several_concepts_in_one_batch_say_what_each_says_alone(engine, tiny_checkpoint, monkeypatch):
    lens = load_model(str(tiny_checkpoint("llama")), device="cpu", engine=engine)
    blocks = [block(lens, "joy", 1, 9), block(lens, "grief", 2, 20), block(lens, "calm", 1, 30)]
    alone = [sample([each], lens, Journal(), lambda: None) for each in blocks]
    assert len({tuple(each.text for each in samples) for samples in alone}) == 3
    assert {each.text for each in alone[0] if each.dose == 0} == {each.text for each in alone[1] if each.dose == 0}
    batches, own = [], generations.generate
    monkeypatch.setattr(generations, "generate", lambda *of, **more: batches.append(len(of[1])) or own(*of, **more))
    done, journal = [], Journal()
    sample(blocks[:1], lens, journal, lambda: None)
    assert sample(blocks, lens, journal, lambda: done.append(1)) == sum(alone, ())
    assert len(done) == 3
    assert batches == [4, 4, 8, 8]  # two prompts; what the journal has does not run again
    monkeypatch.setattr(generations, "ROWS_AT_A_TIME", 8)
    assert sample(blocks, lens, Journal(), lambda: None) == sum(alone, ())
    assert batches[4:] == [8, 8, 4, 4]
