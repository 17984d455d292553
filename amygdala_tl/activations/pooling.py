"""Pooling of a batch's residual stream into one vector per text at each read position, in float32, on the device.

Read positions:

    pooled         mean over the tokens of the text, without BOS and attention sinks
    last           the last token of the text
    last-content   the last token of the text with a letter or a digit (not its full stop)

An attention sink is a token with so large a residual that it dominates any mean. In SmolLM2's middle layers the first
token's norm is 70-140 times the median of the others (Xiao et al. 2023, arXiv:2309.17453; Sun et al. 2024,
arXiv:2402.17762). The token at position 0 always counts as a sink. Any other token counts as one if its norm exceeds
`SINK_RATIO` times the median norm of the text's tokens at that layer. Both rules look at one text alone, so that a text's
activation does not depend on the rest of its batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate

import torch
from einops import einsum, rearrange, reduce, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor

from amygdala_tl.records import READ_POSITIONS, ReadPosition

SINK_RATIO = 10.0


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Right-padded token ids, and which of them to read.

    Attributes:
        ids: [text, token]; pads are 0.
        content: [text, token], True for tokens of the text itself.
        first: [text] position in the model's input of the batch's first token, 0 unless it goes on from a shared prefix.
        last, last_content: [text] positions.
    """

    ids: Int[Tensor, "text token"]
    content: Bool[Tensor, "text token"]
    first: Int[Tensor, " text"]
    last: Int[Tensor, " text"]
    last_content: Int[Tensor, " text"]

    def to(self, device: torch.device) -> "TokenBatch":
        """Return the same batch on `device`."""
        return TokenBatch(*(getattr(self, each.name).to(device) for each in fields(self)))

    def rows(self, chosen: Bool[Tensor, " text"]) -> "TokenBatch":
        """Return the chosen texts of the batch."""
        return TokenBatch(*(getattr(self, each.name)[chosen] for each in fields(self)))


@dataclass(frozen=True, slots=True)
class Pooled:
    """What a store keeps of some texts, on the CPU, at some layers.

    Attributes:
        positions: read position -> [text, layer, d_model] float32.
        token_counts: [text, layer] readable tokens of each text, int32.
        token_rows: [sample] the text that each sampled token belongs to, int32.
        token_sample: [sample, layer, d_model] float32, NaN where the token is not readable.
        token_spread: [text, layer, component, d_model] (see `token_spread`), None if not asked for.
    """

    positions: Mapping[ReadPosition, Float[Tensor, "text layer d_model"]]
    token_counts: Int[Tensor, "text layer"]
    token_rows: Int[Tensor, " sample"]
    token_sample: Float[Tensor, "sample layer d_model"]
    token_spread: Float[Tensor, "text layer component d_model"] | None = None

    @classmethod
    def joined(cls, parts: Sequence["Pooled"]) -> "Pooled":
        """Join the texts of one or more parts, in their order."""
        starts = [0, *accumulate(len(part.token_counts) for part in parts)]
        spreads = [part.token_spread for part in parts if part.token_spread is not None]
        return cls(
            {position: torch.cat([part.positions[position] for part in parts]) for position in parts[0].positions},
            torch.cat([part.token_counts for part in parts]),
            torch.cat([part.token_rows + start for part, start in zip(parts, starts, strict=False)]).int(),
            torch.cat([part.token_sample for part in parts]),
            torch.cat(spreads) if spreads else None,
        )

    def ordered(self, order: Sequence[int]) -> "Pooled":
        """Return the texts, or some of them, in another order, their sampled tokens with them."""
        at = torch.tensor(order, dtype=torch.long)
        places = torch.full((len(self.token_counts),), -1)
        places[at] = torch.arange(len(at))
        rows = places[self.token_rows.long()]
        sampled = rows.argsort(stable=True)[(rows < 0).sum() :]
        return Pooled(
            {position: values[at] for position, values in self.positions.items()},
            self.token_counts[at],
            rows[sampled].int(),
            self.token_sample[sampled],
            None if self.token_spread is None else self.token_spread[at],
        )


@dataclass(frozen=True, slots=True)
class PooledTexts:
    """Some texts of a run.

    Attributes:
        indices: positions among the given texts.
        pooled: what a store keeps of them; None without texts.
        not_finite: positions of the texts that ran and are left out, because some activation is NaN or infinite.
    """

    indices: Sequence[int]
    pooled: Pooled | None
    not_finite: Sequence[int]


def readable_tokens(
    residuals: Float[Tensor, "text token layer d_model"], batch: TokenBatch
) -> Bool[Tensor, "text token layer"]:
    """Mark the tokens to read at each layer: those of the text itself that are not attention sinks.

    A text with a single token at position 0 has none.
    """
    norms = residuals.float().norm(dim=-1)
    own = repeat(batch.content, "text token -> text token layer", layer=norms.shape[-1])
    typical = norms.masked_fill(~own, torch.nan).nanmedian(dim=1, keepdim=True).values
    readable: Tensor = own & (norms <= SINK_RATIO * typical)
    readable[:, 0] &= rearrange(batch.first > 0, "text -> text 1")
    return readable


