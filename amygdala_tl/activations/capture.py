"""Capture of activations into the store: each unique text runs once, and only if the store lacks it."""

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

from amygdala_tl.activations.engine import PoolingEngine
from amygdala_tl.activations.plan import PlannedShard, plan_shards, shard_tokens
from amygdala_tl.activations.pooling import Pooled, PooledTexts
from amygdala_tl.activations.runner import NOT_FINITE, run_shards, tokenize_for
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.activations.token_sample import tokens_per_text
from amygdala_tl.errors import ModelError
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.tokenize import TokenizedText, Unreadable
from amygdala_tl.records import CaptureProgress, CaptureSummary, LeftOutText, ProgressCallback

SHOWN = 60
"""Characters of a text that a summary shows."""


def capture_texts(
    loaded: Lens | PoolingEngine,
    texts: Mapping[str, str],
    layers: Sequence[int],
    store: ActivationStore,
    *,
    batch_size: int | None = None,
    progress: ProgressCallback | None = None,
) -> CaptureSummary:
    """Run the texts that the store lacks and add their activations at all read positions to it, alone.

    A shard is written when its last text has run; see `plan` for its texts and its size. The store remembers texts that cannot be
    run.

    Args:
        loaded: the model.
        texts: id -> text.
        layers: decoder layers.
        store: made for the same model.
        batch_size: largest number of texts in a batch.
        progress: called after every batch.

    Raises:
        ModelError: none of the texts can be run.
        StorageError: the disk refused.
    """
    with store.capturing() if store.missing(texts, layers) else nullcontext():
        return _capture(loaded, texts, layers, store, batch_size, progress)


def _capture(
    loaded: Lens | PoolingEngine,
    texts: Mapping[str, str],
    layers: Sequence[int],
    store: ActivationStore,
    batch_size: int | None,
    progress: ProgressCallback | None,
) -> CaptureSummary:
    plan, unreadable = _planned(loaded, texts, layers, store)
    runnable = [text for shard in plan for text in shard.texts]
    tokens_total, texts_total = sum(text.n_tokens for text in runnable), len(runnable)
    texts_done = tokens_done = 0
    start = time.monotonic()
    broken: list[dict[str, str]] = []
    begun: dict[int, list[PooledTexts]] = {}
    if plan:
        store.leave_out(unreadable)
    for number, part in run_shards(loaded, plan, store.settings, batch_size=batch_size):
        shard, parts = plan[number], begun.setdefault(number, [])
        parts.append(part)
        ran = [*part.indices, *part.not_finite]
        if sum(len(each.indices) + len(each.not_finite) for each in parts) == len(shard.ids):
            broken.append(_add(store, shard, begun.pop(number), tokens_per_text(len(texts))))
        texts_done += len(ran)
        tokens_done += sum(shard.texts[index].n_tokens for index in ran)
        if progress is not None:
            progress(CaptureProgress(texts_done, texts_total, tokens_done, tokens_total))
    known = store.left_out | unreadable | {id: NOT_FINITE for ids in broken for id in ids}
    if texts and known.keys() >= texts.keys():
        reason = known[next(iter(texts))]
        raise ModelError(
            "no text can be run", label=loaded.info.id, got=reason, remedy="check the texts and the tokenizer"
        )
    for left_out in (unreadable, *broken):
        store.leave_out(left_out)
    return CaptureSummary(
        texts=len(texts),
        texts_run=texts_total,
        tokens_run=tokens_total,
        texts_cut=sum(text.cut for text in runnable),
        seconds=time.monotonic() - start,
        left_out=tuple(
            LeftOutText(id, text[:SHOWN], store.left_out[id]) for id, text in texts.items() if id in store.left_out
        ),
    )


def _planned(
    loaded: Lens | PoolingEngine, texts: Mapping[str, str], layers: Sequence[int], store: ActivationStore
) -> tuple[list[PlannedShard], dict[str, str]]:
    """Return the shards that the store lacks, and why some texts are in none: id -> reason."""
    plan: list[PlannedShard] = []
    unreadable: dict[str, str] = {}
    on_cpu = loaded.device.type == "cpu" if isinstance(loaded, Lens) else loaded.on_cpu
    for lacking, ids in store.missing(texts, layers).items():
        tokenized = dict(zip(ids, tokenize_for(loaded, [texts[id] for id in ids], store.settings), strict=True))
        unreadable |= {id: text.reason for id, text in tokenized.items() if isinstance(text, Unreadable)}
        readable = {id: text for id, text in tokenized.items() if isinstance(text, TokenizedText)}
        full = shard_tokens(loaded.info, max(lacking), on_cpu=on_cpu)
        plan += plan_shards(readable, lacking, tokens_per_text(len(texts)), full)
    return plan, unreadable


def _add(store: ActivationStore, shard: PlannedShard, parts: Sequence[PooledTexts], per_text: float) -> dict[str, str]:
    """Add a shard to the store, and return why some of its texts are left out; the store remembers that if others are not."""
    left_out = {shard.ids[index]: NOT_FINITE for part in parts for index in part.not_finite}
    if ids := [shard.ids[index] for part in parts for index in part.indices]:
        store.leave_out(left_out)
        store.add(
            ids, shard.layers, Pooled.joined([part.pooled for part in parts if part.pooled is not None]), per_text
        )
    return left_out
