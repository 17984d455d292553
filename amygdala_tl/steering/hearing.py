"""A judge of what a steered model says: can a bag of words of the corpus tell which concept was added?

Words after an opening are one token; a continuation is a text. The judge has never seen the model: it is the bag of words that
readouts are compared with, fitted on the corpus's own texts.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from amygdala_tl.diagnostics.baselines import bag_of_words_scores
from amygdala_tl.diagnostics.intervals import auroc_interval
from amygdala_tl.diagnostics.scored import ScoredTexts
from amygdala_tl.steering.records import Heard, Sample


def hear(
    samples: Sequence[Sample],
    concepts: Sequence[str],
    texts: Sequence[str],
    positive: Bool[Tensor, "text concept"],
    negative: Bool[Tensor, "text concept"],
    seed: int,
) -> tuple[Heard, ...]:
    """Judge every concept at every dose: its continuations against those of the other concepts at the same dose.

    A single concept is judged against what the model says without it. Continuations of one prompt and one noise are one group of
    the bootstrap.

    Args:
        samples: generations of one check.
        concepts: the tested ones.
        texts: of the corpus, with their labels as `positive` and `negative`.
        seed: of the bootstrap.
    """
    if not samples:
        return ()
    scores = bag_of_words_scores(texts, positive, negative, [each.text for each in samples])
    own = torch.tensor([[each.concept == concept for concept in concepts] for each in samples])
    groups = torch.tensor(_numbers([(each.prompt, each.seed) for each in samples]))
    dose = torch.tensor([each.dose for each in samples], dtype=torch.float64)
    found = []
    for at in sorted({each.dose for each in samples} - {0.0}):
        added = (dose == at)[:, None]
        others = ~own & added if len(concepts) > 1 else (dose == 0.0)[:, None]
        said = ScoredTexts(scores, own & added, others, groups)
        interval = auroc_interval(said, torch.Generator().manual_seed(seed))
        ends = zip(*(end.tolist() for end in (interval.value, interval.low, interval.high)), strict=True)
        counts = (own & added).sum(dim=0).tolist()
        found += [
            Heard(concept, at, count, *numbers) for concept, count, numbers in zip(concepts, counts, ends, strict=True)
        ]
    return tuple(sorted(found, key=lambda each: concepts.index(each.concept)))


def _numbers(keys: Sequence[tuple[str, int]]) -> list[int]:
    known = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return [known[key] for key in keys]
