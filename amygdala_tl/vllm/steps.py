"""One step of vLLM's scheduler: which rows of the forward pass are whose, and where they stand in their prompts.

This module does not import vLLM.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
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
    """Return (request id, position after its last token of this step that is sure to remain)."""
    counts, drafts = scheduler_output.num_scheduled_tokens, scheduler_output.scheduled_spec_decode_tokens
    starts = starts_of_step(scheduler_output)
    return [(name, start + counts.get(name, 0) - len(drafts.get(name, ()))) for name, start in starts.items()]


def accepted_rows(
    requests: Sequence[tuple[str, int]], drafts: Mapping[str, Sequence[int]], output: Any
) -> tuple[list[tuple[str, int]], Tensor]:
    """Return what the sampler leaves of a step with drafts: (request id, number of rows), and the places of these rows.

    Args:
        requests: as `rows_of_step` returns them; a request's drafts are its last rows.
        drafts: request id -> drafted tokens.
        output: of the runner. A request has sampled one token more than it has accepted drafts.
    """
    kept, places, start = list[tuple[str, int]](), list[int](), 0
    for name, count in requests:
        left = count
        if name in drafts:
            sampled = output.sampled_token_ids[output.req_id_to_index[name]]
            left += max(len(sampled) - 1, 0) - len(drafts[name])
        kept.append((name, left))
        places += range(start, start + left)
        start += count
    return kept, torch.tensor(places)
