"""Token ids of texts, made once, as a vLLM server would make them, with a mark on the tokens of the text itself.

TransformerLens's `to_tokens` prepends a BOS token even if the model's own tokenizer, and so vLLM, does not. A readout fitted
behind one token more than a server runs would read something else. So ids come from the Hugging Face tokenizer with its own
defaults.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.template import STAND_IN, around
from amygdala_tl.records import ChatTemplate

Spans = Sequence[tuple[int, int]]

_TOGETHER = 64
"""Texts that the tokenizer gets in one call: it keeps a few hundred bytes a token until all are done."""

_CHARACTERS = 16
"""Characters a token of the first part of a long text. English has four; a text with longer ones is read on."""

_SLACK = 256
"""Tokens behind the last one kept that a part of a long text must have, so that its end cannot have changed those kept."""


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """One text as token ids.

    Attributes:
        ids: all ids, in order: special tokens, template tokens, the text.
        content: True for the tokens of the text itself, False for BOS and template tokens, which are never read.
        last_content: position of the text's last token with a letter or a digit in it.
        spans: (start, end) of each content token in the text that was run, in characters.
        cut: True if the text was longer than `max_tokens`, or than the model's context.
    """

    ids: tuple[int, ...]
    content: tuple[bool, ...]
    last_content: int
    spans: tuple[tuple[int, int], ...]
    cut: bool

    @property
    def n_tokens(self) -> int:
        """Number of tokens of the text itself."""
        return sum(self.content)

    @property
    def first(self) -> int:
        """Position of the first token of the text."""
        return self.content.index(True)

    @property
    def last(self) -> int:
        """Position of the last token of the text."""
        return len(self.content) - 1 - self.content[::-1].index(True)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A text that cannot be run.

    Attributes:
        reason: one clause.
    """

    reason: str


def tokenize(
    tokenizer: Any,
    texts: Sequence[str],
    *,
    chat_template: ChatTemplate = "none",
    max_tokens: int = 1024,
    context: int | None = None,
) -> list[TokenizedText | Unreadable]:
    """Return token ids of every text, cut at `max_tokens` tokens of the text.

    A token that overlaps the text belongs to it: behind `[INST] ` the first word's token begins with the template's space.
    Special tokens that a text spells out are read as the characters they are.

    Args:
        tokenizer: a fast Hugging Face tokenizer.
        texts: any; a chat template leaves out the white space around them.
        chat_template: `none`, or wrap each text as one turn of that role in the tokenizer's own template.
        max_tokens: most tokens of a text; template tokens do not count.
        context: most tokens that the model can run, template tokens included; None for any number.

    Raises:
        ModelError: the tokenizer has no chat template for the role, or the template fails, changes the texts it wraps, or leaves
            no room for them.
    """
    if not texts:
        return []
    frame = _frame(tokenizer, chat_template, max_tokens, context)
    if chat_template != "none":
        texts = [text.strip() for text in texts]
    return [found for start in range(0, len(texts), _TOGETHER) for found in frame.run(texts[start : start + _TOGETHER])]


def part_length(max_tokens: int) -> int:
    """Return how many characters of a long text are tokenized at first to find its first `max_tokens` tokens."""
    return (max_tokens + _SLACK) * _CHARACTERS


def is_space(tokenizer: Any, token: int) -> bool:
    """Return whether a token is nothing but a space, however the tokenizer writes one."""
    written: str = tokenizer.convert_ids_to_tokens(token)
    return not written.strip(" \N{LOWER ONE EIGHTH BLOCK}\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}")


