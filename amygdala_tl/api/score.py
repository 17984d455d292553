"""`score`: texts are read with a readout, as wholes at its read position or token by token."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.activations.runner import pool_texts, run_batches, tokenize_for
from amygdala_tl.api.models import lens_of
from amygdala_tl.errors import InputError
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.tokenize import TokenizedText
from amygdala_tl.readout.record import Readout, load_readout


@dataclass(frozen=True, slots=True)
class TokenScores:
    """Scores of the tokens of one text.

    Attributes:
        pieces: the part of the text that each token covers, in order; together they are the text.
        scores: [token, layer, concept].
        readable: [token, layer], False for attention sinks: their scores mean nothing.
    """

    pieces: tuple[str, ...]
    scores: Float[Tensor, "token layer concept"]
    readable: Tensor


def score(
    texts: Sequence[str], readout: Readout | str | Path, lens: Lens | str | None = None, *, calibrated: bool = False
) -> Float[Tensor, "text layer concept"]:
    """Project every text's activation onto every direction of a readout.

    Args:
        texts: texts without tag lines.
        readout: from `train` or `load_readout`, or the path of a bundle.
        lens: a loaded model, or its name; the readout's own model if None.
        calibrated: give z, in standard deviations from the mean over the training texts, instead of raw projections in the
            units of the residual stream. A text with nothing but an attention sink to read has NaN.

    A text that the model cannot run has NaN.

    Raises:
        ReadoutError: the bundle is damaged, lacks the calibration, or is of another model.
        ModelError: the model cannot be loaded.
        InputError: a text is empty.
    """
    readout = readout if isinstance(readout, Readout) else load_readout(readout)
    if calibrated:
        readout.calibration("texts")  # a mistake comes before the model
    lens = lens_of(readout, lens)
    position, settings = readout.provenance.read_position, readout.provenance.capture
    activations, counts = pool_texts(lens, _not_empty(texts), readout.layers, position, settings)
    scores = readout.scores(activations)
    if not calibrated:
        return scores
    z: Tensor = readout.calibrated(scores, of="texts", tokens=counts)
    return z.masked_fill(rearrange(counts == 0, "text layer -> text layer 1"), torch.nan)


def score_tokens(
    texts: Sequence[str], readout: Readout, lens: Lens | None = None, *, calibrated: bool = True
) -> list[TokenScores]:
    """Score every token of every text, as a server would.

    Args:
        texts: texts without tag lines.
        readout: from `train` or `load_readout`.
        lens: the readout's model; loaded by its name if None.
        calibrated: give z over single tokens.

    A text that the model cannot run is one piece with NaN for scores.

    Raises:
        ReadoutError: the readout has no calibration of tokens, or is of another model.
        InputError: a text is empty.
    """
    texts, lens = _not_empty(texts), lens_of(readout, lens)
    settings = readout.provenance.capture
    tokenized = tokenize_for(lens, texts, settings)
    spans = [text.spans if isinstance(text, TokenizedText) else () for text in tokenized]
    shape = (1, len(readout.layers), len(readout.concepts))
    results = [
        TokenScores((text,), torch.full(shape, torch.nan), torch.zeros(shape[:2], dtype=torch.bool)) for text in texts
    ]
    for batch in run_batches(lens, tokenized, readout.layers):
        residuals = batch.residuals.float().cpu()
        scores = readout.z(residuals) if calibrated else readout.scores(residuals)
        for row, index in enumerate(batch.indices):
            own = batch.tokens.content[row].cpu()
            text = texts[index] if settings.chat_template == "none" else texts[index].strip()
            pieces, readable = _pieces(text, spans[index]), batch.readable[row].cpu()[own]
            results[index] = TokenScores(pieces, scores[row][own], readable)
    return results


def _pieces(text: str, spans: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """Cut the text at the tokens' starts, so that white space between their offsets is not lost."""
    cuts = [0, *(start for start, _ in spans[1:]), spans[-1][1]]
    return tuple(text[start:end] for start, end in pairwise(cuts))


def _not_empty(texts: Sequence[str]) -> list[str]:
    if empty := [index for index, text in enumerate(texts) if not text.strip()]:
        raise InputError("a text is empty", got=f"text {empty[0] + 1} of {len(texts)}", remedy="leave it out")
    return list(texts)
