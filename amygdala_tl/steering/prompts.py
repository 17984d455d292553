"""What a steered model is given: openings that a feeling may follow, and plain texts that it should still be able to predict."""

from typing import Any

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

CHAT_OPENINGS = (("How are you?", "I feel"),)
"""What the user says, and how the answer begins; the model's own chat template is put around them. One only: a template may be
longer than all other prompts together, and what it costs, every arm costs."""

PLAIN_TEXTS = (
    "The river rises in the hills to the north and flows for about two hundred kilometres before it reaches the sea.",
    "To replace the filter, close the valve, unscrew the housing with the supplied wrench and rinse the inside with water.",
    "The committee meets on the first Tuesday of each month in the town hall. Minutes are kept by the secretary.",
    "Iron is the most common element on Earth by mass, forming much of the outer and inner core of the planet.",
    "The library was built in 1904 of local stone, with a tower added twenty years later to hold the clock.",
    "A function takes one or more arguments and returns a value; if no value is given, it returns nothing.",
)
"""Plain prose without feeling, to see what steering breaks."""


def open_prompts(tokenizer: Any) -> list[list[int]]:
    """Token ids of all openings, those in the chat template last, if the tokenizer has one."""
    prompts: list[list[int]] = [list(tokenizer(text).input_ids) for text in OPENINGS]
    if tokenizer.chat_template:
        for question, answer in CHAT_OPENINGS:
            text = tokenizer.apply_chat_template(
                [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
            )
            prompts.append(list(tokenizer(text + answer, add_special_tokens=False).input_ids))
    return prompts


def plain_tokens(tokenizer: Any, longest: int = 24) -> list[list[int]]:
    """Token ids of the plain texts, cut to this many."""
    return [list(tokenizer(text).input_ids)[:longest] for text in PLAIN_TEXTS]
