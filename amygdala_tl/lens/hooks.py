"""Hook names and layer indices: `blocks.<i>.hook_resid_post` is the residual stream after decoder layer i.

The same i counts decoder layers from 0 in TransformerLens, in Hugging Face (`hidden_states[i + 1]`, but for the last one, which
is taken after the final norm) and in vLLM.
"""

from collections.abc import Sequence

from amygdala_tl.errors import ModelError

DEFAULT_TARGET_LAYERS = "0.35,0.5,0.65,0.8"
"""Middle to late layers, as fractions of depth, where abstract features are usually most linear."""


def parse_layers(spec: str | Sequence[int], n_layers: int) -> tuple[int, ...]:
    """Layer indices meant by `spec`, ascending and unique, for a model of `n_layers` decoder layers.

    Args:
        spec: comma-separated indices (`3,18`), negative indices (`-1` is the last layer), fractions of depth with a point
            (`0.6` is layer round(0.6 * (n_layers - 1))) or `all`; or a sequence of indices.
        n_layers: how many decoder layers the model has.

    Raises:
        ModelError: a part is no layer, or is outside the model.
    """
    parts = spec.split(",") if isinstance(spec, str) else [str(layer) for layer in spec]
    parts = [part.strip() for part in parts if part.strip()]
    if parts == ["all"]:
        return tuple(range(n_layers))
    layers = {_one_layer(part, n_layers) for part in parts}
    if not layers:
        raise ModelError(
            "no target layer given", need="for example 3,18 or 0.6 or all", remedy="name at least one layer"
        )
    return tuple(sorted(layers))


def _one_layer(part: str, n_layers: int) -> int:
    need = f"0..{n_layers - 1}, -{n_layers}..-1, a fraction such as 0.6, or all"
    try:
        if "." in part:
            fraction = float(part)
            if 0.0 <= fraction <= 1.0:
                return round(fraction * (n_layers - 1))
        else:
            layer = int(part)
            if -n_layers <= layer < n_layers:
                return layer % n_layers
    except ValueError:
        pass
    raise ModelError(
        f"the model has {n_layers} layers and no layer {part!r}",
        need=need,
        remedy="choose other --target-layers",
    )
