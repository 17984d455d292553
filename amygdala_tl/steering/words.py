"""The words of every concept as token ids: what a steered model should say more often, or less.

`words.json` lists common words of emotions; a concept outside the list has only its own name (`by_name`). A word counts if it is
one token behind a space, because then one forward pass gives its probability after any prompt. If no word of a concept is one
token, the first tokens of its words count. A token that two concepts share counts for neither.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import torch
from jaxtyping import Float, Int
from msgspec import Meta
from torch import Tensor

from amygdala_tl.decode import decode
from amygdala_tl.errors import InputError
from amygdala_tl.files import Kind, atomic_write_bytes, read_file
from amygdala_tl.lens.tokenize import is_space

_BEFORE = "I feel"

WordList = dict[str, Annotated[tuple[Annotated[str, Meta(pattern=r"\S")], ...], Meta(min_length=1)]]


def _is_word_list(stream: BinaryIO) -> bool:
    try:
        return bool(msgspec.json.decode(stream.read(16 << 20), type=WordList))
    except (ValueError, RecursionError):
        return False


WORDS = Kind("a word list", _is_word_list, private=False)


@dataclass(frozen=True, slots=True)
class ConceptWords:
    """Tokens of the concepts' words.

    Attributes:
        concepts: in the order of the concept axis.
        tokens: [word] ids, all different, of all concepts together.
        share: [word, concept], 1 / number of the concept's words where the word belongs to the concept, else 0. Log-probabilities
            of the words times `share` are mean log-probabilities of the concepts' words. NaN for a concept without words.
        words: concept -> its words that count.
        tested: numbers of the concepts that a check tests; the others are there for contrast only.
        by_name: concepts that no word list has, whose only word is their name.
    """

    concepts: tuple[str, ...]
    tokens: Int[Tensor, " word"]
    share: Float[Tensor, "word concept"]
    words: Mapping[str, tuple[str, ...]]
    tested: tuple[int, ...]
    by_name: tuple[str, ...] = ()

    def contrast(self, logits: Float[Tensor, "*axes word"]) -> Float[Tensor, "*axes tested"]:
        """Compute the mean log-probability of each tested concept's words minus that of all other concepts' words, in nats.

        The normaliser of the softmax is the same for all words, so their logits are enough.
        """
        return self._of_all(logits)[..., list(self.tested)]

    def _of_all(self, logits: Float[Tensor, "*axes word"]) -> Float[Tensor, "*axes concept"]:
        own = logits @ self.share.to(logits)
        n = own.shape[-1]
        if n == 1:  # nothing to hold it against
            return own
        known = ~self.share.isnan().any(dim=0).to(own.device)
        total = torch.where(known, own, 0.0).sum(dim=-1, keepdim=True)
        return own - (total - own) / (known.sum() - 1)


@cache
def word_list() -> Mapping[str, tuple[str, ...]]:
    """Concept -> common words, from the list in the package."""
    return read_words(Path(__file__).with_name("words.json"))


def read_words(path: Path) -> Mapping[str, tuple[str, ...]]:
    """Read a word list, a JSON file such as `{"joy": ["happy", "joy"]}`.

    Raises:
        InputError: the file cannot be read or is not a word list.
    """
    data = read_file(path, remedy="check `words`", most=16 << 20)
    found = decode(data, WordList, label=f"{path}, a word list", remedy='write it as {"joy": ["happy", "joy"], ...}')
    return {concept: tuple(word.strip() for word in words) for concept, words in found.items()}


def write_words(path: Path, words: Mapping[str, Sequence[str]]) -> None:
    """Write a word list that `read_words` reads; a concept without words is left out.

    Raises:
        StorageError: the disk refused, or another kind of file is in the way.
    """
    data = msgspec.json.encode({concept: some for concept, some in words.items() if some})
    atomic_write_bytes(path, msgspec.json.format(data, indent=2) + b"\n", WORDS)


def concept_words(
    tokenizer: Any,
    concepts: Sequence[str],
    words: Mapping[str, Sequence[str]] | None = None,
    *,
    tested: Sequence[str] | None = None,
) -> ConceptWords:
    """Tokens of every concept's words in this tokenizer.

    Args:
        tokenizer: a Hugging Face tokenizer.
        concepts: names; one that is in neither `words` nor the list has its name as its only word.
        words: concept -> words, instead of those in the list.
        tested: those of `concepts` that a check tests; all if None. An effect is always against the words of all concepts.

    Raises:
        InputError: no tested concept has a word of its own.
    """
    known = {**word_list(), **{name.casefold(): tuple(some) for name, some in (words or {}).items()}}
    found: dict[str, dict[int, str]] = {}
    for concept in concepts:
        own_words = known.get(concept.casefold(), (concept.replace("_", " "),))
        split = {word: ids for word in own_words if (ids := tokens_in_a_sentence(tokenizer, word))}
        whole = {ids[0]: word for word, ids in split.items() if len(ids) == 1}
        found[concept] = whole or {ids[0]: word for word, ids in split.items()}
    shared = Counter(token for tokens in found.values() for token in tokens)
    own = {
        concept: {token: word for token, word in tokens.items() if shared[token] == 1}
        for concept, tokens in found.items()
    }
    tested = list(concepts) if tested is None else tested
    if not any(own[concept] for concept in tested):
        raise InputError("no concept has a word of its own", got=", ".join(tested), remedy="give some in `words`")
    found_at = {concept: place for place, concept in enumerate(concepts)}
    order = [(token, place) for place, tokens in enumerate(own.values()) for token in tokens]
    share = torch.zeros(len(order), len(concepts))
    for row, (_, place) in enumerate(order):
        share[row, place] = 1.0
    return ConceptWords(
        concepts=tuple(concepts),
        tokens=torch.tensor([token for token, _ in order]),
        share=share / share.sum(dim=0),
        words={concept: tuple(tokens.values()) for concept, tokens in own.items()},
        tested=tuple(found_at[concept] for concept in tested),
        by_name=tuple(concept for concept in concepts if concept.casefold() not in known),
    )


def tokens_in_a_sentence(tokenizer: Any, word: str) -> list[int]:
    """Return the tokens of a word within a sentence; none if the first is a space alone, or part of the words before it.

    On its own, " word" would get a second space from tokenizers that put a mark of one before every text.
    """
    before: list[int] = tokenizer(_BEFORE, add_special_tokens=False).input_ids
    ids: list[int] = tokenizer(f"{_BEFORE} {word}", add_special_tokens=False).input_ids
    own = ids[len(before) :] if ids[: len(before)] == before else []
    return [] if not own or is_space(tokenizer, own[0]) else own
