"""Bag-of-words baseline, which uses no model. A readout that does not beat it has learnt words."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from torch import Tensor

MOST_TEXTS = 20_000
"""Number of texts that the vocabulary and each concept's model are learnt from; all of a rare class are among them."""


def bag_of_words_scores(
    texts: Sequence[str],
    positive: Bool[Tensor, "text concept"],
    negative: Bool[Tensor, "text concept"],
    held_out: Sequence[str],
) -> Float[Tensor, "held_out concept"]:
    """Compute the log-odds of every held-out text by logistic regression on tf-idf of single words and pairs.

    Each concept has its own model, of at most `MOST_TEXTS` texts. Term counts enter by their logarithm, corpora of 200 texts or
    more drop words of a single text, classes are balanced, and C is 1: the usual strong baseline, not tuned for any corpus.

    Args:
        texts: training texts.
        positive, negative: their labels; texts that are neither do not count.
        held_out: texts to score.

    Returns:
        NaN for a concept with an empty class, or for texts without any word.
    """
    scores = torch.full((len(held_out), positive.shape[1]), torch.nan)
    if not held_out or not texts:
        return scores
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2 if len(texts) >= 200 else 1)
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0))
    try:
        vectorizer.fit([texts[row] for row in order[:MOST_TEXTS].sort().values.tolist()])
    except ValueError:  # no text holds a word
        return scores
    words = vectorizer.transform(texts)
    words_held_out = vectorizer.transform(held_out)
    for concept in range(positive.shape[1]):
        label = positive[:, concept].numpy()
        known = _some(order, positive[:, concept], negative[:, concept]).numpy()
        if not label.any() or label[known].all():
            continue
        model = LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000)
        model.fit(words[known], label[known])
        scores[:, concept] = torch.from_numpy(model.decision_function(words_held_out)).float()
    return scores


def _some(
    order: Int[Tensor, " text"], positive: Bool[Tensor, " text"], negative: Bool[Tensor, " text"]
) -> Int[Tensor, " row"]:
    """Return the rows of at most `MOST_TEXTS` labelled texts, in rising order: the first of each class in this order."""
    rarer, commoner = sorted((order[label[order]] for label in (positive, negative)), key=len)
    rarer = rarer[: max(MOST_TEXTS // 2, MOST_TEXTS - len(commoner))]
    return torch.cat([rarer, commoner[: MOST_TEXTS - len(rarer)]]).sort().values
