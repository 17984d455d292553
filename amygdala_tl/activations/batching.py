"""Batches of texts of similar length under a token budget, which wastes little time on pads."""

from collections.abc import Iterator, Sequence

CPU_TOKEN_BUDGET = 2048
GPU_TOKEN_BUDGET = 16384


def pack(lengths: Sequence[int], *, token_budget: int, max_texts: int | None = None) -> Iterator[list[int]]:
    """Yield the indices of the texts of each batch, longest texts first, so that a lack of memory shows in the first batch.

    Args:
        lengths: number of tokens of each text.
        token_budget: largest product of a batch's size and its longest text; a text longer than this is a batch of its own.
        max_texts: largest number of texts in a batch.
    """
    batch: list[int] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        longest = max(longest, lengths[index])
        full = (len(batch) + 1) * longest > token_budget or (max_texts is not None and len(batch) >= max_texts)
        if batch and full:
            yield batch
            batch, longest = [], lengths[index]
        batch.append(index)
    if batch:
        yield batch
