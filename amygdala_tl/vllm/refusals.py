"""Check before a server starts with a bundle: same size. Whether it is the same model, the golden check says when it runs."""

from amygdala_tl.errors import ReadoutError
from amygdala_tl.readout.record import Readout


def refuse_other_size(readout: Readout, *, model: str, n_layers: int, hidden_size: int) -> None:
    """Raise `ReadoutError` if a readout does not fit a model of this size."""
    if readout.vectors.shape[-1] != hidden_size or max(readout.layers) >= n_layers:
        got, need = f"{n_layers} layers of {hidden_size}", f"layer {max(readout.layers)} of {readout.vectors.shape[-1]}"
        remedy = "serve the model it was trained on, or train one for this model"
        raise ReadoutError("the readout does not fit the served model", label=model, got=got, need=need, remedy=remedy)
