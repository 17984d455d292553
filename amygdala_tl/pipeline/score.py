"""Texts read with a bundle: scores of whole texts at the bundle's read position, or of single tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.activations.runner import pool_texts, run_batches, tokenize_for
from amygdala_tl.errors import InputError, ReadoutError
from amygdala_tl.lens.model import Lens, load_model
from amygdala_tl.readout.bundle import load_readout
from amygdala_tl.readout.manifest import capture_settings
from amygdala_tl.records import Calibration, Readout


@dataclass(frozen=True, slots=True)
class TokenScores:
    """Scores of the tokens of one text.

    Attributes:
        pieces: what each token stands for in the text, in order; together they cover it.
        scores: [token, layer, concept].
        readable: [token, layer], False for attention sinks: their scores mean nothing.
    """

    pieces: tuple[str, ...]
    scores: Float[Tensor, "token layer concept"]
    readable: Tensor


def score_texts(
    texts: Sequence[str],
    readout_path: str | Path,
    model: Lens | str | None = None,
    *,
    calibrated: bool = False,
) -> Float[Tensor, "text layer concept"]:
    """Projection of every text's activation on every direction of a bundle.

    Args:
        texts: texts without tag lines.
        readout_path: the bundle's `.safetensors` file.
        model: a loaded model, or what names it; the model that the manifest names if None.
        calibrated: scores as z, in standard deviations from the mean over the training texts, instead of raw projections,
            which are in the units of the residual stream. NaN where a text has nothing but an attention sink to read.

    Raises:
        ReadoutError: the bundle is damaged, has no calibration to use, or is of another model.
        ModelError: the model cannot be loaded.
        InputError: a text is empty.
    """
    readout = load_readout(readout_path)
    loaded = model_of(readout, model)
    activations, fine = pool_texts(
        loaded,
        _not_empty(texts),
        readout.layers,
        readout.manifest.get("amygdala_tl", {}).get("read_position", "pooled"),
        capture_settings(readout.manifest),
    )
    scores = einsum(activations, readout.vectors, "text layer d_model, layer concept d_model -> text layer concept")
    if not calibrated:
        return scores
    return calibrate(scores, readout.text_calibration).masked_fill(
        ~rearrange(fine, "text layer -> text layer 1"), torch.nan
    )


def score_tokens(texts: Sequence[str], readout: Readout, loaded: Lens, *, calibrated: bool = True) -> list[TokenScores]:
    """Scores of every token of every text, as a server would see them.

    Args:
        texts: texts without tag lines.
        readout: from `load_readout`.
        loaded: from `model_of`.
        calibrated: scores as z over single tokens.

    Raises:
        ReadoutError: there is no calibration to use.
        InputError: a text is empty.
    """
    texts = _not_empty(texts)
    settings = capture_settings(readout.manifest)
    tokenized = tokenize_for(loaded, texts, settings)
    results: dict[int, TokenScores] = {}
    for batch in run_batches(loaded, tokenized, readout.layers):
        scores = einsum(
            batch.residuals.float().cpu(),
            readout.vectors,
            "text token layer d_model, layer concept d_model -> text token layer concept",
        )
        if calibrated:
            scores = calibrate(scores, readout.token_calibration)
        for row, index in enumerate(batch.indices):
            own = batch.tokens.content[row].cpu()
            text = texts[index] if settings.chat_template == "none" else texts[index].strip()
            results[index] = TokenScores(
                pieces=_pieces(text, tokenized[index].spans),
                scores=scores[row][own],
                readable=batch.readable[row].cpu()[own],
            )
    return [results[index] for index in range(len(texts))]


def calibrate(
    scores: Float[Tensor, "*any layer concept"], calibration: Calibration | None
) -> Float[Tensor, "*any layer concept"]:
    """Scores as z, in standard deviations from the calibration's mean.

    Raises:
        ReadoutError: there is no calibration.
    """
    if calibration is None:
        raise ReadoutError("the bundle has no calibration", remedy="use raw scores, or export it with amygdala-tl")
    return (scores - calibration.mean) / calibration.std


def model_of(readout: Readout, model: Lens | str | None = None) -> Lens:
    """The model that `readout` is of, loaded.

    Args:
        readout: the bundle.
        model: a loaded model, or what names it, if the manifest's name does not lead to it (a folder, another machine).

    Raises:
        ReadoutError: the bundle names no model, or `model` has other weights or another size.
        ModelError: the model cannot be loaded.
    """
    said = readout.manifest.get("amygdala_tl", {}).get("model", {})
    if model is None:
        if "id" not in said:
            raise ReadoutError("the bundle names no model", remedy="give --model")
        model = str(said["id"])
    if isinstance(model, str):
        model = load_model(model, said.get("dtype", "auto"), revision=said.get("revision"))
    for key, name in (("d_model", "hidden size"), ("fingerprint", "weights")):
        if key in said and said[key] != getattr(model.info, key):
            raise ReadoutError(
                f"the bundle is of a model with other {name}",
                label=str(said.get("id")),
                got=str(getattr(model.info, key))[:12],
                need=str(said[key])[:12],
                remedy="give the model it was trained on as --model",
            )
    if readout.vectors.shape[-1] != model.info.d_model or max(readout.layers) >= model.info.n_layers:
        raise ReadoutError(
            "the bundle does not fit the model",
            label=model.info.id,
            got=f"{model.info.n_layers} layers of {model.info.d_model}",
            need=f"layer {max(readout.layers)} of {readout.vectors.shape[-1]}",
            remedy="give the model it was trained on as --model",
        )
    return model


def _pieces(text: str, spans: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """The text cut at the tokens' starts, so that white space which a tokenizer's offsets leave out is not lost."""
    ends = [start for start, _ in spans[1:]] + [spans[-1][1]]
    starts = [0, *(start for start, _ in spans[1:])]
    return tuple(text[start:end] for start, end in zip(starts, ends, strict=True))


def _not_empty(texts: Sequence[str]) -> list[str]:
    if empty := [index for index, text in enumerate(texts) if not text.strip()]:
        raise InputError("a text is empty", got=f"text {empty[0] + 1} of {len(texts)}", remedy="leave it out")
    return list(texts)
