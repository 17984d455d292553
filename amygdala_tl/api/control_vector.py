"""`control_vector`: a concept's directions in the units of the residual stream, for programs that add vectors to it."""

from torch import Tensor

from amygdala_tl.api.models import lens_of
from amygdala_tl.lens.decoder import decoder_of
from amygdala_tl.lens.model import Lens
from amygdala_tl.readout.record import Readout
from amygdala_tl.steering.norms import mean_norms


def control_vector(readout: Readout, concept: str, lens: Lens | str | None = None) -> dict[int, Tensor]:
    """Scale the directions that steer towards a concept so that adding one times its vector is a dose of 1.

    A dose is in units of the layer's mean residual norm, as in `Add` and `steer`. The vectors are `write_direction`: the write
    vectors, or those that read if the readout has none.

    Args:
        readout: from `train` or `load_readout`.
        concept: one of its concepts.
        lens: a loaded model, or its name; the readout's own model if None. Its mean norms are measured on six short texts.

    Returns:
        Layer -> [d_model] float32, in the units of the residual stream after that decoder layer.

    Raises:
        InputError: the readout has no such concept.
        ReadoutError: its write vectors are missing, or it is of another model, or names none.
        ModelError: the model cannot be loaded.
    """
    units = {layer: readout.write_direction(concept, layer) for layer in readout.layers}
    norms = mean_norms(decoder_of(lens_of(readout, lens)), readout.layers)
    return {layer: norms[layer] * unit for layer, unit in units.items()}
