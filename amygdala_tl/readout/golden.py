"""The golden check: does a model give fixed texts the token ids and scores that it gave when the readout was trained?

A score depends on weights, configuration, tokenizer, chat template, dtype and engine. Hashes show a change in those that
somebody thought of hashing. Running a few texts shows any change, and its size. The vLLM plugin imports this file, so it needs
nothing that stock vLLM does not install.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from amygdala_tl.errors import ReadoutError
from amygdala_tl.readout.provenance import Golden

TOLERANCES = {"float32": 2e-4, "float16": 2e-2, "bfloat16": 1e-1}
"""Largest golden difference of one model between two engines, in standard deviations of a token's score.

SmolLM2 against float32: another engine 2e-6, float16 3e-3, bfloat16 2e-2. Other computations: an epsilon of 1e-6 for 1e-5 4e-4, a
rotary base 1% larger 7e-4, twice as large 5e-2, weights rounded to 8 bits 4e-2, GELU for SiLU 0.5.
"""


@dataclass(frozen=True, slots=True)
class GoldenCheck:
    """Result of a golden check.

    Attributes:
        difference: of the scores, in standard deviations of a token's score: root mean square over concepts, median over tokens,
            at the layer where it is largest.
        tolerance: largest difference that passes.
        layer: where the difference is largest.
        n_tokens: how many tokens were compared.
    """

    difference: float
    tolerance: float
    layer: int
    n_tokens: int

    @property
    def passed(self) -> bool:
        """True if the difference is within the tolerance."""
        return self.difference <= self.tolerance

    def __str__(self) -> str:
        return (
            f"the scores of the golden texts are {self.difference:.2g} standard deviations apart at layer {self.layer} "
            f"(median of {self.n_tokens} tokens; at most {self.tolerance:.2g} for the same model)"
        )


def golden_tolerance(*dtypes: str) -> float:
    """Return the largest golden difference of one model that ran in these dtypes."""
    return max(TOLERANCES.get(dtype, TOLERANCES["bfloat16"]) for dtype in dtypes)


def golden_of(texts: Sequence[str], ids: Sequence[Sequence[int]], scores: Tensor) -> Golden:
    """Make the record of golden texts, their token ids and the scores [token, layer, concept] of all their tokens."""
    packed = scores.float().cpu().contiguous().numpy().astype("<f4").tobytes()
    return Golden(tuple(texts), tuple(map(tuple, ids)), packed)


def golden_scores(golden: Golden, n_layers: int, n_concepts: int) -> Tensor:
    """Return the scores [token, layer, concept] in the record."""
    return torch.frombuffer(bytearray(golden.scores), dtype=torch.float32).reshape(-1, n_layers, n_concepts)


def other_ids(golden: Golden, ids: Sequence[Sequence[int]]) -> str | None:
    """Say where a tokenizer and chat template give the golden texts other token ids; None if they are the same."""
    for text, ours, theirs in zip(golden.texts, golden.ids, ids, strict=True):
        if tuple(ours) != tuple(theirs):
            pairs = enumerate(zip(ours, theirs, strict=False))
            place = next((index for index, (a, b) in pairs if a != b), min(len(ours), len(theirs)))
            return (
                f"{text[:16]!r}... has other token ids from position {place} on ({len(theirs)} ids, {len(ours)} before)"
            )
    return None


def compare(expected: Tensor, scores: Any, scale: Tensor, layers: Sequence[int], tolerance: float) -> GoldenCheck:
    """Compare scores with the `expected` ones [token, layer, concept], in units of `scale` [layer, concept].

    The median over tokens decides, so that an expert that flips at one token in half precision does not make another model.

    Raises:
        ReadoutError: the scores have another shape, or no token was computed.
    """
    found = torch.as_tensor(scores).float().cpu()
    if found.shape != expected.shape:
        got, need, remedy = tuple(found.shape), tuple(expected.shape), "run the golden token ids"
        raise ReadoutError("the scores are not those of the golden texts", got=got, need=need, remedy=remedy)
    computed = found.isfinite().flatten(1).all(dim=1)
    if not bool(computed.any()):
        raise ReadoutError("no score of the golden texts is finite", remedy="run the golden token ids again")
    z = (found - expected)[computed] / scale
    by_layer = z.square().mean(dim=-1).sqrt().median(dim=0).values
    worst = int(by_layer.argmax())
    return GoldenCheck(float(by_layer[worst]), tolerance, layers[worst], int(computed.sum()))
