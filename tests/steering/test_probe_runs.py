"""Texts that run from the lowest edit on give what whole passes give, on every engine and behind a shared prefix."""

import pytest
import torch

from amygdala_tl.activations import resumed
from amygdala_tl.activations.runner import pool_texts
from amygdala_tl.api.probe_runs import runs_of
from amygdala_tl.lens.model import load_model
from amygdala_tl.records import CaptureSettings
from amygdala_tl.steering.edits import NOT_FIRST, Add
from amygdala_tl.steering.hooks import intervene
from tests.steering.conftest import ENGINES

TEXTS = {f"{day}": f"Day {day}: the lamp went out{', and I was glad' * (day % 3)}." for day in range(12)}
SETTINGS = CaptureSettings(chat_template="user")


def push(seed):
    direction = torch.randn(64, generator=torch.Generator().manual_seed(seed))
    return Add(direction / direction.norm(), amount=3.0, where=NOT_FIRST)  # twice is not once, as it is for an erasure


def whole(model, ids, edits, layers):
    with intervene(model, edits):
        return pool_texts(model, [TEXTS[name] for name in ids], layers, "pooled", SETTINGS)[0]


def test_what_runs_from_the_lowest_edit_on_equals_whole_passes(model):
    run = runs_of(model, TEXTS, "pooled", SETTINGS)
    for ids, edits, layers in (
        (list(TEXTS), {}, [1, 2, 3]),
        (["7", "0", "11"], {1: [push(1)], 3: [push(3)]}, [1, 2, 3]),
        (["5", "6"], {3: [push(4)]}, [3]),
    ):
        torch.testing.assert_close(run(ids, edits, layers), whole(model, ids, edits, layers), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_texts_run_up_to_a_layer_once_and_no_layer_below_an_edit_runs_again(engine, tiny_checkpoint, monkeypatch):
    model = load_model(str(tiny_checkpoint("llama")), device="cpu", engine=engine)
    passes, prefixes = [], []
    own = resumed.run_prefix
    monkeypatch.setattr(resumed, "run_prefix", lambda *of: prefixes.append(len(of[1])) or own(*of))
    run = runs_of(model, TEXTS, "pooled", SETTINGS)
    run(["3"], {1: [push(1)]}, [3])

    def seen(_module, _inputs, out):
        passes.append(out.shape[:2])

    handles = [model.model.blocks[layer].hook_resid_post.register_forward_hook(seen) for layer in (0, 3)]
    run(list(TEXTS)[:2], {1: [push(5)]}, [3])
    for handle in handles:
        handle.remove()
    assert min(prefixes) > 10
    assert passes.count((1, prefixes[0])) == 2  # what all texts begin with
    assert sum(rows for rows, tokens in passes if tokens != prefixes[0]) == 2  # both texts, above the edit alone
