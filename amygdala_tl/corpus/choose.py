"""Which examples of a concept are used when there are more than enough.

The cap holds for a concept, a polarity and a split each: at most `max_examples_per_emotion` training positives, as many
training negatives, and separately as many held-out ones. One cap over both splits would make the number of training
texts depend on how many held-out ones there happen to be.
"""

import heapq
from collections.abc import Collection

from amygdala_tl.corpus.hashing import ranking
from amygdala_tl.corpus.labels import Polarity


def choose(ids: Collection[str], *, concept: str, polarity: Polarity, limit: int, seed: int) -> frozenset[str]:
    """Choose at most `limit` text ids: those whose seeded hash with the concept and polarity is smallest.

    An id's place depends on nothing but itself: adding k ids displaces at most k others, and order does not matter.
    """
    if len(ids) <= limit:
        return frozenset(ids)
    return frozenset(heapq.nsmallest(limit, ids, key=ranking("choose", seed, concept, polarity)))
