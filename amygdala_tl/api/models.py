"""The model of a readout: loaded by the name in its provenance, and checked against it."""

import warnings

from amygdala_tl.errors import ReadoutError
from amygdala_tl.lens.identity import same_model
from amygdala_tl.lens.model import Lens, load_model
from amygdala_tl.lens.wrap import reads_mean
from amygdala_tl.readout.record import Readout


def lens_of(readout: Readout, lens: Lens | str | None = None) -> Lens:
    """Return the model that a readout is of.

    Args:
        readout: vectors with their provenance.
        lens: a loaded model, or its name; the name in the provenance if None.

    Raises:
        ReadoutError: the readout names no model, or `lens` has other weights or another size.
        ModelError: the model cannot be loaded.
    """
    model = readout.provenance.model
    if lens is None:
        if model is None:
            raise ReadoutError("the readout names no model", remedy="name the model it was trained on")
        lens = model.id
    if isinstance(lens, str):
        lens = load_model(
            lens, "auto" if model is None else model.dtype, revision=None if model is None else model.revision
        )
    check_fit(readout, lens)
    return lens


def check_fit(readout: Readout, lens: Lens) -> None:
    """Raise unless a readout can be read through `lens`; warn where that cannot be told.

    Raises:
        ReadoutError: the model has another size or other weights, or its weights are centred and the readout reads the mean
            that they lack.
    """
    info, model = lens.info, readout.provenance.model
    if readout.d_model != info.d_model or max(readout.layers) >= info.n_layers:
        raise ReadoutError(
            "the readout does not fit the model",
            label=info.id,
            got=f"{info.n_layers} layers of hidden size {info.d_model}",
            need=f"layer {max(readout.layers)} of {readout.d_model}",
            remedy="give the model it was trained on",
        )
    if info.weights == "centred" and reads_mean(readout.vectors):
        raise ReadoutError(
            "the readout reads the mean of the residual stream, which this model's centred weights remove",
            label=info.id,
            remedy="load the model without weight processing, or train the readout through this one",
        )
    sameness = "same" if model is None else same_model(model, info)
    if model is not None and sameness == "other":
        raise ReadoutError(
            "the readout is of a model with other weights",
            label=model.id,
            got=info.fingerprint[:12],
            need=model.fingerprint[:12],
            remedy="give the model it was trained on",
        )
    if model is not None and sameness == "unverifiable":
        warnings.warn(
            f"cannot check that the readout was trained on these weights: it identifies {model.id} by a fingerprint only, and "
            "TransformerLens has renamed or processed the weights of this model",
            stacklevel=3,
        )
