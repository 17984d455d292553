"""Does a tokenizer keep what a text says? Fixed sentences go through it and back when a model is loaded or wrapped.

A checkpoint with the wrong `tokenizer_class` loads without a complaint, and drops every space. Case, accents, compatibility forms
and the width of white space may change, as some tokenizers mean them to. Words, spaces between them and punctuation may not.
"""

import re
import unicodedata
from typing import Any

from tokenizers import decoders

from amygdala_tl.errors import ModelError

_SENTENCES = (
    "I felt warm and calm today, and nobody had written since the storm.",
    "Then Renée said: \"It's 7 o'clock!\" So we left (late) for the café.",
)
_UNKNOWN = 0.1
"""Largest part of a sentence's words that may have a character that the vocabulary lacks; such a token is seen, not lost."""


def check_tokenizer(tokenizer: Any) -> None:
    """Raise unless plain sentences survive encoding and decoding.

    Raises:
        ModelError: the tokenizer is slow (without offsets), fails, or loses spaces, words or punctuation.
    """
    name = type(tokenizer).__name__
    if not getattr(tokenizer, "is_fast", False):
        remedy = "choose a model with a tokenizer.json"
        raise ModelError("the tokenizer gives no character offsets", got=name, need="a fast tokenizer", remedy=remedy)
    for sentence in _SENTENCES:
        try:
            came_back = _there_and_back(tokenizer, sentence)
        except Exception as cause:  # tokenizers raise bare ones
            got, remedy = f"{type(cause).__name__} {cause}"[:200], "check the tokenizer's files"
            raise ModelError("the tokenizer fails on a plain sentence", label=name, got=got, remedy=remedy) from cause
        if not _same_words(sentence, came_back, tokenizer.unk_token):
            remedy = "check `tokenizer_class` in tokenizer_config.json, and the tokenizer's other files"
            raise ModelError(
                "the tokenizer loses part of a text", label=name, got=came_back, need=sentence, remedy=remedy
            )


def _there_and_back(tokenizer: Any, sentence: str) -> str:
    backend = tokenizer.backend_tokenizer
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(sentence, add_special_tokens=False).input_ids)
    # Without a decoder of its own, `decode` puts a space between all tokens.
    usual = decoders.ByteLevel() if "ByteLevel" in str(backend.pre_tokenizer) else decoders.Metaspace()
    came_back: str = (backend.decoder or usual).decode(tokens)
    return came_back


def _same_words(sentence: str, came_back: str, unknown: str | None) -> bool:
    wanted, found = (
        _words(sentence),
        _words(came_back.replace(unknown, "\N{REPLACEMENT CHARACTER}") if unknown else came_back),
    )
    if len(wanted) != len(found):
        return False
    other = [mine for mine, theirs in zip(found, wanted, strict=True) if mine != theirs]
    return len(other) <= _UNKNOWN * len(wanted) and all("\N{REPLACEMENT CHARACTER}" in word for word in other)


def _words(text: str) -> list[str]:
    """Split into words and marks of punctuation, without case, accents and white space."""
    plain = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    return re.findall("[\\w\N{REPLACEMENT CHARACTER}]+|[^\\w\\s]", plain.casefold())
