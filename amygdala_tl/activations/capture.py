"""Capture of activations into the store: each unique text runs once, and only if the store lacks it."""

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

from amygdala_tl.activations.engine import PoolingEngine
from amygdala_tl.activations.pooling import Pooled
from amygdala_tl.activations.runner import NOT_FINITE, run_pooled, tokenize_for
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.activations.token_sample import draw_tokens, tokens_per_text
from amygdala_tl.errors import ModelError
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.tokenize import TokenizedText, Unreadable
from amygdala_tl.records import CaptureProgress, CaptureSummary, LeftOutText, ProgressCallback

SHOWN = 60
"""Characters of a text that a summary shows."""

SHARD_TEXTS = 1024
SHARD_SECONDS = 60.0
"""A shard is written after this many texts or seconds, so that a killed run loses at most a minute."""


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
    loaded: Lens | PoolingEngine,
    texts: Mapping[str, str],
    layers: Sequence[int],
    store: ActivationStore,
    batch_size: int | None,
    progress: ProgressCallback | None,
) -> CaptureSummary:
    left_out: dict[str, str] = {}
    plan: list[tuple[tuple[int, ...], dict[str, TokenizedText]]] = []
    for lacking, ids in store.missing(texts, layers).items():
        tokenized = dict(zip(ids, tokenize_for(loaded, [texts[id] for id in ids], store.settings), strict=True))
        left_out |= {id: text.reason for id, text in tokenized.items() if isinstance(text, Unreadable)}
        plan.append((lacking, {id: text for id, text in tokenized.items() if isinstance(text, TokenizedText)}))
    runnable = [text for _, some in plan for text in some.values()]
    tokens_total, texts_total = sum(text.n_tokens for text in runnable), len(runnable)
    texts_done = tokens_done = 0
    start = time.monotonic()
    per_text, said = tokens_per_text(len(texts)), store.settings
    for lacking, some in plan:
        pending, ids = _Pending(lacking, store, per_text), list(some)
        drawn = [draw_tokens(id, text.content, per_text) for id, text in some.items()]
        try:
            for part in run_pooled(loaded, list(some.values()), drawn, lacking, said, batch_size=batch_size):
                pending.add([ids[index] for index in part.indices], part.pooled)
                left_out |= {ids[index]: NOT_FINITE for index in part.not_finite}
                ran = [some[ids[index]] for index in (*part.indices, *part.not_finite)]
                texts_done, tokens_done = texts_done + len(ran), tokens_done + sum(text.n_tokens for text in ran)
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

    def __init__(self, layers: Sequence[int], store: ActivationStore, per_text: float) -> None:
        self.layers, self.store, self.per_text = layers, store, per_text
        self._reset()

    def _reset(self) -> None:
        self.ids: list[str] = []
        self.parts: list[Pooled] = []
        self.since = time.monotonic()

    @property
    def whole(self) -> bool:
        """Whether no batch has been added in part, as an interruption may leave it."""
        return len(self.ids) == sum(len(part.token_counts) for part in self.parts)

    def add(self, ids: Sequence[str], pooled: Pooled | None) -> None:
        if pooled is not None:
            self.parts.append(pooled)
            self.ids.extend(ids)
        if len(self.ids) >= SHARD_TEXTS or time.monotonic() - self.since > SHARD_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self.ids:
            self.store.add(self.ids, self.layers, Pooled.joined(self.parts), self.per_text)
            self._reset()
