"""Runs of tokenized texts through the model, batch by batch; tensors of shape [token, d_model] do not outlive their batch.

Only a text's own tokens are read, so only these run for each text. What comes before them runs once for all texts, and what comes
behind them does not run: attention is causal.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from amygdala_tl.activations.engine import PoolingEngine
from amygdala_tl.activations.halving import run_halving
from amygdala_tl.activations.plan import PlannedShard
from amygdala_tl.activations.pooling import PooledTexts, TokenBatch, pool, pool_batch, readable_tokens, tokens_read
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.prefix import TRIAL_PASSES, TRIAL_TOKENS, share_prefix
from amygdala_tl.lens.residuals import SharedPrefix, run_resid_post
from amygdala_tl.lens.tokenize import TokenizedText, Unreadable, tokenize
from amygdala_tl.records import CaptureSettings, CountCallback, ReadPosition

CPU_TOKEN_BUDGET = 1024
GPU_TOKEN_BUDGET = 16384
"""Tokens of a batch. On a CPU a smaller batch keeps a layer's tensors in its cache (docs/performance.md)."""

Prefixes = dict[tuple[tuple[int, ...], tuple[int, ...]], SharedPrefix | None]
"""What many texts begin with, and layers -> what the model keeps of it, None if it cannot be shared; for one model."""

Forward = Callable[[list[int], TokenBatch], Float[Tensor, "text token layer d_model"]]
"""Positions of the texts of a batch, and their tokens -> the residual stream."""

