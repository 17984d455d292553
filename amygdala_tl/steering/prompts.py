"""Texts that a steered model is given: openings that a feeling may follow, and texts with a concept.

The plain texts that it predicts are in `readout.dose`.
"""

from typing import Any

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.template import render
from amygdala_tl.lens.tokenize import part_length

Tokens = tuple[tuple[int, ...], ...]
"""Token ids of several texts."""

OPENINGS = (
    "I feel",
    "Today I am",
    "Right now I feel",
    "This morning I woke up feeling",
    "All day I have been",
    "Looking back, I was",
    "Everyone can see that I am",
    "What fills me now is",
    "My heart is full of",
    "In my diary I wrote one word:",
)
"""Both kinds of words may follow, `happy` and `happiness`."""

QUESTION = "How are you?"
"""What the user says in the model's own chat template. One question only: a template may be longer than all other prompts
together, and every arm pays for it."""

CARRIER_TOKENS = 32
"""Tokens of a text that carries a concept that are kept."""

CARRIER_END = "\n\nI feel"
"""Follows every text that carries a concept, so that a word for the feeling may come next."""


def open_prompts(tokenizer: Any) -> Tokens:
    """All openings, and last `I feel` as an answer in the chat template, if the tokenizer has one."""
    return (*(tuple(tokenizer(text).input_ids) for text in OPENINGS), *_answers(tokenizer, "I feel"))


def sample_prompts(tokenizer: Any) -> Tokens:
    """What generations continue: `I feel`, and an empty answer in the chat template, if the tokenizer has one."""
    return (tuple(tokenizer("I feel").input_ids), *_answers(tokenizer, ""))


def carrier_tokens(tokenizer: Any, text: str) -> tuple[int, ...]:
    """A text that carries a concept, cut, with the ending behind it."""
    end = tokenizer(CARRIER_END, add_special_tokens=False).input_ids
    beginning = tokenizer(text[: part_length(CARRIER_TOKENS)]).input_ids[:CARRIER_TOKENS]
    return (*beginning, *end)


def _answers(tokenizer: Any, beginning: str) -> Tokens:
    """The beginning of an answer in the chat template; nothing without a template, or with one that fails."""
    try:
        text = render(tokenizer, [{"role": "user", "content": QUESTION}], add_generation_prompt=True)
    except ModelError:
        return ()
    return (tuple(tokenizer(text + beginning, add_special_tokens=False).input_ids),)
