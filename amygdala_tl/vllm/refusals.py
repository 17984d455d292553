"""Checks before a server starts with a bundle: same size, same weights."""

from collections.abc import Iterator
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from amygdala_tl.errors import ReadoutError
from amygdala_tl.fingerprint import RENAMED, tensors_fingerprint
from amygdala_tl.readout.record import Readout
from amygdala_tl.vllm.settings import ANY_MODEL


def refuse_other_size(readout: Readout, *, model: str, n_layers: int, hidden_size: int) -> None:
    """Raise `ReadoutError` if a readout does not fit a model of this size."""
    if readout.vectors.shape[-1] != hidden_size or max(readout.layers) >= n_layers:
        got, need = f"{n_layers} layers of {hidden_size}", f"layer {max(readout.layers)} of {readout.vectors.shape[-1]}"
        remedy = "serve the model it was trained on, or train one for this model"
        raise ReadoutError("the readout does not fit the served model", label=model, got=got, need=need, remedy=remedy)


def refuse_other_model(readout: Readout, *, model: str, folder: Path | None) -> str | None:
    """Check that the weights in `folder` are those that the readout was trained on; return why that is impossible, or None.

    Raises:
        ReadoutError: the weights differ.
    """
    trained_on = readout.provenance.model
    if trained_on is None:
        return "the readout names no weights"
    if trained_on.fingerprint.startswith(RENAMED):
        return "the readout was trained through TransformerLens's own weights, which have no checkpoint's fingerprint"
    files = sorted(folder.glob("*.safetensors")) if folder is not None else []
    if not files:
        return f"{model} has no safetensors files here"
    if trained_on.fingerprint in checkpoint_fingerprints(files):
        return None
    message, need = "the readout was trained on other weights", f"{trained_on.id} ({trained_on.fingerprint[:12]}...)"
    remedy = f"serve the model it was trained on; or, for a copy in another format, set {ANY_MODEL}=1"
    raise ReadoutError(message, label=model, got="another fingerprint", need=need, remedy=remedy)


def checkpoint_fingerprints(files: list[Path]) -> set[str]:
    """Return the possible fingerprints of a checkpoint: with and without an unembedding that is tied to the embedding."""
    where: dict[str, Path] = {}
    for file in files:
        with safe_open(file, framework="pt") as opened:
            where |= dict.fromkeys(opened.keys(), file)

    def tensors(left_out: str | None) -> Iterator[tuple[str, Tensor]]:
        for name in sorted(where.keys() - {left_out}):
            with safe_open(where[name], framework="pt") as opened:
                yield name, opened.get_tensor(name)

    return {tensors_fingerprint(tensors(left_out)) for left_out in (None, "lm_head.weight")}
