"""Words of concepts as tokens."""

import math

import pytest
import torch

from amygdala_tl.errors import InputError
from amygdala_tl.readout.dose import PLAIN_TEXTS, PLAIN_TOKENS, plain_tokens
from amygdala_tl.steering.generations import repetition
from amygdala_tl.steering.prompts import carrier_tokens, open_prompts, sample_prompts
from amygdala_tl.steering.words import concept_words, read_words, word_list
from tests.lens.made_tokenizers import made


def test_every_word_counts_for_one_concept_only_and_is_one_token(embedded):
    words = concept_words(embedded.tokenizer, sorted(word_list()))
    assert len(set(words.tokens.tolist())) == len(words.tokens)
    torch.testing.assert_close(words.share.nansum(dim=0)[~words.share.isnan().any(dim=0)].unique(), torch.tensor([1.0]))
    for token, row in zip(words.tokens.tolist(), words.share, strict=True):
        concept = words.concepts[int(row.nan_to_num().argmax())]
        assert embedded.tokenizer.decode([token]).strip() in words.words[concept]


@pytest.mark.parametrize("kind", ["byte-level", "first", "always", "never", "llama"])
@pytest.mark.parametrize("options", [{}, {"add_prefix_space": True, "byte_fallback": True}], ids=str)
def test_words_are_found_as_they_stand_in_a_sentence_with_any_tokenizer(kind, options):
    tokenizer = made(kind, vocabulary=900, **options)
    words = concept_words(tokenizer, ("joy", "grief", "fear"), {"joy": ["happy"], "grief": ["sad"], "fear": ["afraid"]})
    assert words.words == {"joy": ("happy",), "grief": ("sad",), "fear": ("afraid",)}
    for token, word in zip(words.tokens.tolist(), ["happy", "sad", "afraid"], strict=True):
        assert tokenizer(f"I was {word}", add_special_tokens=False).input_ids[-1] == token


def test_a_space_alone_is_nobodys_word():
    with pytest.raises(InputError, match="no concept has a word of its own"):
        concept_words(made("first"), ("a",), {"a": ["xxxx"]})


def test_a_template_that_fails_is_as_good_as_none_for_prompts():
    assert open_prompts(made(template="{{ 1 / 0 }}")) == open_prompts(made(template=None))


def test_of_a_long_text_with_a_concept_only_the_beginning_is_tokenized():
    tokenizer, seen = made(), []
    encode = tokenizer._encode_plus
    tokenizer._encode_plus = lambda text, *rest, **options: seen.append(text) or encode(text, *rest, **options)
    found = carrier_tokens(tokenizer, "I was happy. " * 10_000)
    assert max(map(len, seen)) < 10_000
    assert found == carrier_tokens(tokenizer, "I was happy. " * 20)


def test_a_word_that_two_concepts_share_counts_for_neither(tiny):
    words = concept_words(tiny.tokenizer, ("a", "b"), {"a": ["happy", "glad"], "b": ["sad", "happy"]})
    assert words.words == {"a": ("glad",), "b": ("sad",)}


def test_a_concept_that_is_not_in_the_list_is_its_own_word(tiny):
    assert concept_words(tiny.tokenizer, ("joy", "serendipity")).words["serendipity"]
    assert concept_words(tiny.tokenizer, ("joy", "Tuesday")).words["Tuesday"] == ("Tuesday",)


def test_a_concept_without_a_word_of_its_own_has_no_effect_and_does_not_spoil_the_others(tiny):
    words = concept_words(tiny.tokenizer, ("a", "b", "c"), {"a": ["glad"], "b": ["sad", "proud"], "c": ["proud"]})
    contrast = words.contrast(torch.tensor([[1.0, 4.0]]))
    assert contrast[0, :2].tolist() == [-3.0, 3.0]
    assert math.isnan(contrast[0, 2])


def test_tested_concepts_are_held_against_the_words_of_all_concepts(tiny):
    names, own = ("a", "b", "c"), {"a": ["glad"], "b": ["sad"], "c": ["proud"]}
    logits = torch.tensor([[1.0, 4.0, 9.0], [2.0, 0.0, 5.0]])
    every = concept_words(tiny.tokenizer, names, own).contrast(logits)
    for tested in (("b",), ("c", "a"), names):
        found = concept_words(tiny.tokenizer, names, own, tested=tested).contrast(logits)
        torch.testing.assert_close(found, every[:, [names.index(name) for name in tested]])
    with pytest.raises(InputError, match="in `words`"):
        concept_words(tiny.tokenizer, ("a", "b", "c"), {"a": ["glad"], "b": ["glad"], "c": ["sad"]}, tested=("a",))


def test_concepts_with_their_name_as_the_only_word_are_named(tiny):
    found = concept_words(tiny.tokenizer, ("joy", "Tuesday", "rain"), {"rain": ["storm"]})
    assert found.by_name == ("Tuesday",)


def test_no_word_at_all_is_refused(tiny):
    with pytest.raises(InputError, match="in `words`"):
        concept_words(tiny.tokenizer, ("a", "b"), {"a": ["glad"], "b": ["glad"]})


def test_prompts_end_where_a_word_may_follow_and_texts_are_cut(tiny):
    for prompt in open_prompts(tiny.tokenizer):
        assert len(prompt) >= 2
        assert not tiny.tokenizer.decode(prompt).endswith(" ")
    assert sample_prompts(tiny.tokenizer)[0] == open_prompts(tiny.tokenizer)[0]
    whole = [tuple(tiny.tokenizer(text).input_ids) for text in PLAIN_TEXTS]
    assert list(plain_tokens(tiny.tokenizer)) == [ids[:PLAIN_TOKENS] for ids in whole]


def test_a_tokenizer_without_a_chat_template_has_the_other_prompts(tiny, monkeypatch):
    with_template = open_prompts(tiny.tokenizer)
    monkeypatch.setattr(tiny.tokenizer, "chat_template", None)
    assert open_prompts(tiny.tokenizer) == with_template[:-1]
    assert len(sample_prompts(tiny.tokenizer)) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"joy": "sun"}', "joy|array"),
        ('{"joy": []}', "length"),
        ('{"joy": ["sun", 3]}', "str"),
        ('{"joy": ["sun", " "]}', "pattern|regex"),
        ('["sun"]', "object"),
        ("{", "JSON"),
    ],
)
def test_a_bad_word_list_is_refused_with_its_place(tmp_path, text, said):
    (tmp_path / "words.json").write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        read_words(tmp_path / "words.json")
    assert "word list" in str(caught.value)


def test_words_of_a_list_lose_their_margins(tmp_path):
    (tmp_path / "words.json").write_text('{"joy": [" sun", "light "]}')
    assert read_words(tmp_path / "words.json") == {"joy": ("sun", "light")}


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [([1, 2, 3, 4, 5], 0.0), ([1, 1, 1, 1, 1], 2 / 3), ([1, 2, 3, 1, 2, 3], 0.25), ([1, 2], 0.0)],
)
def test_repetition_is_the_share_of_three_token_sequences_said_before(tokens, expected):
    assert repetition(tokens) == pytest.approx(expected)