def pool(
    residuals: Float[Tensor, "text token layer d_model"], batch: TokenBatch, readable: Bool[Tensor, "text token layer"]
) -> dict[ReadPosition, Float[Tensor, "text layer d_model"]]:
    """Compute the activation of each text at each read position, float32.

    A text without readable tokens is pooled over all its own tokens: there is nothing else to read, and a server sees the same.
    """
    own = repeat(batch.content, "text token -> text token layer", layer=readable.shape[-1])
    some = reduce(readable, "text token layer -> text 1 layer", "any")
    mask = torch.where(some, readable, own)
    values = residuals.float()
    read = values.masked_fill(~rearrange(mask, "text token layer -> text token layer 1"), 0.0)
    total = reduce(read, "text token layer d_model -> text layer d_model", "sum")
    count = reduce(mask.float(), "text token layer -> text layer 1", "sum")
    return _at_positions(values, batch, total / count)


def tokens_read(
    batch: TokenBatch, readable: Bool[Tensor, "text token layer"]
) -> dict[ReadPosition, Int[Tensor, "text layer"]]:
    """Count the readable tokens behind each activation; 0 for that of an attention sink."""
    counts = readable.int()
    return _at_positions(counts, batch, reduce(counts, "text token layer -> text layer", "sum"))


def _at_positions(values: Tensor, batch: TokenBatch, pooled: Tensor) -> dict[ReadPosition, Tensor]:
    rows = torch.arange(len(values), device=values.device)
    return {"pooled": pooled, "last": values[rows, batch.last], "last-content": values[rows, batch.last_content]}


def pool_batch(
    residuals: Float[Tensor, "text token layer d_model"],
    batch: TokenBatch,
    drawn: Sequence[Sequence[int]],
    *,
    positions: Sequence[ReadPosition] = READ_POSITIONS,
    components: int = 0,
) -> Pooled:
    """Compute everything that a store keeps of a batch.

    Args:
        residuals: the residual stream, finite where `batch.content` is True.
        batch: which tokens to read.
        drawn: for each text, positions of its sampled tokens, from `draw_tokens`.
        positions: read positions to keep.
        components: number of principal directions of each text's tokens, see `token_spread`.
    """
    readable = readable_tokens(residuals, batch)
    found = pool(residuals, batch, readable)
    places = [(row, token) for row, tokens in enumerate(drawn) for token in tokens]
    at = tuple(torch.tensor(places, dtype=torch.long, device=residuals.device).reshape(-1, 2).T)
    sample = residuals[at].float().masked_fill(~rearrange(readable[at], "sample layer -> sample layer 1"), torch.nan)
    return Pooled(
        positions={position: found[position].cpu() for position in positions},
        token_counts=reduce(readable.int(), "text token layer -> text layer", "sum").int().cpu(),
        token_rows=at[0].int().cpu(),
        token_sample=sample.cpu(),
        token_spread=token_spread(residuals, readable, components).cpu() if components else None,
    )


def token_spread(
    residuals: Float[Tensor, "text token layer d_model"], readable: Bool[Tensor, "text token layer"], k: int
) -> Float[Tensor, "text layer {k} d_model"]:
    """Compute the first k principal directions of each text's readable tokens about their mean, largest first, float32.

    Each row is as long as the standard deviation of the tokens along it, in the units of the residual stream. Rows beyond the
    number of independent tokens are zero. Each text and layer costs one eigendecomposition of tokens x tokens.

    They are relative to the text's own mean, so they do not depend on the corpus. With F these rows, m the mean of a text's
    tokens and o any origin, the second moment of the tokens about o is F^T F + (m - o)(m - o)^T, as far as k rows hold it.
    """
    n_text, _, n_layer, d_model = residuals.shape
    result = residuals.new_zeros(n_text, n_layer, k, d_model, dtype=torch.float32)
    for layer in range(n_layer):
        mask = rearrange(readable[:, :, layer], "text token -> text token 1").float()
        count = reduce(mask, "text token 1 -> text 1 1", "sum").clamp_min(1.0)
        values = residuals[:, :, layer].float() * mask
        mean = reduce(values, "text token d_model -> text 1 d_model", "sum") / count
        values = ((values - mean) * mask / count.sqrt()).double()
        products = einsum(values, values, "text token d_model, text other d_model -> text token other")
        # In ascending order of eigenvalues; a vector times the tokens is as long as the root of its eigenvalue.
        vectors = torch.linalg.eigh(products).eigenvectors.flip(-1)[:, :, :k]
        result[:, layer, : vectors.shape[2]] = einsum(
            vectors, values, "text token component, text token d_model -> text component d_model"
        )
    return result
