"""A text that runs in parts has the streams of a whole one, on every architecture, or is refused."""

import pytest
import torch

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.growing import GrowingText, check_growing
from amygdala_tl.lens.model import load_model
from amygdala_tl.lens.residuals import on_resid_post, run_resid_post
from tests.lens.test_residuals import ENGINES, KNOWN_TO_HOOKED_TRANSFORMER, worst_relative
from tests.models import TINY, TINY_FOR_VLLM

LAYERS = [0, 2]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model_type", sorted(TINY | TINY_FOR_VLLM))
def test_a_text_that_runs_in_parts_equals_a_whole_one(model_type, engine, tiny_checkpoint):
    if engine == "HookedTransformer" and model_type not in KNOWN_TO_HOOKED_TRANSFORMER:
        pytest.skip(f"HookedTransformer does not know this {model_type}")
    loaded = load_model(str(tiny_checkpoint(model_type)), "float32", "cpu", engine=engine)
    check_growing(loaded, LAYERS)
    ids = list(range(100, 140))
    text, parts = GrowingText(loaded), []
    for part in (ids[:17], ids[17:18], ids[18:30], ids[30:]):  # the window of some of them is 8
        logits, streams = text.read(part, LAYERS)
        parts.append(streams)
    assert text.n_tokens == 40
    whole = run_resid_post(loaded.model, torch.tensor([ids]), LAYERS)[0]
    assert worst_relative(torch.cat(parts)[None], whole[None]) < 1e-5
    expected = loaded.model(torch.tensor([ids]))[0, -1].float()
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4)


def test_two_texts_that_take_turns_do_not_mix(tiny):
    alone = GrowingText(tiny)
    alone.read([5, 6, 7], LAYERS)
    expected = alone.read([8], LAYERS)[1]
    one, other = GrowingText(tiny), GrowingText(tiny)
    one.read([5, 6, 7], LAYERS)
    other.read([50, 60], LAYERS)
    assert torch.equal(one.read([8], LAYERS)[1], expected)
    assert not torch.equal(other.read([8], LAYERS)[1], expected)


def test_reading_sees_the_edited_stream_and_leaves_no_hook(tiny):
    plain = GrowingText(tiny).read([5, 6], LAYERS)[1]
    handle = on_resid_post(tiny.model, 0, lambda stream: stream + 1)
    edited = GrowingText(tiny).read([5, 6], LAYERS)[1]
    handle.remove()
    torch.testing.assert_close(edited[:, 0], plain[:, 0] + 1)
    assert torch.equal(GrowingText(tiny).read([5, 6], LAYERS)[1], plain)


def test_a_model_that_forgets_what_came_before_is_refused(tiny_checkpoint, monkeypatch):
    from transformers import DynamicCache

    loaded = load_model(str(tiny_checkpoint("llama")), "float32", "cpu", engine="TransformerBridge")
    monkeypatch.setattr(DynamicCache, "update", lambda self, keys, values, *_arguments, **_options: (keys, values))
    with pytest.raises(ModelError, match="llama: the model cannot continue a text from its cache"):
        check_growing(loaded, LAYERS)
