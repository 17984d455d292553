"""The plan of a capture: which texts a shard holds, whoever runs it.

The texts are sorted by length, longest first, and then by id. A shard is full, and the next one begins, with the text that
reaches a number of texts or of tokens. So a full shard depends on its own texts only. Several workers finish shards in any
order, and a run that goes on after an interruption plans the shards that are not there as the first run did.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from amygdala_tl.activations.token_sample import draw_tokens
from amygdala_tl.lens.tokenize import TokenizedText
from amygdala_tl.records import ModelInfo

SHARD_TEXTS = 1024
"""A shard has at most this many texts."""

_RATES = {"cpu": 1e11, "gpu": 1e14}
"""Operations a second of a small machine of each kind: two cores, or a large model on one card."""

_SECONDS = 60.0
_FEWEST = 1024  # tokens, a batch on a CPU


@dataclass(frozen=True, slots=True)
class PlannedShard:
    """The texts that one shard will hold.

    Attributes:
        layers: decoder layers.
        ids: of the texts.
        texts: with their tokens.
        drawn: for each text, the positions of its sampled tokens.
    """

    layers: tuple[int, ...]
    ids: tuple[str, ...]
    texts: tuple[TokenizedText, ...]
    drawn: tuple[tuple[int, ...], ...]


def shard_tokens(info: ModelInfo, layer: int, *, on_cpu: bool) -> int:
    """Return how many tokens fill a shard: what a small machine runs in a minute, so that a killed run loses no more.

    Args:
        info: the model.
        layer: the last one that runs.
        on_cpu: whether the model is on a CPU.
    """
    per_token = 24 * info.d_model**2 * (layer + 1)  # two for each of the 12 d_model^2 weights that a layer usually has
    return max(_FEWEST, int(_SECONDS * _RATES["cpu" if on_cpu else "gpu"] / per_token))


def plan_shards(
    texts: Mapping[str, TokenizedText], layers: tuple[int, ...], per_text: float, full: int
) -> Iterator[PlannedShard]:
    """Yield the shards of some texts at the layers that all of them lack.

    Args:
        texts: id -> text.
        layers: decoder layers.
        per_text: tokens that each text gives, see `draw_tokens`.
        full: number of tokens that fills a shard, see `shard_tokens`.
    """
    lengths = {id: text.n_tokens for id, text in texts.items()}
    ids: list[str] = []
    n_tokens = 0
    for id in sorted(texts, key=lambda id: (-lengths[id], id)):
        ids.append(id)
        n_tokens += lengths[id]
        if len(ids) == SHARD_TEXTS or n_tokens >= full:
            yield _planned(ids, texts, layers, per_text)
            ids, n_tokens = [], 0
    if ids:
        yield _planned(ids, texts, layers, per_text)


def _planned(
    ids: list[str], texts: Mapping[str, TokenizedText], layers: tuple[int, ...], per_text: float
) -> PlannedShard:
    chosen = tuple(texts[id] for id in ids)
    drawn = tuple(tuple(draw_tokens(id, text.content, per_text)) for id, text in zip(ids, chosen, strict=True))
    return PlannedShard(layers, tuple(ids), chosen, drawn)
