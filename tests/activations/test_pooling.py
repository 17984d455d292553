"""What is pooled: the text's own tokens, sinks left out, whatever stands beside the text in its batch."""

import pytest
import torch

from amygdala_tl.activations.pooling import SINK_RATIO, readable_tokens
from amygdala_tl.activations.runner import pool_texts, run_batches, tokenize_for
from amygdala_tl.lens.residuals import run_resid_post
from amygdala_tl.records import READ_POSITIONS, CaptureSettings

TEXTS = [
    "The tide gauge stopped at four, and nobody came.",
    "Hi",
    "a",
    "Rain.",
    "We sang until the lamps went out; then somebody found a candle, and we sang again, more softly, for the dog.",
    "Caf\u00e9 \u2014 \u96e8\u304c\u964d\u308b\uff01 \U0001f30a",
    "!!! ???",
]
LAYERS = [1, 10, 20]
PLAIN = CaptureSettings()


def naive_pool(tokens, stream, position):
    """One text alone, token by token, in plain Python: from its tokens and its stream [token, d_model] at a layer."""
    own = [index for index, mine in enumerate(tokens.content) if mine]
    if position == "last":
        return stream[own[-1]]
    if position == "last-content":
        return stream[tokens.last_content]
    norms = {index: float(stream[index].norm()) for index in own}
    median = sorted(norms.values())[(len(own) - 1) // 2]
    read = [index for index in own if index > 0 and norms[index] <= SINK_RATIO * median] or own
    return sum(stream[index] for index in read) / len(read)


@pytest.mark.parametrize("position", READ_POSITIONS)
def test_pooling_equals_a_naive_loop_over_tokens_one_text_at_a_time(embedded, position):
    batched = pool_texts(embedded, TEXTS, LAYERS, position, PLAIN)[0]
    for row, text in enumerate(TEXTS):
        tokens = tokenize_for(embedded, [text], PLAIN)[0]
        streams = run_resid_post(embedded.model, torch.tensor([tokens.ids]), LAYERS)[0].float()
        for column, layer in enumerate(LAYERS):
            expected = naive_pool(tokens, streams[:, column], position)
            assert (batched[row, column] - expected).norm() / expected.norm() < 1e-5, (text, layer)


@pytest.mark.parametrize(
    ("position", "template"), [("pooled", "none"), ("last", "none"), ("last-content", "user"), ("pooled", "assistant")]
)
def test_activations_do_not_depend_on_batch_size_order_or_batch_mates(embedded, position, template):
    settings = CaptureSettings(chat_template=template)
    together = pool_texts(embedded, TEXTS, LAYERS, position, settings)[0]
    alone = torch.cat([pool_texts(embedded, [text], LAYERS, position, settings)[0] for text in TEXTS])
    reverse = pool_texts(embedded, TEXTS[::-1], LAYERS, position, settings, batch_size=2)[0].flip(0)
    for other in (alone, reverse):
        assert ((together - other).norm(dim=-1) / together.norm(dim=-1)).max() < 1e-5


def test_the_first_token_is_a_sink_in_the_embedded_model_and_is_not_pooled(embedded):
    text = TEXTS[4]
    stream = run_resid_post(embedded.model, torch.tensor([tokenize_for(embedded, [text], PLAIN)[0].ids]), [20])[0, :, 0]
    assert stream[0].norm() > 50 * stream[1:].norm(dim=-1).median()
    pooled = pool_texts(embedded, [text], [20], "pooled", PLAIN)[0][0, 0]
    torch.testing.assert_close(pooled, stream[1:].mean(dim=0), rtol=1e-4, atol=1e-3)


def test_a_massive_token_that_is_not_the_first_is_not_pooled_either(embedded):
    tokens = tokenize_for(embedded, [TEXTS[0]], PLAIN)
    batch = next(run_batches(embedded, tokens, [20]))
    assert batch.readable[0, 1:, 0].all()
    batch.residuals[0, 5] *= 30.0
    assert not readable_tokens(batch.residuals, batch.tokens)[0, 5, 0]


def test_a_text_of_one_token_is_read_at_that_token_and_marked(embedded):
    assert len(tokenize_for(embedded, ["a"], PLAIN)[0].ids) == 1
    activations, counts = pool_texts(embedded, ["a", "a tide"], LAYERS, "pooled", PLAIN)
    assert torch.isfinite(activations).all()
    assert counts.tolist() == [[0] * len(LAYERS), [1] * len(LAYERS)]
    last = pool_texts(embedded, ["a"], LAYERS, "last", PLAIN)[0]
    assert ((activations[:1] - last).norm(dim=-1) / last.norm(dim=-1)).max() < 1e-5


def test_last_content_skips_the_full_stop(embedded):
    tokens = tokenize_for(embedded, ["It rained all night."], PLAIN)[0]
    assert embedded.tokenizer.decode([tokens.ids[tokens.last]]) == "."
    assert embedded.tokenizer.decode([tokens.ids[tokens.last_content]]).strip() == "night"
