"""The hashes of this room: ids of texts, independent seeded draws, the sha256 of a corpus.

Draws come from hashes, not from a random generator, because a generator's n-th draw depends on the n-1 before it: one added
node would change all later draws.
"""

import hashlib
import heapq
import json
from collections.abc import Collection, Iterable, Sequence

from amygdala_tl.records import CorpusText


def text_id(text: str) -> str:
    """Return the sha256 of a text's UTF-8 bytes, hexadecimal; raises UnicodeEncodeError for lone surrogates."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def unit_hash(*parts: str | int) -> float:
    """Map parts to a fixed number in [0, 1), as if drawn uniformly."""
    digest = hashlib.sha256(canonical_json(parts)).digest()
    # A float holds 53 bits exactly; with 64 the largest would round up to 1.0.
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def choose(ids: Collection[str], *, concept: str, polarity: str, limit: int, seed: int) -> frozenset[str]:
    """Choose at most `limit` text ids: those with the smallest seeded hash of concept, polarity and id.

    The rank of an id depends only on the id: adding k ids displaces at most k others, and order does not matter.
    """
    start = hashlib.sha256(canonical_json(("choose", seed, concept, polarity)))

    def rank(identity: str) -> bytes:
        state = start.copy()
        state.update(identity.encode("utf-8"))
        return state.digest()

    return frozenset(heapq.nsmallest(limit, ids, key=rank))


def corpus_sha256(concepts: Sequence[str], texts: Iterable[CorpusText]) -> str:
    """Return the sha256 of a corpus: concepts and the texts' ids, groups, splits, scores and labels, in order."""
    state = hashlib.sha256(canonical_json(list(concepts)))
    for text in texts:
        scores = {name: float(score) for name, score in text.scores.items()}
        row = [text.id, text.group, text.split, scores, list(text.positive), list(text.negative)]
        state.update(b"\n" + canonical_json(row))
    return state.hexdigest()


def canonical_json(value: object) -> bytes:
    """Return the canonical JSON of a value: sorted names, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")
