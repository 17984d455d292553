"""Ids as a server would make them, and marks on the text's own tokens only."""

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers

from amygdala_tl.errors import ModelError
from amygdala_tl.lens import tokenize as module
from amygdala_tl.lens.tokenize import Unreadable, tokenize
from tests.lens.made_tokenizers import CHATML, INST, THINKING, made

TEXT = "The tide came in twice. Nobody said so."


def test_without_a_template_ids_are_the_tokenizers_own(embedded):
    assert list(tokenize(embedded.tokenizer, [TEXT])[0].ids) == embedded.tokenizer(TEXT).input_ids


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_with_a_template_ids_are_the_templates_and_only_the_text_is_marked(embedded, role):
    tokens = tokenize(embedded.tokenizer, [f"  {TEXT}\n"], chat_template=role)[0]
    expected = embedded.tokenizer.apply_chat_template([{"role": role, "content": TEXT}], tokenize=True)
    assert list(tokens.ids) == list(getattr(expected, "input_ids", expected))
    own = [token for token, mine in zip(tokens.ids, tokens.content, strict=True) if mine]
    assert embedded.tokenizer.decode(own) == TEXT
    assert not tokens.content[0]
    assert not tokens.content[-1]
    assert embedded.tokenizer.decode([tokens.ids[tokens.last]]) == "."


def test_a_text_that_the_template_also_says_is_marked_once(embedded):
    tokens = tokenize(embedded.tokenizer, ["user"], chat_template="user")[0]
    assert sum(tokens.content) == 1


def test_a_bos_token_that_the_tokenizer_adds_is_not_content():
    tokens = tokenize(made(adds_bos=True), [TEXT])[0]
    assert tokens.ids[0] == 1
    assert tokens.content == (False, *[True] * (len(tokens.ids) - 1))


def test_long_texts_are_cut_and_say_so(embedded):
    tokens = tokenize(embedded.tokenizer, [TEXT, "Short."], max_tokens=4)
    assert [text.cut for text in tokens] == [True, False]
    assert list(tokens[0].ids) == embedded.tokenizer(TEXT).input_ids[:4]


def test_a_cut_leaves_the_templates_end_in_place(embedded):
    whole = tokenize(embedded.tokenizer, [TEXT], chat_template="user")[0]
    cut = tokenize(embedded.tokenizer, [TEXT], chat_template="user", max_tokens=3)[0]
    assert sum(cut.content) == 3
    assert cut.ids[-2:] == whole.ids[-2:]


@settings(max_examples=60, deadline=None)
@given(text=st.text(min_size=1).filter(str.strip), role=st.sampled_from(["none", "user"]))
def test_any_text_gets_marks_in_range(embedded, text, role):
    tokens = tokenize(embedded.tokenizer, [text], chat_template=role)[0]
    if isinstance(tokens, Unreadable):
        return  # characters that this tokenizer has no token for
    assert len(tokens.ids) == len(tokens.content)
    assert tokens.content[tokens.last]
    assert tokens.content[tokens.last_content]
    assert len(tokens.spans) == sum(tokens.content)
    assert all(a <= b for a, b in tokens.spans)


def own_ids(tokens):
    return [token for token, mine in zip(tokens.ids, tokens.content, strict=True) if mine]


@pytest.mark.parametrize("kind", ["byte-level", "first", "always", "never", "llama"])
@pytest.mark.parametrize("template", [CHATML, INST])
def test_all_words_are_read_behind_any_template_with_any_tokenizer(kind, template):
    tokenizer = made(kind, template=template)
    for text in ("happy", "The queue was long and the room was loud."):
        tokens = tokenize(tokenizer, [text], chat_template="user")[0]
        whole = tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False)
        assert list(tokens.ids) == tokenizer(whole, add_special_tokens=False).input_ids
        assert tokenizer.decode(own_ids(tokens)).strip() == text
        assert text[slice(*tokens.spans[0])].strip()


@pytest.mark.parametrize("text", ["end", "im", "n", ">", "|", "user", "<", "assistant", "_"])
@pytest.mark.parametrize(
    "template", [CHATML, CHATML.replace("<|im", "<im")]
)  # the second spells its marks in many tokens
def test_a_text_that_the_template_also_says_is_found_between_its_marks(text, template):
    tokenizer = made(template=template)
    tokens = tokenize(tokenizer, [text], chat_template="user")[0]
    before = template.partition("{{ m['role'] }}")[0].rpartition("%}")[2] + "user\n"
    assert tokenizer.decode(tokens.ids[: tokens.content.index(True)]) == before
    assert tokenizer.decode(own_ids(tokens)) == text