@dataclass(slots=True)
class _Encoded:
    """One string as token ids, the characters of each, and which of them the tokenizer has put around the string."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    around: list[int]

    def own(self, start: int, end: int) -> list[int]:
        """Return the positions of the tokens that overlap the characters from `start` to `end`."""
        tokens = enumerate(zip(self.offsets, self.around, strict=True))
        return [at for at, ((a, b), around) in tokens if not around and a < min(b, end) and b > start]


@dataclass(frozen=True, slots=True)
class _Frame:
    """What is the same for all texts of one call: what stands around them, and how much of them is kept."""

    tokenizer: Any
    plain: bool
    before: str
    behind: str
    special: Mapping[int, str]
    closing: list[int]
    max_tokens: int
    context: int

    def run(self, texts: Sequence[str]) -> list[TokenizedText | Unreadable]:
        """Tokenize the first part of each text, and a longer one where that is not enough."""
        found: dict[int, TokenizedText | Unreadable] = {}
        length = part_length(self.max_tokens)
        while waiting := [index for index in range(len(texts)) if index not in found]:
            parts = [texts[index][:length] for index in waiting]
            for index, part, encoded in zip(waiting, parts, self._encode(parts), strict=True):
                whole = len(part) == len(texts[index])
                if isinstance(encoded, Unreadable):
                    found[index] = encoded
                elif (made := self._marked(part, encoded, whole)) is not None:
                    found[index] = made
            length *= 4
        return [found[index] for index in range(len(texts))]

    def _encode(self, parts: Sequence[str]) -> list[_Encoded | Unreadable]:
        framed = [self.before + part + self.behind for part in parts]
        try:
            return list(_encoded(self.tokenizer, framed, plain=self.plain))
        except Exception as cause:  # tokenizers raise bare ones, for a whole batch
            if len(parts) == 1:
                return [Unreadable(f"the tokenizer fails: {_first_line(cause)}")]
            return [one for part in parts for one in self._encode([part])]

    def _marked(self, text: str, encoded: _Encoded, whole: bool) -> TokenizedText | Unreadable | None:
        """Mark the text's tokens and keep the first of them; None if more of the text is needed."""
        start, end = len(self.before), len(self.before) + len(text)
        self._spell_out(text, encoded)
        own = encoded.own(start, end)
        if not whole and len(own) < self.max_tokens + _SLACK:
            return None
        if not own:
            return Unreadable("it has no token of its own")
        first, behind = own[0], encoded.ids[own[-1] + 1 :]
        room = self.context - first - max(len(behind), len(self.closing))
        kept = [at for at in own[: self.max_tokens] if at - first < room]
        if not kept:
            return Unreadable("the tokens around it fill the model's context")
        cut = not whole or len(kept) < len(own)
        n_ids = kept[-1] + 1
        spans = [(max(a, start) - start, min(b, end) - start) for a, b in (encoded.offsets[at] for at in kept)]
        words = [at for at, span in zip(kept, spans, strict=True) if any(map(str.isalnum, text[slice(*span)]))]
        ids, content = encoded.ids[:n_ids] + (self.closing if cut else behind), set(kept)
        return TokenizedText(
            ids=tuple(ids),
            content=tuple(at in content for at in range(len(ids))),
            last_content=(words or kept)[-1],
            spans=tuple(spans),
            cut=cut,
        )

    def _spell_out(self, text: str, encoded: _Encoded) -> None:
        """Replace special tokens that the text spells out by the tokens of their characters."""
        start, end = len(self.before), len(self.before) + len(text)
        for at in reversed(encoded.own(start, end)):
            a, b = (place - start for place in encoded.offsets[at])
            if (written := text[max(a, 0) : b]).strip() == self.special.get(encoded.ids[at]):
                (pieces,) = _encoded(self.tokenizer, [written], plain=False, split_special_tokens=True)
                skip = int(len(pieces.ids) > 1 and is_space(self.tokenizer, pieces.ids[0]))  # put before every string
                encoded.ids[at : at + 1] = pieces.ids[skip:]
                encoded.offsets[at : at + 1] = [(start + a + c, start + a + d) for c, d in pieces.offsets[skip:]]
                encoded.around[at : at + 1] = pieces.around[skip:]


def _frame(tokenizer: Any, role: ChatTemplate, max_tokens: int, context: int | None) -> _Frame:
    before, behind = around(tokenizer, role)
    (encoded,) = _encoded(tokenizer, [before + STAND_IN + behind], plain=role == "none")
    own = encoded.own(len(before), len(before) + len(STAND_IN))
    if not own:
        raise ModelError(
            "the tokenizer makes no token of a plain sentence", label=type(tokenizer).__name__, remedy="check its files"
        )
    closing = encoded.ids[own[-1] + 1 :]
    if context is not None and own[0] + len(closing) >= context:
        raise ModelError(
            "the chat template leaves no room for a text",
            got=f"{own[0] + len(closing)} tokens of the template",
            need=f"fewer than the model's context of {context}",
            remedy="use `none`",
        )
    special = {id: token.content for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    return _Frame(
        tokenizer,
        role == "none",
        before,
        behind,
        special,
        closing,
        max_tokens,
        sys.maxsize if context is None else context,
    )


def _encoded(tokenizer: Any, strings: Sequence[str], *, plain: bool, **options: Any) -> Iterator[_Encoded]:
    """Yield every string's ids; only `plain` ones get special tokens around them, because a template brings its own."""
    marks = {"return_offsets_mapping": True, "return_special_tokens_mask": plain, "return_attention_mask": False}
    found = tokenizer(list(strings), add_special_tokens=plain, verbose=False, **marks, **options)
    added = found["special_tokens_mask"] if plain else [[0] * len(ids) for ids in found["input_ids"]]
    return map(_Encoded, found["input_ids"], found["offset_mapping"], added)


def _first_line(cause: Exception) -> str:
    return f"{type(cause).__name__} {str(cause).strip().partition(chr(10))[0][:100]}".strip()
