"""What a chat template puts around a text: the same every day, and one message where it cannot be used."""

import pytest

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.template import STAND_IN, rendered_template
from tests.lens.made_tokenizers import CHATML, INST, THINKING, made

DATED = "Today is {{ strftime_now('%d %b %Y') }}.\n" + CHATML


def test_a_template_is_shown_with_a_fixed_sentence_in_the_place_of_the_text():
    assert rendered_template(made(), "user") == f"<|im_start|>user\n{STAND_IN}<|im_end|>\n"
    assert rendered_template(made(template=INST), "user") == f"<s>[INST] {STAND_IN} [/INST]"
    assert rendered_template(made(template=None), "none") == STAND_IN


def test_every_day_is_the_same_day_for_a_template():
    assert rendered_template(made(template=DATED), "user").startswith("Today is 26 Jul 2024.\n")


@pytest.mark.parametrize("content", ["m['content']", "m['content'] | trim", "m['content'].split('</think>')[-1]"])
def test_a_template_that_takes_white_space_or_a_thought_away_is_one_like_others(content):
    plain = rendered_template(made(), "assistant")
    assert rendered_template(made(template=CHATML.replace("m['content']", content)), "assistant") == plain
    assert rendered_template(made(template=THINKING), "assistant") == plain


@pytest.mark.parametrize(
    "content",
    ["m['content'] | e", "m['content'] | lower", "m['content'].split()", "'', m['content'] | replace('\n', ' ')", "'hello'",
     "m['content'] + m['content']"],
)  # fmt: skip
def test_a_template_that_changes_the_text_is_said(content):
    with pytest.raises(ModelError, match="the text it wraps"):
        rendered_template(made(template=CHATML.replace("m['content']", content)), "user")


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('no such role here') }}",
        {"tool_use": CHATML, "rag": CHATML},
        "{% for %}",
        "{{ 1 / 0 }}",
        "{{ x.y.z }}",
    ],
)
def test_a_template_that_cannot_be_used_is_one_message_that_says_what_to_do(template):
    with pytest.raises(ModelError, match="cannot be used") as caught:
        rendered_template(made(template=template), "user")
    assert "chat_template=none" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_template_named_default_among_several_is_the_one():
    named = made(template={"tool_use": INST, "default": CHATML})
    assert rendered_template(named, "user") == rendered_template(made(), "user")
