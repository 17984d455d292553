"""The model of a readout: loaded by the name in its provenance, and checked against it."""

import os
import warnings
from typing import Any
from weakref import WeakKeyDictionary

from amygdala_tl.activations.golden import golden_ids, run_golden
from amygdala_tl.errors import ReadoutError
from amygdala_tl.lens.identity import differences, same_model
from amygdala_tl.lens.model import Lens, load_model
from amygdala_tl.lens.wrap import reads_mean
from amygdala_tl.readout.golden import golden_tolerance, other_ids
from amygdala_tl.readout.provenance import Golden
from amygdala_tl.readout.record import Readout
from amygdala_tl.records import ModelInfo

_REMEDY = "give the model it was trained on"
_passed: WeakKeyDictionary[Any, set[tuple[Golden, tuple[str, ...]]]] = WeakKeyDictionary()
"""The model of a `Lens` -> golden scores that it has given, with its key then."""


def lens_of(readout: Readout, lens: Lens | str | None = None) -> Lens:
    """Return the model that a readout is of.

    Args:
        readout: vectors with their provenance.
        lens: a loaded model, or its name; the name in the provenance if None.

    Raises:
        ReadoutError: the readout names no model that can be found, or `lens` has other weights or another size.
        ModelError: the model cannot be loaded.
    """
    model = readout.provenance.model
    if lens is None or isinstance(lens, str):
        name = checkpoint_of(readout)[0] if lens is None else lens
        dtype, revision = ("auto", None) if model is None else (model.dtype, model.revision)
        lens = load_model(name, dtype, revision=revision)
    check_fit(readout, lens)
    return lens


def checkpoint_of(readout: Readout) -> tuple[str, str | None]:
    """Return the name and the revision by which a readout's model can be loaded.

    A manifest names a folder or file without its path. Such a name is not looked up on a hub, where it may be another model.

    Raises:
        ReadoutError: the readout names no model, or one that was loaded from a folder or file which is not here.
    """
    model = readout.provenance.model
    if model is None:
        raise ReadoutError("the readout names no model", remedy="name the model it was trained on")
    local = model.revision is None and model.id != "embedded" and "/" not in model.id
    if local and not os.path.exists(model.id):
        what = "the readout's model has no revision of a hub, and no such folder or file is here"
        raise ReadoutError(what, label=model.id, remedy="name the model with its path, or its hub id, as the model")
    return model.id, model.revision


def check_fit(readout: Readout, lens: Lens) -> None:
    """Raise unless a readout can be read through `lens`; warn where that cannot be told.

    The golden texts of a readout run through the model, once for each readout and model (see `readout.golden`).

    Raises:
        ReadoutError: the model has another size, or gives the golden texts other token ids or other scores; or its weights are
            centred and the readout reads the mean that they lack.
    """
    info, said = lens.info, readout.provenance
    if readout.d_model != info.d_model or max(readout.layers) >= info.n_layers:
        raise ReadoutError(
            "the readout does not fit the model",
            label=info.id,
            got=f"{info.n_layers} layers of hidden size {info.d_model}",
            need=f"layer {max(readout.layers)} of {readout.d_model}",
            remedy=_REMEDY,
        )
    if info.weights == "centred" and reads_mean(readout.vectors):
        raise ReadoutError(
            "the readout reads the mean of the residual stream, which this model's centred weights remove",
            label=info.id,
            remedy="load the model without weight processing, or train the readout through this one",
        )
    if said.golden is None:
        _check_records(said.model, info)
    else:
        _check_golden(readout, said.golden, lens)


def _check_golden(readout: Readout, golden: Golden, lens: Lens) -> None:
    info, model = lens.info, readout.provenance.model
    ids = golden_ids(lens, readout.provenance.capture, golden.texts)
    if where := other_ids(golden, ids):
        what = "the model has another tokenizer or chat template than the one that the readout was trained on"
        raise ReadoutError(what, label=info.id, got=where, remedy=_REMEDY)
    if (golden, info.key) in (passed := _passed.setdefault(lens.model, set())):
        return
    changed = [] if model is None else differences(model, info)
    # In half precision a light fine-tune would agree as well, so float32's tolerance holds for what is known to differ.
    dtypes = ["float32"] if set(changed) - {"the tokenizer"} else [each.dtype for each in (info, model) if each]
    scores = readout.written().scores(run_golden(lens, ids, readout.layers))
    check = readout.golden_check(scores, tolerance=golden_tolerance(*dtypes))
    if check is not None and not check.passed:
        what = "the model computes other activations than the one that the readout was trained on"
        causes = f"; changed: {', '.join(changed)}" if changed else ""
        raise ReadoutError(what, label=info.id, got=f"{check}{causes}", remedy=_REMEDY)
    if changed:
        what = f"since the readout was trained, {', '.join(changed)} of {info.id} changed"
        warnings.warn(f"{what}; {check}", stacklevel=4)
    passed.add((golden, info.key))


def _check_records(model: ModelInfo | None, info: ModelInfo) -> None:
    """Compare the records of two models, for a readout without golden texts."""
    sameness = "same" if model is None else same_model(model, info)
    if model is not None and sameness == "other":
        raise ReadoutError(
            "the readout is of a model with other weights",
            label=model.id,
            got=info.fingerprint[:12],
            need=model.fingerprint[:12],
            remedy=_REMEDY,
        )
    if model is not None and sameness == "unverifiable":
        warnings.warn(
            f"cannot check that the readout was trained on this model: it names {model.id} and has no golden texts",
            stacklevel=4,
        )
