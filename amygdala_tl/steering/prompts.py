"""Texts that a steered model is given: openings that a feeling may follow, plain texts to predict, and texts with a concept."""

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

PLAIN_TEXTS = (
    "The river rises in the hills to the north and flows for about two hundred kilometres before it reaches the sea.",
    "To replace the filter, close the valve, unscrew the housing with the supplied wrench and rinse the inside with water.",
    "The committee meets on the first Tuesday of each month in the town hall. Minutes are kept by the secretary.",
    "Iron is the most common element on Earth by mass, forming much of the outer and inner core of the planet.",
    "The library was built in 1904 of local stone, with a tower added twenty years later to hold the clock.",
    "A function takes one or more arguments and returns a value; if no value is given, it returns nothing.",
)
"""Plain prose without feeling, to see what steering breaks."""

PLAIN_TOKENS = 24
"""Tokens of a plain text that are kept."""

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


def plain_tokens(tokenizer: Any) -> Tokens:
    """The plain texts, cut."""
    return tuple(tuple(tokenizer(text).input_ids[:PLAIN_TOKENS]) for text in PLAIN_TEXTS)


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
