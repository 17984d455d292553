"""Token ids of texts, made once, as a vLLM server would make them, with a mark on the tokens of the text itself.

TransformerLens's `to_tokens` prepends a BOS token even if the model's own tokenizer, and so vLLM, does not. A readout fitted
behind one token more than a server runs would read something else. So ids come from the Hugging Face tokenizer with its own
defaults.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from amygdala_tl.errors import ModelError
from amygdala_tl.records import ChatTemplate

Spans = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """One text as token ids.

    Attributes:
        ids: all ids, in order: special tokens, template tokens, the text.
        content: True for the tokens of the text itself, False for BOS and template tokens, which are never read.
        last_content: position of the text's last token with a letter or a digit in it.
        spans: (start, end) of each content token in the text that was run, in characters.
        cut: True if the text was longer than `max_tokens`.
    """

    ids: tuple[int, ...]
    content: tuple[bool, ...]
    last_content: int
    spans: tuple[tuple[int, int], ...]
    cut: bool

    @property
    def last(self) -> int:
        """Position of the last token of the text."""
        return len(self.content) - 1 - self.content[::-1].index(True)


def tokenize(
    tokenizer: Any, texts: Sequence[str], *, chat_template: ChatTemplate = "none", max_tokens: int = 1024
) -> list[TokenizedText]:
    """Return token ids of every text, cut at `max_tokens` tokens of the text.

    Args:
        tokenizer: a fast Hugging Face tokenizer.
        texts: each with at least one character that is not white space.
        chat_template: `none`, or wrap each text as one turn of that role in the tokenizer's own template.
        max_tokens: most tokens of a text; template tokens do not count.

    Raises:
        ModelError: the tokenizer is slow (without offsets) or has no chat template, or its template changes the text.
    """
    if not texts:
        return []
    if not tokenizer.is_fast:
        got, remedy = type(tokenizer).__name__, "choose a model with a tokenizer.json"
        raise ModelError("the tokenizer gives no character offsets", got=got, need="a fast tokenizer", remedy=remedy)
    plain = chat_template == "none"  # a template brings its own special tokens, inside the text
    wrapped = [_wrap(tokenizer, text, chat_template) for text in texts]
    marks = {"return_offsets_mapping": True, "return_special_tokens_mask": plain, "return_attention_mask": False}
    encoded = tokenizer([text for text, _, _ in wrapped], add_special_tokens=plain, **marks)
    special = encoded["special_tokens_mask"] if plain else [[0] * len(ids) for ids in encoded["input_ids"]]
    rows = zip(wrapped, encoded["input_ids"], encoded["offset_mapping"], special, strict=True)
    return [_mark(*text, ids, offsets, odd, max_tokens) for text, ids, offsets, odd in rows]


def _wrap(tokenizer: Any, text: str, role: ChatTemplate) -> tuple[str, int, int]:
    """Return the string to run, and where the text starts and ends in it."""
    if role == "none":
        return text, 0, len(text)
    wrong = partial(ModelError, got=f"chat_template={role}", remedy="use `none`")
    if not tokenizer.chat_template:
        raise wrong("the tokenizer has no chat template")
    stripped = text.strip()  # many templates strip, and the stripped text is found either way
    wrapped = tokenizer.apply_chat_template([{"role": role, "content": stripped}], tokenize=False)
    start = wrapped.rfind(stripped)
    if start < 0:
        raise wrong("the chat template changes the text it wraps")
    return wrapped, start, start + len(stripped)


def _mark(
    text: str, start: int, end: int, ids: Sequence[int], offsets: Spans, special: Sequence[int], max_tokens: int
) -> TokenizedText:
    """Mark the tokens whose characters lie in text[start:end], and keep at most `max_tokens` of them."""
    content = [not odd and start <= a < b <= end for (a, b), odd in zip(offsets, special, strict=True)]
    if not any(content):
        got = repr(text[start:end][:40])
        raise ModelError("a text has no token of its own", got=got, remedy="leave out empty texts")
    positions = [position for position, own in enumerate(content) if own]
    left_out = set(positions[max_tokens:])
    kept = [position for position in range(len(ids)) if position not in left_out]
    own = [index for index, position in enumerate(kept) if content[position]]
    words = [index for index in own if any(char.isalnum() for char in text[slice(*offsets[kept[index]])])]
    return TokenizedText(
        ids=tuple(ids[position] for position in kept),
        content=tuple(content[position] for position in kept),
        last_content=(words or own)[-1],
        spans=tuple((offsets[p][0] - start, offsets[p][1] - start) for p in positions[:max_tokens]),
        cut=bool(left_out),
    )
