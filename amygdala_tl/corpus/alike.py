"""Near-duplicate texts: reposts, and notes that differ in a word or a number.

If one of them is in training and another held out, a readout is rewarded for remembering the words. So they are one group.

Similarity is the Jaccard index of the texts' sets of five characters, without case, punctuation and links and with every number
alike. MinHash estimates it: the share of 128 random hashes that have the same minimum over both sets (Broder 1997). Texts that
share four minima in a row are compared (locality-sensitive hashing), in an order in which equal texts stand side by side. So
50,000 texts take seconds, and the result depends on no random state.

Reposts, which differ in case, punctuation, links and names of accounts only, are one group however many they are. Of other
texts, chains are cut. A set that is larger than a twentieth of the corpus, each repost once, is taken apart by a higher
threshold, since texts that share a template are not duplicates. A set that is still too large is reported and not grouped.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from amygdala_tl.corpus.grouping import split_of
from amygdala_tl.corpus.reasons import shortened
from amygdala_tl.records import CorpusText

if TYPE_CHECKING:
    import numpy as np

THRESHOLDS = (0.6, 0.8, 0.95)
LARGEST_SHARE = 0.05
SMALLEST_CAP = 5
_SHINGLE, _HASHES, _BAND = 5, 128, 4
_LONGEST = 20_000
_BATCH = 2_000
_AT_ONCE = 200_000
_ALL_PAIRS = 100
_NOISE = re.compile(r"\w+://\S+|\bwww\.\S+|(?<!\w)@\w+|^\s*rt\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Alike:
    """Sets of near-duplicates, as indices of texts.

    Attributes:
        sets: two texts or more each, in order.
        too_large: sets that cannot be one group, since a split could not divide the corpus.
    """

    sets: tuple[tuple[int, ...], ...]
    too_large: tuple[tuple[int, ...], ...]


def near_duplicates(texts: Sequence[str]) -> Alike:
    """Find the near-duplicates among unique texts."""
    copies: dict[str, list[int]] = {}
    for index, text in enumerate(texts):
        copies.setdefault(_letters(text) or text, []).append(index)
    originals = list(copies.values())
    found = _of_originals([texts[members[0]] for members in originals])
    sets, too_large = ([sorted(i for each in one for i in originals[each]) for one in some] for some in found)
    alone = set(range(len(originals))).difference(
        *found[0]
    )  # reposts in a set that is too large are a set of their own
    sets += [originals[each] for each in alone if len(originals[each]) > 1]
    return Alike(tuple(sorted(map(tuple, sets))), tuple(sorted(map(tuple, too_large))))


def _of_originals(texts: Sequence[str]) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Return the sets of near-duplicates among texts without reposts, and those that are too large."""
    if len(texts) < 2:
        return [], []
    signatures = _signatures(texts)
    first, second, similarity = _edges(signatures)
    cap = max(SMALLEST_CAP, int(LARGEST_SHARE * len(texts)))
    sets: list[tuple[int, ...]] = []
    too_large: list[tuple[int, ...]] = []
    waiting = [(members, 1) for members in _components(first, second, similarity >= THRESHOLDS[0])]
    while waiting:
        members, level = waiting.pop()
        if len(members) <= cap:
            sets.append(members)
        elif level < len(THRESHOLDS):
            inside = _among(members, first, second) & (similarity >= THRESHOLDS[level])
            finer = _components(first, second, inside)
            waiting += [(part, level + 1) for part in finer]
        else:
            too_large.append(members)
    return sets, too_large


def group_near_duplicates(
    texts: Sequence[CorpusText], *, heldout_fraction: float, seed: int
) -> tuple[list[CorpusText], list[str]]:
    """Put near-duplicates into one group and draw its side; return the texts in order, and what to tell the user.

    The groups of near-duplicates become one. Where that would join more than a twentieth of the texts, the near-duplicates leave
    their groups and are one of their own.
    """
    order = sorted(range(len(texts)), key=lambda index: texts[index].id)
    found = near_duplicates([texts[index].text for index in order])
    sets = [[order[place] for place in members] for members in found.sets]
    groups = _joined([text.group for text in texts], sets)
    grouped = [
        text if text.group == group else replace(
            text, group=group, split=split_of(group, heldout_fraction=heldout_fraction, seed=seed)
        )
        for text, group in zip(texts, groups, strict=True)
    ]  # fmt: skip
    notices = []
    if sets:
        notices.append(f"{_counted(sets)} are near-duplicates, which no split cuts")
    if found.too_large:
        example = shortened(texts[order[found.too_large[0][0]]].text)
        notices.append(
            f"{_counted(found.too_large)} are nearly alike (such as {example}): too many for one group, so held-out scores"
            " may be too good"
        )
    if len({text.group for text in grouped}) == 1 and len(grouped) > 1 and heldout_fraction:
        grouped = [replace(text, split="train") for text in grouped]
        notices.append("all texts are one group, so none is held out")
    return grouped, notices


def _counted(sets: Sequence[Sequence[int]]) -> str:
    return f"{sum(map(len, sets))} texts in {len(sets)} set{'s' if len(sets) > 1 else ''}"


