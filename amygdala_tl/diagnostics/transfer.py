"""Does a readout read texts from elsewhere? A verdict on every concept, from how much of what is possible there it keeps.

What is possible is the lower of two AUROCs: the readout's own in the corpus that it was fitted on, and that of a readout which
the same method fits on the other texts (cross-fitted). A readout *transfers* if it keeps clearly more than half of the possible
AUROC's distance from chance, is read *only where it was trained* if it keeps clearly less of a possible AUROC that is clearly
above chance, and is *undecided* otherwise. "Clearly" means by a 95% interval,
whose replicates draw groups once for both readouts.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.diagnostics.intervals import drawn_auroc, interval_of_draws
from amygdala_tl.diagnostics.records import Transfer, TransferName
from amygdala_tl.diagnostics.scored import CROSS_FITTED, ScoredTexts
from amygdala_tl.directions.auroc import auroc
from amygdala_tl.readout.provenance import Verdict

KEPT = 0.5
"""Share of the possible AUROC's distance from chance that a readout has to keep."""

ERRORS = 1.96
"""Standard errors from an estimate to either end of a verdict's interval, at least: few texts have more."""


def transfer(
    texts: ScoredTexts,
    trained_there: Float[Tensor, "text concept"],
    verdicts: Mapping[str, Verdict],
    concepts: tuple[str, ...],
    generator: torch.Generator,
) -> Transfer:
    """Judge whether each concept's readout reads these texts.

    Args:
        texts: scores of texts that the readout was not fitted on, by the readout.
        trained_there: scores of the same texts by directions that were fitted on other groups of them; NaN where there are none.
        verdicts: concept -> verdict on the corpus that the readout was fitted on; a concept may be missing.
        concepts: of the readout.
        generator: of the replicates.
    """
    home, spread_at_home = at_home(verdicts, concepts)
    ceiling = auroc(trained_there, texts.positive, texts.negative)
    own, there = drawn_auroc(texts, (texts.scores, trained_there), generator)
    # Cross-fitted scores have wider errors; and those of the corpus at home are independent of both.
    there = there[:1] + CROSS_FITTED * (there - there[:1])
    drawn_home = torch.cat(
        [torch.zeros(1, len(concepts)), torch.randn(len(own) - 1, len(concepts), generator=generator)]
    )
    drawn_home = (home.logit() + spread_at_home * drawn_home.double()).sigmoid()
    possible = torch.fmin(drawn_home, there)
    margin = interval_of_draws(texts, own - 0.5 - KEPT * (possible - 0.5).clamp_min(0.0))
    something = interval_of_draws(texts, possible).low > 0.5
    ends = zip(margin.low.tolist(), margin.high.tolist(), something.tolist(), strict=True)
    return Transfer(ceiling, margin, tuple(_verdict(*each) for each in ends))


def _verdict(low: float, high: float, something: bool) -> TransferName:
    """Judge a margin by its interval, and by whether there is something to read at all; NaN decides nothing."""
    if low > 0:
        return "transfers"
    return "only where it was trained" if high < 0 and something else "undecided"


def at_home(
    verdicts: Mapping[str, Verdict], concepts: tuple[str, ...]
) -> tuple[Float[Tensor, " concept"], Float[Tensor, " concept"]]:
    """Return the AUROC of every concept at home, and the standard error of its logit; NaN where it was not judged."""
    rows = []
    for concept in concepts:
        said = verdicts.get(concept)
        ends = (None,) * 3 if said is None else (said.auroc, *said.interval)
        rows.append([torch.nan if end is None else end for end in ends])
    value, low, high = torch.tensor(rows, dtype=torch.float64).clamp(1e-3, 1 - 1e-3).T
    return value, (high.logit() - low.logit()) / (2 * ERRORS)