NOTES = [
    "I thought about it. </think> Then I felt calm.",
    "</think>",
    "They wrote <|im_end|> and <|im_start|>assistant in the log.",
    "<|im_end|>",
    "<s>happy</s>",
]


@pytest.mark.parametrize("role", ["none", "user", "assistant"])
@pytest.mark.parametrize("kind", ["byte-level", "first", "llama"])
def test_a_note_that_spells_out_the_templates_marks_is_read_whole_and_closes_nothing(kind, role):
    tokenizer = made(kind, template=THINKING)
    (plain, *found) = tokenize(tokenizer, ["happy", *NOTES], chat_template=role)
    special = [token for token in plain.ids if token < 5]
    for note, tokens in zip(NOTES, found, strict=True):
        assert [token for token in tokens.ids if token < 5] == special
        assert tokenizer.decode(own_ids(tokens)).replace(" ", "") == note.replace(" ", "")
        assert tokens.ids[-1] == plain.ids[-1] or role == "none"
        covered = {place for span in tokens.spans for place in range(*span)}
        assert {place for place, char in enumerate(note) if char != " "} <= covered


@pytest.mark.parametrize("template", [CHATML, INST])
@given(context=st.integers(20, 60), length=st.integers(1, 60))
def test_no_text_is_longer_than_the_context_and_none_is_cut_that_fits(template, context, length):
    tokenizer = _made_once(template)
    text = " ".join(["happy"] * length)
    whole = tokenize(tokenizer, [text], chat_template="user")[0]
    tokens = tokenize(tokenizer, [text], chat_template="user", context=context)[0]
    assert tokens.cut == (len(whole.ids) > context)
    assert len(tokens.ids) == min(context, len(whole.ids))
    assert tokens.ids[-2:] == whole.ids[-2:]


_made_once = functools.cache(lambda template: made(template=template))


def test_a_template_as_long_as_the_context_leaves_no_room():
    with pytest.raises(ModelError, match="no room"):
        tokenize(made(), [TEXT], chat_template="user", context=5)


WORDS = st.lists(
    st.sampled_from(["happy", "storm,", "the", " ", "    ", "\n\n", "zzzzzzz", "ééé", "<|im_end|>", "7", "écrite."]),
    min_size=15,
    max_size=60,
)


@pytest.mark.parametrize("kind", ["byte-level", "always", "llama"])
@settings(max_examples=25)
@given(words=WORDS, gap=st.sampled_from(["", " "]), role=st.sampled_from(["none", "user"]))
def test_the_first_part_of_a_long_text_gives_the_tokens_of_the_whole(kind, words, gap, role):
    tokenizer, texts = _made_kind(kind), [gap.join(words), gap.join(reversed(words))]
    whole = tokenize(tokenizer, texts, chat_template=role, max_tokens=9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHARACTERS", 1)
        patch.setattr(module, "_SLACK", 12)
        assert tokenize(tokenizer, texts, chat_template=role, max_tokens=9) == whole


_made_kind = functools.cache(made)


def test_of_a_long_text_only_the_first_part_is_encoded():
    tokenizer, seen = made(), []
    encode = tokenizer._encode_plus
    tokenizer._encode_plus = lambda text, *rest, **options: seen.extend(text) or encode(text, *rest, **options)
    (tokens,) = tokenize(tokenizer, ["The queue was long. " * 50_000], max_tokens=8)
    assert tokens.cut
    assert sum(tokens.content) == 8
    assert max(map(len, seen)) < 10_000


def test_a_text_that_cannot_be_run_says_why_and_the_others_run():
    tokenizer = made(normalizer=normalizers.Replace("\u200b", ""))
    found = tokenize(tokenizer, [TEXT, "\ud800 alone", "\u200b", TEXT], chat_template="user")
    assert found[0] == found[3] == tokenize(tokenizer, [TEXT], chat_template="user")[0]
    assert "the tokenizer fails" in found[1].reason
    assert "no token of its own" in found[2].reason


def test_a_model_without_a_chat_template_says_so():
    with pytest.raises(ModelError, match="no chat template"):
        tokenize(made(template=None), [TEXT], chat_template="user")
