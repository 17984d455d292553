"""Runs of tokenized texts through the model, batch by batch; tensors of shape [token, d_model] do not outlive their batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from amygdala_tl.activations.pooling import TokenBatch, pad, pool, readable_tokens, was_readable
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.residuals import run_resid_post
from amygdala_tl.lens.tokenize import TokenizedText, tokenize
from amygdala_tl.records import CaptureSettings, ReadPosition

CPU_TOKEN_BUDGET = 2048
GPU_TOKEN_BUDGET = 16384


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The residual stream of one batch.

    Attributes:
        indices: positions of the rows among the given texts.
        tokens: ids, and which of them to read.
        residuals: [text, token, layer, d_model] in the model's dtype.
        readable: [text, token, layer], see `readable_tokens`.
    """

    indices: list[int]
    tokens: TokenBatch
    residuals: Float[Tensor, "text token layer d_model"]
    readable: Bool[Tensor, "text token layer"]


def run_batches(
    loaded: Lens, texts: Sequence[TokenizedText], layers: Sequence[int], *, batch_size: int | None = None
) -> Iterator[BatchResult]:
    """Run each text once, in batches of similar length: at most `batch_size` texts, and no more tokens than the budget."""
    budget = CPU_TOKEN_BUDGET if loaded.device.type == "cpu" else GPU_TOKEN_BUDGET
    for indices in pack([len(text.ids) for text in texts], token_budget=budget, max_texts=batch_size):
        tokens = pad([texts[index] for index in indices], loaded.device)
        residuals = run_resid_post(loaded.model, tokens.ids, layers)
        tokens = tokens.to(residuals.device)
        yield BatchResult(indices, tokens, residuals, readable_tokens(residuals, tokens.content))


def pack(lengths: Sequence[int], *, token_budget: int, max_texts: int | None = None) -> Iterator[list[int]]:
    """Yield the indices of the texts of each batch: texts of similar length under a token budget, which wastes little on pads.

    The longest texts come first, so that a lack of memory shows in the first batch.

    Args:
        lengths: number of tokens of each text.
        token_budget: largest product of a batch's size and its longest text; a text longer than this is a batch of its own.
        max_texts: largest number of texts in a batch.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        enough = max_texts is not None and len(batch) >= max_texts
        if batch and (enough or (len(batch) + 1) * lengths[batch[0]] > token_budget):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def pool_texts(
    loaded: Lens,
    texts: Sequence[str],
    layers: Sequence[int],
    position: ReadPosition,
    settings: CaptureSettings,
    *,
    batch_size: int | None = None,
) -> tuple[Float[Tensor, "text layer d_model"], Bool[Tensor, "text layer"]]:
    """Compute the activations of `texts` at one read position, float32 on the CPU, without a store.

    The second tensor is False if the activation is that of an attention sink because the text has no other token there.
    """
    tokenized = tokenize_for(loaded, texts, settings)
    activations = torch.empty(len(texts), len(layers), loaded.info.d_model)
    fine = torch.empty(len(texts), len(layers), dtype=torch.bool)
    for batch in run_batches(loaded, tokenized, layers, batch_size=batch_size):
        activations[batch.indices] = pool(batch.residuals, batch.tokens, batch.readable)[position].cpu()
        fine[batch.indices] = was_readable(batch.tokens, batch.readable)[position].cpu()
    return activations, fine


def tokenize_for(loaded: Lens, texts: Sequence[str], settings: CaptureSettings) -> list[TokenizedText]:
    """Tokenize `texts` for this model under these settings, each cut to fit the model's context."""
    margin = 0 if settings.chat_template == "none" else 256  # room for the template's own tokens
    max_tokens = max(1, min(settings.max_tokens, loaded.info.n_ctx - margin - 1))
    return tokenize(loaded.tokenizer, texts, chat_template=settings.chat_template, max_tokens=max_tokens)
