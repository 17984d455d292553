"""Statistics of ablations: does the concept go when its direction goes, more than when a random one goes?"""

from collections.abc import Mapping, Sequence

import torch

from amygdala_tl.steering.measured import MeasuredAblation
from amygdala_tl.steering.records import Ablation
from amygdala_tl.steering.significance import bootstrap_interval, holm_over_cells, pooled_p_values


def ablation_records(measured: Sequence[MeasuredAblation], seed: int) -> Mapping[tuple[tuple[int, ...], int], Ablation]:
    """(layers, number of the concept) -> what taking its direction out does, p-values corrected over all of them."""
    if not measured:
        return {}
    fall = torch.stack([-found.words.mean(dim=1) for found in measured])  # [place, direction]
    _, p = pooled_p_values(fall[:, :1], fall[:, None, 1:])
    corrected = holm_over_cells(p)[:, 0]
    result = {}
    for place, found in enumerate(measured):
        low, high = bootstrap_interval(-found.words[0], torch.Generator().manual_seed(seed))
        result[found.layers, found.concept] = Ablation(
            layers=found.layers,
            texts=found.words.shape[1],
            fall=float(fall[place, 0]),
            low=float(low) if bool(low.isfinite()) else None,
            high=float(high) if bool(high.isfinite()) else None,
            random_mean=float(fall[place, 1:].mean()),
            random_deviation=float(fall[place, 1:].std()),
            p_value=float(corrected[place]) if bool(corrected[place].isfinite()) else None,
            reads_fall=None if found.reads is None else -float(found.reads[0]),
            reads_random=None if found.reads is None else -float(found.reads[1:].mean()),
        )
    return result
