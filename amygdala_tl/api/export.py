"""`export`: a readout in a file, in the format that the name of the file asks for."""

import warnings
from pathlib import Path

from amygdala_tl.api.control_vector import control_vector
from amygdala_tl.api.models import lens_of
from amygdala_tl.errors import InputError
from amygdala_tl.files import atomic_write_bytes, make_folder
from amygdala_tl.lens.model import Lens
from amygdala_tl.readout.control_vector import CONTROL_VECTOR, control_vector_bytes
from amygdala_tl.readout.record import Readout


def export(readout: Readout, path: str | Path, lens: Lens | str | None = None) -> Path:
    """Write a readout to a file, and return its path.

    | ending | file |
    |---|---|
    | `.safetensors` | the bundle, as `Readout.save` writes it |
    | `.gguf` | a control vector of llama.cpp for a readout of one concept; strength 1 is a dose of 1, see `control_vector` |

    Args:
        readout: from `train` or `load_readout`; `of_concepts` gives the readout of one concept.
        path: of the file.
        lens: for `.gguf`, a loaded model, or its name; the readout's own model if None.

    Raises:
        InputError: the ending is another one, or a `.gguf` file is asked for of several concepts, or of layer 0 alone.
        ReadoutError, ModelError: as `control_vector`, or `Readout.save`.
        StorageError: another kind of file is in the way, or the disk refused.
    """
    if (path := Path(path)).suffix != ".gguf":
        return readout.save(path)
    if len(readout.concepts) > 1:
        what, remedy = "a control vector is of one concept", "choose one of them"
        raise InputError(what, got=", ".join(readout.concepts), remedy=remedy)
    if not any(readout.layers):
        raise InputError("llama.cpp cannot steer layer 0", remedy="train a readout of other layers")
    lens = lens_of(readout, lens)
    vectors = control_vector(readout, readout.concepts[0], lens)
    if vectors.pop(0, None) is not None:
        warnings.warn("llama.cpp cannot steer layer 0; the file has the other layers", stacklevel=2)
    hint = str(lens.info.config.get("model_type", lens.info.architecture))
    data = control_vector_bytes({layer: vector.numpy() for layer, vector in vectors.items()}, hint)
    make_folder(path.parent)
    atomic_write_bytes(path, data, CONTROL_VECTOR)
    return path
