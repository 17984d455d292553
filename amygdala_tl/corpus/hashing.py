"""Every hash of this room: identities of texts, seeded draws that do not depend on each other, the hash of a corpus.

Draws come from hashes and not from a random generator, since a generator's n-th draw depends on the n-1 before it: one
added node would move all later ones. A hash of the thing itself moves nothing but the thing itself.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence

from amygdala_tl.records import CorpusText


def text_id(text: str) -> str:
    """Return the sha256 of a text's UTF-8 bytes, hexadecimal.

    Raises:
        UnicodeEncodeError: the text has lone surrogates, which no UTF-8 can carry.
    """
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def unit_hash(*parts: str | int) -> float:
    """Map parts to a number in [0, 1), the same one always, as if drawn evenly."""
    digest = hashlib.sha256(canonical_json(parts)).digest()
    # 53 bits are what a float holds exactly; with 64 the largest would round up to 1.0.
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def ranking(*parts: str | int) -> Callable[[str], bytes]:
    """Return a function that gives any id its place in an order that looks random and is fixed by the parts."""
    start = hashlib.sha256(canonical_json(parts))

    def rank(identity: str) -> bytes:
        state = start.copy()
        state.update(identity.encode("utf-8"))
        return state.digest()

    return rank


def corpus_sha256(concepts: Sequence[str], texts: Iterable[CorpusText]) -> str:
    """Return the sha256 of a corpus: concepts and the texts' ids, groups, splits, scores and labels, in order."""
    state = hashlib.sha256(canonical_json(list(concepts)))
    for text in texts:
        scores = {name: float(score) for name, score in text.scores.items()}
        row = [text.id, text.group, text.split, scores, list(text.positive), list(text.negative)]
        state.update(b"\n" + canonical_json(row))
    return state.hexdigest()


def canonical_json(value: object) -> bytes:
    """Return the one JSON spelling of a value: sorted names, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")