def _joined(groups: Sequence[str], sets: Sequence[Sequence[int]]) -> list[str]:
    """Return each text's group after the groups of every set have become one."""
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    now = list(groups)
    cap = max(SMALLEST_CAP, int(LARGEST_SHARE * len(groups)))
    for alike in sets:
        names = sorted({now[index] for index in alike})
        if len(names) == 1:
            continue
        whole = sorted(index for name in names for index in members[name])
        moved = whole if len(whole) <= cap else list(alike)
        name = names[0] if len(whole) <= cap else f"near-duplicates of {min(groups[index] for index in alike)}"
        for index in moved:
            members[now[index]].remove(index)
        for index in moved:
            now[index] = name
            members.setdefault(name, []).append(index)
    return now


def _letters(text: str) -> str:
    """Return what two reposts share: letters and digits, folded; empty for a text of links and signs."""
    folded = _NOISE.sub(" ", unicodedata.normalize("NFKC", text[:_LONGEST])).casefold()
    return re.sub(r"[\W_]+", " ", folded).strip()


def _normal(text: str) -> str:
    """Return the letters of a text, with every number alike, or the text itself where it has none."""
    return re.sub(r"\d+", "0", _letters(text)) or text[:_LONGEST]


def _signatures(texts: Sequence[str]) -> "np.ndarray[Any, Any]":
    """Return the MinHash of every text, [text, hash] uint32."""
    import numpy as np

    # Multiply-shift hashing: odd multipliers, fixed for ever.
    state = np.random.Generator(np.random.PCG64(20310304))
    factors = state.integers(1 << 62, size=_HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    signatures = np.empty((len(texts), _HASHES), dtype=np.uint32)
    for start in range(0, len(texts), _BATCH):
        batch = [_normal(text) for text in texts[start : start + _BATCH]]
        padded = [f" {text} ".ljust(_SHINGLE) for text in batch]
        points = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
        lengths = np.array([len(text) for text in padded])
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        rolling = np.zeros(len(points) - _SHINGLE + 1, dtype=np.uint64)
        for offset in range(_SHINGLE):
            rolling = rolling * np.uint64(0x9E3779B97F4A7C15) + points[offset : offset + len(rolling)]
        rolling ^= rolling >> np.uint64(29)
        # Windows that reach into the next text are replaced by the first of their own.
        owner = np.repeat(np.arange(len(batch)), lengths)[: len(rolling)]
        inside = np.arange(len(rolling)) <= starts[owner] + lengths[owner] - _SHINGLE
        rolling = np.where(inside, rolling, rolling[np.minimum(starts[owner], len(rolling) - 1)])
        step = max(1, _AT_ONCE // len(rolling))
        for column in range(0, _HASHES, step):
            hashed = ((rolling[:, None] * factors[column : column + step]) >> np.uint64(32)).astype(np.uint32)
            signatures[start : start + len(batch), column : column + step] = np.minimum.reduceat(hashed, starts, axis=0)
    return signatures


def _edges(
    signatures: "np.ndarray[Any, Any]",
) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    """Return pairs of texts that may be alike, with their estimated similarity.

    In a bucket every text is compared with the first and with the one before it, so that a bucket of n costs 2n.
    """
    import numpy as np

    if len(signatures) <= _ALL_PAIRS:
        one, other = np.triu_indices(len(signatures), 1)
        return one, other, (signatures[one] == signatures[other]).mean(axis=1)
    rank = np.lexsort(signatures.T[::-1])
    ordered = signatures[rank]
    pairs = []
    for start in range(0, _HASHES, _BAND):
        keys = np.ascontiguousarray(ordered[:, start : start + _BAND]).view(f"V{4 * _BAND}").ravel()
        _, bucket = np.unique(keys, return_inverse=True)
        inside = np.argsort(bucket, kind="stable")
        same = bucket[inside][1:] == bucket[inside][:-1]
        heads = np.maximum.accumulate(np.where(np.concatenate([[True], ~same]), np.arange(len(inside)), 0))
        later = np.flatnonzero(same) + 1
        for earlier in (later - 1, heads[later]):
            pairs.append(np.stack([inside[earlier], inside[later]], axis=1))
    found = np.unique(np.concatenate(pairs), axis=0)
    similarity = np.concatenate([[0.0][:0], *_shares(ordered, found)])
    return rank[found[:, 0]], rank[found[:, 1]], similarity


def _shares(signatures: "np.ndarray[Any, Any]", pairs: "np.ndarray[Any, Any]") -> "Iterator[np.ndarray[Any, Any]]":
    for start in range(0, len(pairs), 50_000):
        first, second = pairs[start : start + 50_000].T
        yield (signatures[first] == signatures[second]).mean(axis=1)


def _among(
    members: Sequence[int], first: "np.ndarray[Any, Any]", second: "np.ndarray[Any, Any]"
) -> "np.ndarray[Any, Any]":
    import numpy as np

    inside: np.ndarray[Any, Any] = np.isin(first, members) & np.isin(second, members)
    return inside


def _components(
    first: "np.ndarray[Any, Any]", second: "np.ndarray[Any, Any]", kept: "np.ndarray[Any, Any]"
) -> list[tuple[int, ...]]:
    """Return the sets that the kept edges connect."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    one, other = first[kept], second[kept]
    nodes, places = np.unique(np.concatenate([one, other]), return_inverse=True)
    links = coo_array((np.ones(len(one)), (places[: len(one)], places[len(one) :])), shape=(len(nodes), len(nodes)))
    _, labels = connected_components(links, directed=False)
    order = np.argsort(labels, kind="stable")
    parts = np.split(nodes[order], np.flatnonzero(np.diff(labels[order])) + 1)
    return [tuple(part.tolist()) for part in parts if len(part)]
