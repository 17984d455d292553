"""Bag-of-words baseline, which uses no model. A readout that does not beat it has learnt words."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from joblib import Parallel, delayed, parallel_config
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor

MOST_TEXTS = 20_000
"""Number of texts that the vocabulary and each concept's model are learnt from; all of a rare class are among them."""

MANY_NUMBERS = 2**26
"""Numbers of all texts' vectors times concepts, above which models are fitted in as many processes as PyTorch uses threads: some
eight seconds of fits, where starting the processes takes one or two."""


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
    if held_out and (found := _vectors(texts)) is not None:
        vectorizer, words = found
        scores = _scores(words, positive, negative, vectorizer.transform(held_out))
    return scores


def cross_fitted_bag_of_words(
    texts: Sequence[str],
    positive: Bool[Tensor, "text concept"],
    negative: Bool[Tensor, "text concept"],
    fold: Int[Tensor, " text"],
    held_out: Sequence[str] = (),
) -> Float[Tensor, "any concept"]:
    """Score every text as `bag_of_words_scores` does, by the texts of other folds, and then held-out ones by all texts.

    The vocabulary is that of all texts.
    """
    scores = torch.full((len(texts) + len(held_out), positive.shape[1]), torch.nan)
    if (found := _vectors(texts)) is None:
        return scores
    if held_out:
        scores[len(texts) :] = _scores(found[1], positive, negative, found[0].transform(held_out))
    for number in torch.unique(fold).tolist():
        own, others = (fold == number).nonzero()[:, 0], (fold != number).nonzero()[:, 0]
        known, new = (found[1][rows.numpy()] for rows in (others, own))
        scores[own] = _scores(known, positive[others], negative[others], new)
    return scores


def _vectors(texts: Sequence[str]) -> tuple[TfidfVectorizer, Any] | None:
    """Return the vectorizer of some texts, and their vectors; None if no text holds a word."""
    if not texts:
        return None
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2 if len(texts) >= 200 else 1)
    try:
        if len(texts) <= MOST_TEXTS:
            return vectorizer, vectorizer.fit_transform(texts)
        vectorizer.fit([texts[row] for row in _order(len(texts))[:MOST_TEXTS].sort().values.tolist()])
    except ValueError:
        return None
    return vectorizer, vectorizer.transform(texts)


def _scores(
    words: Any, positive: Bool[Tensor, "text concept"], negative: Bool[Tensor, "text concept"], new: Any
) -> Float[Tensor, "new concept"]:
    """Fit each concept's model on vectors of known texts, and score those of new ones."""
    scores, order = torch.full((new.shape[0], positive.shape[1]), torch.nan), _order(len(positive))
    concepts = (positive.any(dim=0) & negative.any(dim=0)).nonzero()[:, 0].tolist()
    many = words.nnz * len(concepts) > MANY_NUMBERS
    processes = min(torch.get_num_threads(), len(concepts)) if many else 1

    def fits() -> Iterator[Any]:
        for concept in concepts:
            known = _some(order, positive[:, concept], negative[:, concept]).numpy()
            model = LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000)
            yield delayed(model.fit)(words[known], positive[known, concept].numpy())

    # On two threads the many short steps of a fit take more than twice the time. Texts go to processes through pipes: as files
    # in memory, joblib's default, those of all concepts would stay until the last fit.
    with threadpool_limits(1), parallel_config("loky", inner_max_num_threads=1):
        found = Parallel(processes, return_as="generator", max_nbytes=None)(fits())
        for concept, model in zip(concepts, found, strict=True):
            scores[:, concept] = torch.from_numpy(model.decision_function(new)).float()
    return scores


def _order(count: int) -> Int[Tensor, " text"]:
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))


def _some(
    order: Int[Tensor, " text"], positive: Bool[Tensor, " text"], negative: Bool[Tensor, " text"]
) -> Int[Tensor, " row"]:
    """Return the rows of at most `MOST_TEXTS` labelled texts, in rising order: the first of each class in this order."""
    rarer, commoner = sorted((order[label[order]] for label in (positive, negative)), key=len)
    rarer = rarer[: max(MOST_TEXTS // 2, MOST_TEXTS - len(commoner))]
    return torch.cat([rarer, commoner[: MOST_TEXTS - len(rarer)]]).sort().values
