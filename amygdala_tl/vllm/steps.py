"""One step of vLLM's scheduler: which rows of the forward pass are whose, and where they stand in their prompts.

This module does not import vLLM.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor


def rows_of_step(runner: Any, scheduler_output: Any) -> tuple[Sequence[tuple[str, int]], Tensor]:
    """Return (request id, number of rows) in the order of the rows, and each row's position, for either model runner."""
    state = runner.execute_model_state
    batch = getattr(state, "input_batch", None)
    if batch is not None:  # V2 keeps the batch with the state
        counts = [int(count) for count in batch.num_scheduled_tokens[: len(batch.req_ids)]]
        return list(zip(batch.req_ids, counts, strict=True)), batch.positions[: sum(counts)]
    scheduled = scheduler_output.num_scheduled_tokens
    requests = [(name, scheduled[name]) for name in runner.input_batch.req_ids]
    return requests, runner.positions[: scheduler_output.total_num_scheduled_tokens]


def starts_of_step(scheduler_output: Any) -> dict[str, int]:
    """Return the position of each request's first token of this step."""
    cached = scheduler_output.scheduled_cached_reqs
    starts = {new.req_id: new.num_computed_tokens for new in scheduler_output.scheduled_new_reqs}
    return starts | dict(zip(cached.req_ids, cached.num_computed_tokens, strict=True))


def ends_of_step(scheduler_output: Any) -> list[tuple[str, int]]:
    """Return (request id, position after its last token of this step)."""
    counts = scheduler_output.num_scheduled_tokens
    return [(name, start + counts.get(name, 0)) for name, start in starts_of_step(scheduler_output).items()]
