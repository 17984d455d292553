"""Generated tokens as text, token by token: whole characters only, and nothing from a stop string on."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"
_BEFORE = 6  # tokens decoded again before the new one, because some tokenizers drop a space at the start of a text


class GrowingString:
    """The text of one sequence.

    Attributes:
        stopped: True once a stop string has come.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str] = (), *, special: bool = False) -> None:
        """Begin an empty text.

        Args:
            tokenizer: of the tokens.
            stops: strings at which the text ends.
            special: whether special tokens are part of it.
        """
        self.stopped = False
        self._decode = _decoder(tokenizer, special=special)
        self._stops = tuple(stops)
        self._ids: list[int] = []
        self._start = self._read = (
            0  # tokens before `_read` are in the text; from `_start` on they are decoded with the next
        )
        self._held = ""

    def add(self, token: int) -> str:
        """Add a token, and return the text that is certain now: empty within a character, or while a stop string may come."""
        self._ids.append(token)
        return self._released(self._decoded(whole=False), end=False)

    def finish(self) -> str:
        """Return the rest of the text."""
        return self._released(self._decoded(whole=True), end=True)

    def _decoded(self, *, whole: bool) -> str:
        known = self._decode(self._ids[self._start : self._read])
        now = self._decode(self._ids[self._start :])
        if len(now) <= len(known) or (now.endswith(_UNFINISHED) and not whole):
            return ""
        self._start, self._read = max(self._start, self._read - _BEFORE), len(self._ids)
        return now[len(known) :]

    def _released(self, new: str, *, end: bool) -> str:
        if self.stopped:
            return ""
        text = self._held + new
        if found := [place for stop in self._stops if (place := text.find(stop)) >= 0]:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        held = 0 if end else max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Return the text that each token of a prompt covers, special tokens included; together they are the prompt.

    A token inside a character has an empty one.
    """
    decode = _decoder(tokenizer, special=True)
    alone = [decode([token]) for token in ids]
    if "".join(alone) == decode(ids):  # most often, and many times as fast
        return alone
    text = GrowingString(tokenizer, special=True)
    found = [text.add(token) for token in ids]
    return [*found[:-1], found[-1] + text.finish()]


def _decoder(tokenizer: Any, *, special: bool) -> Callable[[Sequence[int]], str]:
    """Return what makes a text of token ids, with or without special tokens."""
    # A tokenizer that is none of Hugging Face's leaves spaces as they are, and does not know the argument.
    plain = {"clean_up_tokenization_spaces": False} if hasattr(tokenizer, "clean_up_tokenization_spaces") else {}
    return partial(tokenizer.decode, skip_special_tokens=not special, **plain)


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that `stop` begins with."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)
