"""Layer indices as people write them.

Layer i is `blocks.<i>.hook_resid_post`, the residual stream after decoder layer i. TransformerLens, Hugging Face and vLLM count
decoder layers from 0. In Hugging Face it is `hidden_states[i + 1]`, except for the last one, which comes after the final norm.
"""

from collections.abc import Sequence

from amygdala_tl.errors import ModelError


def parse_layers(spec: str | Sequence[int], n_layers: int) -> tuple[int, ...]:
    """Return the layer indices that `spec` means, ascending and unique.

    Args:
        spec: comma-separated indices (`3,18`), negative indices (`-1` is the last layer), fractions of depth with a point
            (`0.6` is layer round(0.6 * (n_layers - 1))) or `all`; or a sequence of indices.
        n_layers: number of decoder layers of the model.

    Raises:
        ModelError: a part is not a layer of the model.
    """
    parts = spec.split(",") if isinstance(spec, str) else [str(layer) for layer in spec]
    parts = [part.strip() for part in parts if part.strip()]
    if parts == ["all"]:
        return tuple(range(n_layers))
    layers = {_one_layer(part, n_layers) for part in parts}
    if not layers:
        raise ModelError("`layers` names no layer", need="for example 3,18 or 0.6 or all", remedy="name at least one")
    return tuple(sorted(layers))


def _one_layer(part: str, n_layers: int) -> int:
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
    need = f"0..{n_layers - 1}, -{n_layers}..-1, a fraction such as 0.6, or all"
    raise ModelError(
        f"the model has {n_layers} layers and no layer {part!r}", need=need, remedy="choose other `layers`"
    )
