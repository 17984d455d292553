"""Generated tokens become the text that the tokenizer gives for all of them, up to a stop string; and how tokens are chosen."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from amygdala_tl.lens.embedded import embedded_checkpoint
from amygdala_tl.routes.text import GrowingString, token_texts
from amygdala_tl.serve.sampling import Sampler, Sampling

TEXTS = st.text(max_size=40) | st.lists(st.sampled_from([" the", "😀", "é", "\n\n", "a", "雨", "ab", " "])).map("".join)


@pytest.fixture(scope="module")
def tokenizer(converted):
    return AutoTokenizer.from_pretrained(embedded_checkpoint())


def grown(tokenizer, ids, stops=()):
    """The parts of a text, token by token, and what comes at its end."""
    string, parts = GrowingString(tokenizer, stops), []
    for token in ids:
        parts.append(string.add(token))
        if string.stopped:
            break
    return [*parts, string.finish()]


@given(text=TEXTS)
def test_parts_together_are_the_whole_text_and_no_part_is_within_a_character(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False).input_ids
    parts = grown(tokenizer, ids)
    whole = tokenizer.decode(ids, skip_special_tokens=True)
    assert "".join(parts) == whole
    assert "\ufffd" in whole or not any("\ufffd" in part for part in parts)


@given(text=TEXTS)
def test_texts_of_a_prompts_tokens_are_the_prompt_with_its_special_tokens(tokenizer, text):
    ids = tokenizer(f"<|im_start|>{text}<|im_end|>", add_special_tokens=False).input_ids
    texts = token_texts(tokenizer, ids)
    assert len(texts) == len(ids)
    whole = tokenizer.decode(ids)
    assert "".join(texts) == whole
    assert "\ufffd" in whole or not any("\ufffd" in part for part in texts)
    assert "\ufffd" in whole or (texts[0], texts[-1]) == ("<|im_start|>", "<|im_end|>")


@given(text=TEXTS, stops=st.lists(st.text(min_size=1, max_size=3) | st.sampled_from(["ab", " the", "\n"]), max_size=3))
def test_a_text_ends_before_the_first_stop_string(tokenizer, text, stops):
    ids = tokenizer(text, add_special_tokens=False).input_ids
    whole = tokenizer.decode(ids, skip_special_tokens=True)
    found = [place for stop in stops if (place := whole.find(stop)) >= 0]
    ended = "".join(grown(tokenizer, ids, stops))
    if not found:
        assert ended == whole
    else:  # a token may hold two of them, and the first that is whole ends the text
        assert whole.startswith(ended)
        assert not any(stop in ended for stop in stops)


LOGITS = torch.tensor([0.0, 3.0, 2.0, -50.0])


def test_no_temperature_takes_the_most_likely_token():
    assert {Sampler(Sampling(temperature=0.0)).choose(LOGITS) for _ in range(5)} == {1}


def test_samples_follow_the_distribution_and_the_nucleus_leaves_out_its_tail():
    def shares(**said):
        sampler = Sampler(Sampling(seed=3, **said))
        found = torch.tensor([sampler.choose(LOGITS) for _ in range(1500)])
        return torch.bincount(found, minlength=4) / 1500

    torch.testing.assert_close(shares(), LOGITS.softmax(dim=0), atol=0.04, rtol=0)
    torch.testing.assert_close(shares(temperature=2.0), (LOGITS / 2).softmax(dim=0), atol=0.04, rtol=0)
    kept = LOGITS.softmax(dim=0)[1:3]
    torch.testing.assert_close(shares(top_p=0.8)[1:3], kept / kept.sum(), atol=0.04, rtol=0)
    assert shares(top_p=0.8)[0] == 0
    assert shares(top_p=0.01)[1] == 1


def test_a_seed_gives_the_same_tokens_whatever_else_is_sampled():
    flat = torch.zeros(1000)
    alone = Sampler(Sampling(seed=7))
    expected = [alone.choose(flat) for _ in range(5)]
    again, other = Sampler(Sampling(seed=7)), Sampler(Sampling())
    assert [(again.choose(flat), other.choose(flat))[0] for _ in range(5)] == expected