NOT_FINITE = "the model's activations for it are not finite"


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The residual stream of one batch.

    Attributes:
        indices: positions of the rows among the given texts.
        tokens: ids, and which of them to read.
        residuals: [text, token, layer, d_model] in the model's dtype.
        readable: [text, token, layer], see `readable_tokens`.
        not_finite: positions of the texts that ran and have no row, because some activation is NaN or infinite.
    """

    indices: list[int]
    tokens: TokenBatch
    residuals: Float[Tensor, "text token layer d_model"]
    readable: Bool[Tensor, "text token layer"]
    not_finite: list[int]


def run_batches(
    loaded: Lens,
    texts: Sequence[TokenizedText | Unreadable],
    layers: Sequence[int],
    *,
    batch_size: int | None = None,
    prefixes: Prefixes | None = None,
) -> Iterator[BatchResult]:
    """Run each text once, in batches of similar length: at most `batch_size` texts, and no more tokens than the budget.

    Texts that cannot be run are in no batch. A batch that does not fit into memory runs in halves. `prefixes` of earlier calls
    do not run again.

    Raises:
        ModelError: a single text does not fit into memory.
    """
    runnable = {index: text for index, text in enumerate(texts) if isinstance(text, TokenizedText)}
    behind = shared_prefix(loaded, list(runnable.values()), layers, {} if prefixes is None else prefixes)

    def forward(_indices: list[int], tokens: TokenBatch) -> Tensor:
        return run_resid_post(loaded.model, tokens.ids, layers, behind=behind)

    start = behind.n_tokens if behind else 0
    yield from in_batches(loaded.device, runnable, forward, start=start, batch_size=batch_size)


def in_batches(
    device: torch.device,
    texts: Mapping[int, TokenizedText],
    forward: Forward,
    *,
    start: int = 0,
    batch_size: int | None = None,
) -> Iterator[BatchResult]:
    """Run each text once, in batches as `run_batches` makes them, by `forward`; raises as it does.

    Args:
        device: of the model.
        texts: position of each text -> the text.
        forward: runs a batch.
        start: number of tokens of each text that do not run, because they come from a shared prefix.
        batch_size: most texts of a batch.
    """
    places, budget = list(texts), CPU_TOKEN_BUDGET if device.type == "cpu" else GPU_TOKEN_BUDGET
    lengths = [text.last + 1 - start for text in texts.values()]

    def run(batch: list[int]) -> BatchResult:
        indices = [places[at] for at in batch]
        tokens = pad([texts[index] for index in indices], device, start=start)
        residuals = forward(indices, tokens)
        tokens = tokens.to(residuals.device)
        broken = _not_finite(residuals, tokens)
        if broken.any():
            tokens, residuals = tokens.rows(~broken), residuals[~broken]
        left_out = [index for index, bad in zip(indices, broken.tolist(), strict=True) if bad]
        kept = [index for index in indices if index not in left_out]
        return BatchResult(kept, tokens, residuals, readable_tokens(residuals, tokens), left_out)

    yield from run_halving(pack(lengths, token_budget=budget, max_texts=batch_size), lengths, run)


def run_shards(
    loaded: Lens | PoolingEngine,
    plan: Sequence[PlannedShard],
    said: CaptureSettings,
    *,
    batch_size: int | None = None,
    prefixes: Prefixes | None = None,
) -> Iterator[tuple[int, PooledTexts]]:
    """Run each text of some shards once, on either kind of engine, and yield parts, each after the number of its shard.

    Positions in a part are those in its shard. With a `Lens`, a batch holds texts of one shard, so that a shard's activations
    do not depend on the others.

    Raises:
        ModelError: a single text does not fit into memory, or the engine fails.
    """
    if not isinstance(loaded, Lens):
        yield from loaded.pooled_shards(plan, said, batch_size)
        return
    prefixes = {} if prefixes is None else prefixes
    for number, shard in enumerate(plan):
        for batch in run_batches(loaded, shard.texts, shard.layers, batch_size=batch_size, prefixes=prefixes):
            yield number, _pooled(batch, shard.drawn, said)


def _pooled(batch: BatchResult, drawn: Sequence[Sequence[int]], said: CaptureSettings) -> PooledTexts:
    """Keep of a batch what a store keeps."""
    chosen = [
        [position - first for position in drawn[index]]
        for index, first in zip(batch.indices, batch.tokens.first.tolist(), strict=True)
    ]
    keep: dict[str, Any] = {"positions": said.positions, "components": said.token_components}
    pooled = pool_batch(batch.residuals, batch.tokens, chosen, **keep) if chosen else None
    return PooledTexts(batch.indices, pooled, batch.not_finite)


def shared_prefix(
    loaded: Lens, texts: Sequence[TokenizedText], layers: Sequence[int], known: Prefixes
) -> SharedPrefix | None:
    """Run what all texts begin with, where that saves more tokens than the run and its trial cost, unless it is known."""
    prefix = _common_start([text.ids[: text.first] for text in texts])
    if len(prefix) * len(texts) <= TRIAL_PASSES * (len(prefix) + TRIAL_TOKENS):
        return None
    if (key := (prefix, tuple(layers))) not in known:
        known[key] = share_prefix(loaded.model, prefix, layers, loaded.info.id)
    return known[key]


def _common_start(sequences: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    first, last = min(sequences, default=()), max(sequences, default=())
    return tuple(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))


def pad(texts: Sequence[TokenizedText], device: torch.device, *, start: int = 0) -> TokenBatch:
    """Make one batch of `texts` on `device`: their tokens from `start` to the last own one, padded on the right."""
    return TokenBatch(
        ids=pad_sequence([torch.tensor(text.ids[start : text.last + 1]) for text in texts], batch_first=True),
        content=pad_sequence([torch.tensor(text.content[start : text.last + 1]) for text in texts], batch_first=True),
        first=torch.full((len(texts),), start),
        last=torch.tensor([text.last - start for text in texts]),
        last_content=torch.tensor([text.last_content - start for text in texts]),
    ).to(device)


def _not_finite(residuals: Float[Tensor, "text token layer d_model"], tokens: TokenBatch) -> Bool[Tensor, " text"]:
    """Mark the texts with an activation of their own that is NaN or infinite."""
    broken = ~residuals.isfinite().all(dim=-1) & tokens.content[:, :, None]
    return broken.any(dim=2).any(dim=1)


def pack(lengths: Sequence[int], *, token_budget: int, max_texts: int | None = None) -> Iterator[list[int]]:
    """Yield the indices of the texts of each batch, so that all batches together cost least.

    A batch costs its size times its longest text, and as much as `token_budget` / 32 tokens besides. The longest texts come
    first, so that a lack of memory shows in the first batch.

    Args:
        lengths: number of tokens of each text.
        token_budget: largest product of a batch's size and its longest text; a text longer than this is a batch of its own.
        max_texts: largest number of texts in a batch.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    pass_cost, costs, starts = token_budget // 32, [0] + [sys.maxsize] * len(order), [0] * (len(order) + 1)
    for start, longest in enumerate(lengths[index] for index in order):
        most = max(1, min(token_budget // max(1, longest), max_texts or sys.maxsize, len(order) - start))
        for size in range(1, most + 1):
            cost = costs[start] + size * longest + pass_cost
            if cost < costs[start + size]:
                costs[start + size], starts[start + size] = cost, start
    cuts = [len(order)]
    while cuts[-1]:
        cuts.append(starts[cuts[-1]])
    for start, end in pairwise(reversed(cuts)):
        yield order[start:end]


def pool_texts(
    loaded: Lens,
    texts: Sequence[str],
    layers: Sequence[int],
    position: ReadPosition,
    settings: CaptureSettings,
    *,
    batch_size: int | None = None,
    on_batch: Callable[[BatchResult], None] = lambda _: None,
    progress: CountCallback | None = None,
) -> tuple[Float[Tensor, "text layer d_model"], Int[Tensor, "text layer"]]:
    """Compute the activations of `texts` at one read position, float32 on the CPU, without a store.

    `on_batch` is called with the streams of each batch, which are not kept, and `progress` with the number of texts that have
    run and of all that can.

    The second tensor is the number of tokens that were read. It is 0 if the activation is that of an attention sink because the
    text has no other token there. A text that cannot be run has NaN for activations, and 0.
    """
    tokenized = tokenize_for(loaded, texts, settings)
    batches = run_batches(loaded, tokenized, layers, batch_size=batch_size)
    total, done = sum(isinstance(each, TokenizedText) for each in tokenized), 0

    def ran(batch: BatchResult) -> None:
        nonlocal done
        on_batch(batch)
        done += len(batch.indices) + len(batch.not_finite)
        if progress is not None:
            progress(done, total)

    return pool_batches(batches, (len(texts), len(layers), loaded.info.d_model), position, ran)


def pool_batches(
    batches: Iterable[BatchResult],
    shape: tuple[int, int, int],
    position: ReadPosition,
    on_batch: Callable[[BatchResult], None] = lambda _: None,
) -> tuple[Float[Tensor, "text layer d_model"], Int[Tensor, "text layer"]]:
    """Pool all batches as `pool_texts` does; `shape` is that of the activations of all texts."""
    activations, counts = torch.full(shape, torch.nan), torch.zeros(shape[:2], dtype=torch.int32)
    for batch in batches:
        activations[batch.indices] = pool(batch.residuals, batch.tokens, batch.readable)[position].cpu()
        counts[batch.indices] = tokens_read(batch.tokens, batch.readable)[position].int().cpu()
        on_batch(batch)
    return activations, counts


def tokenize_for(
    loaded: Lens | PoolingEngine, texts: Sequence[str], settings: CaptureSettings
) -> list[TokenizedText | Unreadable]:
    """Tokenize `texts` for this model under these settings, each cut to fit the model's context."""
    found = tokenize(
        loaded.tokenizer,
        texts,
        chat_template=settings.chat_template,
        max_tokens=settings.max_tokens,
        context=loaded.info.n_ctx,
    )
    known = loaded.vocabulary
    return [
        Unreadable("it has a token that the model does not know")
        if isinstance(text, TokenizedText) and max(text.ids) >= known
        else text
        for text in found
    ]
