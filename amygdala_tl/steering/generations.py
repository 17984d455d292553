"""Generations side by side: the same prompt and the same noise, with every direction, in every dose.

A step of a few rows costs almost as much as one of many, because it reads all weights. So several concepts run in one batch.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch

from amygdala_tl.lens.generation import generate
from amygdala_tl.lens.model import Lens
from amygdala_tl.steering.blocks import SampleBlock
from amygdala_tl.steering.edits import NOT_FIRST, Add, Edit
from amygdala_tl.steering.hooks import intervene
from amygdala_tl.steering.journal import Journal
from amygdala_tl.steering.records import Sample

ROWS_AT_A_TIME = 64
"""Of a batch, where one block has no more; a run that was stopped loses the batch under way."""

NGRAM = 3


def sample(
    blocks: Sequence[SampleBlock], lens: Lens, journal: Journal, advance: Callable[[], None]
) -> tuple[Sample, ...]:
    """Generate what the journal lacks of the blocks of one check, and return all samples in order.

    Raises:
        StorageError: the journal cannot be written.
    """
    missing = [block for block in blocks if not journal.has(block)]
    at_once = max(1, ROWS_AT_A_TIME // max((len(_doses(block)) for block in missing), default=1))
    batches = (missing[start : start + at_once] for start in range(0, len(missing), at_once))
    said: dict[str, tuple[Sample, ...]] = {}
    found: list[Sample] = []
    for block in blocks:
        if block.key not in said and not journal.has(block):
            some = next(batches)
            said = {each.key: samples for each, samples in zip(some, _together(some, lens), strict=True)}
        found += journal.block(block, tuple[Sample, ...], partial(said.__getitem__, block.key))
        advance()
    return tuple(found)


def repetition(tokens: Sequence[int], n: int = NGRAM) -> float:
    """Share of the n-token sequences that occurred before, 0 to 1; 0 for texts with fewer than two."""
    pieces = [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
    return 1.0 - len(set(pieces)) / len(pieces) if len(pieces) > 1 else 0.0


def _together(blocks: Sequence[SampleBlock], lens: Lens) -> list[tuple[Sample, ...]]:
    """Generate what several blocks of one check ask for; only their directions, layers and norms differ."""
    first, found = blocks[0], [list[Sample]() for _ in blocks]
    seeds = [first.seed + number for number in range(first.samples)]
    size = len(_doses(first))

    def noise(step: int, vocabulary: int) -> torch.Tensor:
        rows = torch.stack([_gumbel(vocabulary, seed, step) for seed in seeds])
        return rows.repeat(len(first.doses) * len(blocks), 1)

    for prompt in first.prompts:
        tokens = torch.tensor([prompt]).expand(size * len(blocks), -1)
        with intervene(lens, _edits(blocks)):
            said = generate(lens, tokens, first.new_tokens, noise=noise, temperature=first.temperature).tolist()
        for row, ids in enumerate(said):
            block, at = blocks[row // size], row % size
            kept = ids[: ids.index(block.end)] if block.end in ids else ids
            found[row // size].append(
                Sample(
                    concept=block.concept,
                    layer=block.layer,
                    dose=_doses(block)[at],
                    prompt=lens.tokenizer.decode(prompt),
                    seed=seeds[at % block.samples],
                    text=lens.tokenizer.decode(kept),
                    repetition=repetition(kept),
                )
            )
    return [tuple(samples) for samples in found]


def _doses(block: SampleBlock) -> list[float]:
    """Dose of every row of a block."""
    return [dose for dose in block.doses for _ in range(block.samples)]


def _edits(blocks: Sequence[SampleBlock]) -> dict[int, Edit]:
    """Edits of every layer that some block steers; rows of the other blocks get nothing there."""
    directions = torch.cat([block.direction.expand(len(_doses(block)), -1) for block in blocks])
    amounts = {
        layer: torch.tensor([dose * block.norm * (block.layer == layer) for block in blocks for dose in _doses(block)])
        for layer in {block.layer for block in blocks}
    }
    return {layer: Add(directions, amount=amount, where=NOT_FIRST) for layer, amount in amounts.items()}


def _gumbel(vocabulary: int, seed: int, step: int) -> torch.Tensor:
    """Noise that depends on the sample and the step, not on what else is in the batch."""
    generator = torch.Generator().manual_seed(seed * 100_003 + step)
    uniform = torch.rand(vocabulary, generator=generator).clamp_min(1e-20)
    result: torch.Tensor = -(-uniform.log()).clamp_min(1e-20).log()
    return result
