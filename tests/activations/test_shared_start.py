"""What all texts begin with runs once, what follows a text does not run, and no activation notices."""

import pytest
import torch

from amygdala_tl.activations import runner
from amygdala_tl.activations.plan import PlannedShard
from amygdala_tl.activations.runner import pool_texts, tokenize_for
from amygdala_tl.lens.engines import has_hooked_transformer
from amygdala_tl.lens.model import load_model
from amygdala_tl.records import READ_POSITIONS, CaptureSettings

ENGINES = ["TransformerBridge", *(["HookedTransformer"] if has_hooked_transformer() else [])]
TEXTS = [f"Day {day}: the lamp went out{', and I was glad of the dark' * (day % 3)}." for day in range(40)]
SETTINGS = CaptureSettings(chat_template="user")


@pytest.fixture(params=ENGINES)
def tiny(request, tiny_checkpoint):
    return load_model(str(tiny_checkpoint("llama")), "float32", "cpu", engine=request.param)


def tokens_run(tiny, **options):
    """Numbers of tokens of all passes while the texts are pooled, with pads."""
    sizes = []
    handle = tiny.model.blocks[0].hook_resid_pre.register_forward_hook(
        lambda _module, _in, out: sizes.append(out.shape)
    )
    try:
        pool_texts(tiny, TEXTS, [1, 3], "pooled", SETTINGS, **options)
    finally:
        handle.remove()
    return sizes


@pytest.mark.parametrize("position", READ_POSITIONS)
def test_activations_equal_those_of_whole_passes(tiny, position, monkeypatch):
    shared, counts = pool_texts(tiny, TEXTS, [1, 3], position, SETTINGS)
    monkeypatch.setattr(runner, "shared_prefix", lambda *_: None)
    whole, counts_too = pool_texts(tiny, TEXTS, [1, 3], position, SETTINGS)
    assert float(((shared - whole).norm(dim=-1) / whole.norm(dim=-1)).max()) < 1e-5
    assert torch.equal(counts, counts_too)


def test_only_the_texts_own_tokens_run_for_every_text(tiny, monkeypatch):
    monkeypatch.setattr(runner, "CPU_TOKEN_BUDGET", 256)
    tokenized = tokenize_for(tiny, TEXTS, SETTINGS)
    before = tokenized[0].first
    assert before > 10
    assert len(tokenized[0].ids) > tokenized[0].last + 1  # the template goes on behind a text
    own = sum(text.n_tokens for text in tokenized)
    prefix, *trial, last = tokens_run(tiny)
    assert prefix[:2] == (1, before)
    assert sum(rows * tokens for rows, tokens, _ in trial[:2]) == 2 * (before + 24) + 2 * 24
    texts = [*trial[2:], last]
    assert sum(rows for rows, _, _ in texts) == len(TEXTS)
    assert own <= sum(rows * tokens for rows, tokens, _ in texts) < 1.3 * own  # pads
    alone = [text.last + 1 - before for text in tokenized]
    assert len(texts) == len([*runner.pack(alone, token_budget=runner.CPU_TOKEN_BUDGET)])


def test_a_batch_has_no_more_texts_than_asked_for(tiny):
    assert max(rows for rows, _, _ in tokens_run(tiny, batch_size=4)[3:]) <= 4


def test_sampled_tokens_are_those_of_whole_passes(tiny, monkeypatch):
    tokenized = tokenize_for(tiny, TEXTS, SETTINGS)
    ids, where = tuple(map(str, range(len(TEXTS)))), tuple((text.first, text.last) for text in tokenized)
    plan = [PlannedShard((1, 3), ids, tuple(tokenized), where)]

    def sampled():
        found = {}
        for _, part in runner.run_shards(tiny, plan, SETTINGS):
            for row, token in zip(part.pooled.token_rows.tolist(), part.pooled.token_sample, strict=True):
                found.setdefault(part.indices[row], []).append(token.nan_to_num(nan=7.0))
        return torch.stack([torch.stack(found[index]) for index in range(len(TEXTS))])

    shared = sampled()
    monkeypatch.setattr(runner, "shared_prefix", lambda *_: None)
    torch.testing.assert_close(shared, sampled(), rtol=1e-4, atol=1e-4)


def test_what_stands_at_pads_leaves_no_text_out(tiny):
    def spoil(_module, _inputs, out):
        out = out.clone()
        out[1:, -1] = torch.nan  # the longest text comes first
        return out

    handle = tiny.model.blocks[1].hook_resid_post.register_forward_hook(spoil)
    try:
        found, _ = pool_texts(tiny, ["Hi.", "The lamp went out, and nobody lit it again."], [1], "pooled", SETTINGS)
    finally:
        handle.remove()
    assert found.isfinite().all()


def test_a_few_texts_are_not_worth_a_trial(tiny, monkeypatch):
    monkeypatch.setattr(runner, "share_prefix", lambda *_: pytest.fail("a trial"))
    pool_texts(tiny, TEXTS[:3], [1], "pooled", SETTINGS)
