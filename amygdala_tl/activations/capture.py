"""Capture of activations into the store: each unique text runs once, and only if the store lacks it."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from amygdala_tl.activations.pooling import pool, token_spread, token_sums
from amygdala_tl.activations.runner import NOT_FINITE, BatchResult, run_batches, tokenize_for
from amygdala_tl.activations.store import ActivationStore, ShardTensors
from amygdala_tl.errors import ModelError
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.tokenize import TokenizedText, Unreadable
from amygdala_tl.records import READ_POSITIONS, CaptureProgress, CaptureSummary, LeftOutText, ProgressCallback

SHOWN = 60
"""Characters of a text that a summary shows."""

SHARD_TEXTS = 1024
SHARD_SECONDS = 60.0
"""A shard is written after this many texts or seconds, so that a killed run loses at most a minute."""


def capture_texts(
    loaded: Lens,
    texts: Mapping[str, str],
    layers: Sequence[int],
    store: ActivationStore,
    *,
    batch_size: int | None = None,
    progress: ProgressCallback | None = None,
) -> CaptureSummary:
    """Run the texts that the store lacks and add their activations at all read positions to it, alone.

    A text that cannot be run is left out, and the store remembers it.

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
    loaded: Lens,
    texts: Mapping[str, str],
    layers: Sequence[int],
    store: ActivationStore,
    batch_size: int | None,
    progress: ProgressCallback | None,
) -> CaptureSummary:
    plan: list[tuple[tuple[int, ...], list[str], list[TokenizedText | Unreadable]]] = [
        (lacking, ids, tokenize_for(loaded, [texts[text] for text in ids], store.settings))
        for lacking, ids in store.missing(texts, layers).items()
    ]
    runnable = [text for _, _, tokenized in plan for text in tokenized if isinstance(text, TokenizedText)]
    tokens_total, texts_total = sum(len(text.ids) for text in runnable), len(runnable)
    left_out = {
        id: text.reason
        for _, ids, tokenized in plan
        for id, text in zip(ids, tokenized, strict=True)
        if isinstance(text, Unreadable)
    }
    texts_done = tokens_done = 0
    start = time.monotonic()
    for lacking, ids, tokenized in plan:
        pending = _Pending(lacking, store)
        try:
            for batch in run_batches(loaded, tokenized, lacking, batch_size=batch_size):
                pending.add([ids[index] for index in batch.indices], batch)
                left_out |= {ids[index]: NOT_FINITE for index in batch.not_finite}
                texts_done += len(batch.indices) + len(batch.not_finite)
                tokens_done += batch.n_tokens
                if progress is not None:
                    progress(CaptureProgress(texts_done, texts_total, tokens_done, tokens_total))
            pending.flush()
        except KeyboardInterrupt:
            if pending.whole:
                pending.flush()  # what has run is kept
            raise
    known = store.left_out | left_out
    if texts and known.keys() >= texts.keys():
        reason = known[next(iter(texts))]
        raise ModelError(
            "no text can be run", label=loaded.info.id, got=reason, remedy="check the texts and the tokenizer"
        )
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


class _Pending:
    """Pooled activations of the texts that no shard holds yet."""

    def __init__(self, layers: Sequence[int], store: ActivationStore) -> None:
        self.layers, self.store = layers, store
        self.whole = True
        """Whether no batch has been added in part, as an interruption may leave it."""
        self._reset()

    def _reset(self) -> None:
        n_layers, d_model = len(self.layers), self.store.info.d_model
        self.ids: list[str] = []
        self.rows: defaultdict[str, list[Tensor]] = defaultdict(list)
        self.sums = (
            torch.zeros(n_layers, dtype=torch.int64),
            torch.zeros(n_layers, d_model, dtype=torch.float64),
            torch.zeros(n_layers, d_model, d_model, dtype=torch.float64),
        )
        self.since = time.monotonic()

    def add(self, ids: Sequence[str], batch: BatchResult) -> None:
        self.whole = False
        self.ids.extend(ids)
        rows: list[tuple[str, Tensor]] = [*pool(batch.residuals, batch.tokens, batch.readable).items()]
        if components := self.store.settings.token_components:
            rows.append(("spread", token_spread(batch.residuals, batch.readable, components)))
        for name, values in rows:
            self.rows[name].append(values.cpu())
        for total, part in zip(self.sums, token_sums(batch.residuals, batch.readable), strict=True):
            total += part.cpu()
        if len(self.ids) >= SHARD_TEXTS or time.monotonic() - self.since > SHARD_SECONDS:
            self.flush()
        self.whole = True

    def flush(self) -> None:
        if not self.ids:
            return
        positions = {position: torch.cat(self.rows[position]) for position in READ_POSITIONS}
        spread = torch.cat(self.rows["spread"]) if "spread" in self.rows else None
        self.store.add(self.ids, self.layers, ShardTensors(positions, *self.sums, spread))
        self._reset()
