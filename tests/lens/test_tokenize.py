"""Ids as a server would make them, and marks on the text's own tokens only."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.tokenize import tokenize

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


def test_a_bos_token_that_the_tokenizer_adds_is_not_content(embedded):
    class AddsBos:
        is_fast = True
        chat_template = None

        def __call__(self, texts, **options):
            encoded = embedded.tokenizer(texts, **options)
            for name, first in (("input_ids", 1), ("offset_mapping", (0, 0)), ("special_tokens_mask", 1)):
                encoded[name] = [[first, *row] for row in encoded[name]]
            return encoded

    tokens = tokenize(AddsBos(), [TEXT])[0]
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
    try:
        tokens = tokenize(embedded.tokenizer, [text], chat_template=role)[0]
    except ModelError:
        return  # characters that this tokenizer has no token for
    assert len(tokens.ids) == len(tokens.content)
    assert tokens.content[tokens.last]
    assert tokens.content[tokens.last_content]
    assert len(tokens.spans) == sum(tokens.content)
    assert all(a <= b for a, b in tokens.spans)


def test_a_model_without_a_chat_template_says_so(embedded):
    class Plain:
        is_fast = True
        chat_template = None

    with pytest.raises(ModelError, match="no chat template"):
        tokenize(Plain(), [TEXT], chat_template="user")
