"""Checks before a server starts with a bundle: same size, same weights."""

from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from amygdala_tl.errors import ReadoutError
from amygdala_tl.fingerprint import RENAMED, tensors_fingerprint
from amygdala_tl.readout.record import Readout
from amygdala_tl.vllm.settings import ANY_MODEL


def refuse_other_size(readout: Readout, *, model: str, n_layers: int, hidden_size: int) -> None:
    """Check that a readout fits a model of this size.

    Raises:
        ReadoutError: it does not fit.
    """
    if readout.vectors.shape[-1] != hidden_size or max(readout.layers) >= n_layers:
        raise ReadoutError(
            "the readout does not fit the served model", label=model, got=f"{n_layers} layers of {hidden_size}",
            need=f"layer {max(readout.layers)} of {readout.vectors.shape[-1]}",
            remedy="serve the model it was trained on, or train one for this model",
        )  # fmt: skip


def refuse_other_model(readout: Readout, *, model: str, folder: Path | None) -> str | None:
    """Check that the served weights are those that the readout was trained on.

    Args:
        readout: the bundle.
        model: name for messages.
        folder: of the checkpoint's safetensors files; None if it is not known.

    Returns:
        Why the check was impossible, or None.

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
    raise ReadoutError(
        "the readout was trained on other weights", label=model, got="another fingerprint",
        need=f"{trained_on.id} ({trained_on.fingerprint[:12]}...)",
        remedy=f"serve the model it was trained on; or, for a copy in another format, set {ANY_MODEL}=1",
    )  # fmt: skip


def checkpoint_fingerprints(files: list[Path]) -> set[str]:
    """Return the possible fingerprints of a checkpoint: with and without an unembedding that is tied to the embedding."""
    where: dict[str, Path] = {}
    for file in files:
        with safe_open(file, framework="pt") as opened:
            where |= dict.fromkeys(opened.keys(), file)
    names = sorted(where)

    def fingerprint(chosen: list[str]) -> str:
        return tensors_fingerprint((name, _read(where[name], name)) for name in chosen)

    return {fingerprint(names), fingerprint([name for name in names if name != "lm_head.weight"])}


def _read(file: Path, name: str) -> Tensor:
    with safe_open(file, framework="pt") as opened:
        tensor: Tensor = opened.get_tensor(name)
        return tensor
