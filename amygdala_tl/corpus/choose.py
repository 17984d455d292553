"""The choice of examples for a concept that has more than enough.

The cap holds separately for each concept, polarity and split: at most `max_examples_per_emotion` training positives, as many
training negatives, and as many held-out ones. One cap over both splits would make the number of training texts depend on
the number of held-out ones.
"""

import heapq
from collections.abc import Collection

from amygdala_tl.corpus.hashing import ranking
from amygdala_tl.corpus.labels import Polarity


def choose(ids: Collection[str], *, concept: str, polarity: Polarity, limit: int, seed: int) -> frozenset[str]:
    """Choose at most `limit` text ids: those with the smallest seeded hash of concept, polarity and id.

    The rank of an id depends only on the id: adding k ids displaces at most k others, and order does not matter.
    """
    if len(ids) <= limit:
        return frozenset(ids)
    return frozenset(heapq.nsmallest(limit, ids, key=ranking("choose", seed, concept, polarity)))
