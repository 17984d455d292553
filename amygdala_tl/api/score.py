"""`score`: texts are read with a readout, as wholes at its read position or token by token."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, overload

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.activations.runner import BatchResult, pool_texts, run_batches, tokenize_for
from amygdala_tl.api.models import lens_of
from amygdala_tl.api.score_tables import KEYS, score_columns, score_dataset
from amygdala_tl.errors import InputError
from amygdala_tl.frames import frame, optional
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.tokenize import TokenizedText, Unreadable
from amygdala_tl.readout.record import Readout, load_readout
from amygdala_tl.readout.windows import WIDTHS, Window, largest_windows
from amygdala_tl.records import CountCallback
from amygdala_tl.show import html_bars, html_tokens


@dataclass(frozen=True, slots=True)
class TokenScores:
    """Scores of the tokens of one text.

    Attributes:
        pieces: the part of the text that each token covers, in order; together they are the text.
        scores: [token, layer, concept].
        readable: [token, layer], False for attention sinks: their scores mean nothing.
        combined: [token, concept] z over all layers, which means nothing where a layer is not readable; None if the readout has
            no such score.
        concepts: names of the concept axis.

    A notebook shows the text with its tokens coloured by the strongest concept, and bars of the strongest concepts.
    """

    pieces: tuple[str, ...]
    scores: Float[Tensor, "token layer concept"]
    readable: Tensor
    combined: Float[Tensor, "token concept"] | None = None
    concepts: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        z = self.scores.mean(dim=1) if self.combined is None else self.combined
        z = z.masked_fill(~self.readable.all(dim=1, keepdim=True), torch.nan)
        means = z.nanmean(dim=0)
        strongest = means.nan_to_num(-torch.inf).argsort(descending=True)[:_BARS].tolist()
        names = [self.concepts[place] for place in strongest]
        titles = [
            " ".join(f"{name} {value:+.1f}" for name, value in zip(names, row, strict=True) if value == value)
            for row in z[:, strongest].tolist()
        ]
        coloured = html_tokens(self.pieces, z[:, strongest[0]].tolist(), titles)
        return f"{coloured}<p>coloured by {escape(names[0])}; mean z:</p>{html_bars(names, means[strongest].tolist())}"


_BARS = 5  # concepts that a notebook shows

LONG = 2 * max(WIDTHS)
"""Readable tokens from which on a text has its strongest windows beside its mean."""


@dataclass(frozen=True, slots=True)
class Reading:
    """z of whole texts; NaN for a text that the model cannot run, or that has nothing but an attention sink to read.

    Attributes:
        z: [text, layer, concept].
        combined: [text, concept] over all layers, None if the readout has no such score.
        windows: each concept's strongest window over all layers, for each text; None for a text with fewer than `LONG` tokens,
            and without `combined`.
    """

    z: Float[Tensor, "text layer concept"]
    combined: Float[Tensor, "text concept"] | None
    windows: tuple[tuple[Window, ...] | None, ...]


@overload
def score(
    texts: Sequence[str],
    readout: Readout | str | Path,
    lens: Lens | str | None = None,
    *,
    calibrated: bool = False,
    as_: Literal["tensor"] = "tensor",
) -> Float[Tensor, "text layer concept"]: ...
@overload
def score(
    texts: Sequence[str],
    readout: Readout | str | Path,
    lens: Lens | str | None = None,
    *,
    calibrated: bool = False,
    as_: Literal["pandas", "polars", "xarray"],
) -> Any: ...
def score(
    texts: Sequence[str],
    readout: Readout | str | Path,
    lens: Lens | str | None = None,
    *,
    calibrated: bool = False,
    as_: Literal["tensor", "pandas", "polars", "xarray"] = "tensor",
) -> Any:
    """Project every text's activation onto every direction of a readout.

    Args:
        texts: texts without tag lines.
        readout: from `train` or `load_readout`, or the path of a bundle.
        lens: a loaded model, or its name; the readout's own model if None.
        calibrated: give z, in standard deviations from the mean over the training texts, instead of raw projections in the
            units of the residual stream. A text with nothing but an attention sink to read has NaN.
        as_: `tensor`; a `DataFrame` of `pandas` or `polars`, with a row for each text and concept and a column for each layer; or
            a `Dataset` of `xarray` with the axes text, layer and concept. With `calibrated`, tables also have the score over all
            layers, `combined`, if the readout has one.

    A text that the model cannot run has NaN.

    Raises:
        ReadoutError: the bundle is damaged, lacks the calibration, or is of another model.
        ModelError: the model cannot be loaded.
        InputError: a text is empty, or the library that `as_` names is not installed.
    """
    if as_ != "tensor":
        optional(as_)  # a mistake comes before the model
    readout = readout if isinstance(readout, Readout) else load_readout(readout)
    if calibrated:
        reading = read_texts(texts, readout, lens)
        scores, combined = reading.z, reading.combined
    else:
        (scores, _), combined = _scored(texts, readout, lens), None
    if as_ == "tensor":
        return scores
    if as_ == "xarray":
        return score_dataset(texts, readout, scores, combined)
    return frame(score_columns(texts, readout, scores, combined), as_, KEYS)


def read_texts(
    texts: Sequence[str],
    readout: Readout,
    lens: Lens | str | None = None,
    *,
    progress: CountCallback | None = None,
) -> Reading:
    """Compute the z of every text at every layer and over all of them; arguments and errors as for `score`.

    `progress` is called with the number of texts that have run and of all that can.
    """
    readout.calibration("texts")  # a mistake comes before the model
    own, windows = lens_of(readout, lens), dict[int, tuple[Window, ...]]()

    def keep(batch: BatchResult) -> None:
        windows.update(_windows(batch, texts, readout, own))

    scores, counts = _scored(texts, readout, own, keep, progress)
    unread = rearrange(counts == 0, "text layer -> text layer 1")
    z = readout.calibrated(scores, of="texts", tokens=counts).masked_fill(unread, torch.nan)
    if readout.combined is None:
        return Reading(z, None, (None,) * len(texts))
    combined = readout.combined_z(scores, of="texts", tokens=counts).masked_fill(unread.any(dim=1), torch.nan)
    return Reading(z, combined, tuple(map(windows.get, range(len(texts)))))


def for_whole_texts(readout: Readout, lens: Lens) -> Readout:
    """Return the readout, reading texts as far as the model's context goes, even if training texts were cut sooner.

    A readout without a calibration of lengths stays as it is: its z are for texts as long as those.
    """
    said = readout.provenance
    if readout.length_calibration is None:
        return readout
    capture = replace(said.capture, max_tokens=max(said.capture.max_tokens, lens.info.n_ctx))
    return replace(readout, provenance=replace(said, capture=capture))


def _scored(
    texts: Sequence[str],
    readout: Readout,
    lens: Lens | str | None,
    on_batch: Callable[[BatchResult], None] = lambda _: None,
    progress: CountCallback | None = None,
) -> tuple[Float[Tensor, "text layer concept"], Int[Tensor, "text layer"]]:
    """Return raw scores, and how many tokens they are means of."""
    lens, said = lens_of(readout, lens), readout.provenance
    how = said.read_position, said.capture
    activations, counts = pool_texts(
        lens, _not_empty(texts), readout.layers, *how, on_batch=on_batch, progress=progress
    )
    return readout.scores(activations), counts


def _windows(
    batch: BatchResult, texts: Sequence[str], readout: Readout, lens: Lens
) -> Iterator[tuple[int, tuple[Window, ...]]]:
    """Yield the strongest windows of the long texts of a batch, each after the number of its text."""
    if readout.combined is None:
        return
    for row, index in enumerate(batch.indices):
        own = batch.tokens.content[row]
        readable = batch.readable[row][own].all(dim=-1).cpu().numpy()
        if readable.sum() < LONG:
            continue
        scores = readout.scores(batch.residuals[row][own]).cpu().numpy()
        found = largest_windows(scores, partial(_combined_z, readout), readable=readable)
        assert found is not None
        (tokenized,) = tokenize_for(lens, [texts[index]], readout.provenance.capture)
        pieces = _pieces(texts[index], tokenized, readout)
        spans = zip(found.z.tolist(), found.start.tolist(), found.stop.tolist(), strict=True)
        yield index, tuple(Window(z, "".join(pieces[start:stop]).strip()) for z, start, stop in spans)


def _combined_z(readout: Readout, means: Any, *, tokens: Any) -> Any:
    return readout.combined_z(torch.from_numpy(means), tokens=tokens).numpy()


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
    shape = (1, len(readout.layers), len(readout.concepts))
    results = [
        TokenScores(
            (text,), torch.full(shape, torch.nan), torch.zeros(shape[:2], dtype=torch.bool), None, readout.concepts
        )
        for text in texts
    ]
    for batch in run_batches(lens, tokenized, readout.layers):
        residuals = batch.residuals.float().cpu()
        raw = readout.scores(residuals)
        scores = readout.calibrated(raw, of="tokens") if calibrated else raw
        combined = None if readout.combined is None else readout.combined_z(raw)
        for row, index in enumerate(batch.indices):
            own = batch.tokens.content[row].cpu()
            pieces, readable = _pieces(texts[index], tokenized[index], readout), batch.readable[row].cpu()[own]
            over_all = None if combined is None else combined[row][own]
            results[index] = TokenScores(pieces, scores[row][own], readable, over_all, readout.concepts)
    return results


def _pieces(text: str, tokenized: TokenizedText | Unreadable, readout: Readout) -> tuple[str, ...]:
    """Cut the text at the tokens' starts, so that white space between their offsets is not lost."""
    assert isinstance(tokenized, TokenizedText)  # it has run
    text, spans = text if readout.provenance.capture.chat_template == "none" else text.strip(), tokenized.spans
    cuts = [0, *(start for start, _ in spans[1:]), spans[-1][1]]
    return tuple(text[start:end] for start, end in pairwise(cuts))


def _not_empty(texts: Sequence[str]) -> list[str]:
    if empty := [index for index, text in enumerate(texts) if not text.strip()]:
        raise InputError("a text is empty", got=f"text {empty[0] + 1} of {len(texts)}", remedy="leave it out")
    return list(texts)
