"""What a manifest must hold, checked without torch: by who loads a bundle, and by who asks a server for its manifest."""

import math
from collections.abc import Mapping
from typing import Any

from amygdala_tl.errors import ReadoutError

FORMAT_VERSION = 1
DTYPE = "float16"

Values = list[list[float]]
"""[layer][concept]."""


def manifest_problem(manifest: object) -> str | None:
    """What makes `manifest` unusable, or None."""
    if not isinstance(manifest, Mapping):
        return "the manifest is not an object"
    concepts, layers, hidden = (manifest.get(key) for key in ("concepts", "layers", "hidden_size"))
    if not (_unique_list(concepts, str) and concepts):
        return "`concepts` is not a list of different names"
    if not (_unique_list(layers, int) and layers and min(layers) >= 0 and layers == sorted(layers)):
        return "`layers` is not an ascending list of layer indices"
    if not (isinstance(hidden, int) and not isinstance(hidden, bool) and hidden > 0):
        return "`hidden_size` is not a positive number"
    if manifest.get("dtype") != DTYPE:
        return f"`dtype` is not {DTYPE}"
    said = manifest.get("amygdala_tl", {})
    if not isinstance(said, Mapping):
        return "`amygdala_tl` is not an object"
    if said and said.get("format_version") != FORMAT_VERSION:
        return f"format version {said.get('format_version')!r} is not {FORMAT_VERSION}, which this version reads"
    return None


def _unique_list(value: object, kind: type) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(item, kind) and not isinstance(item, bool) for item in value)
        and len(set(value)) == len(value)
    )


def calibration_values(manifest: Mapping[str, Any], kind: str) -> tuple[Values, Values, int] | None:
    """Means, deviations and count of the calibration `texts` or `tokens` of a manifest, None where there is none.

    Raises:
        ReadoutError: it does not have one finite mean and one positive deviation a layer and concept.
    """
    entry = manifest.get("amygdala_tl", {}).get("calibration", {}).get(kind)
    if entry is None:
        return None
    shape = (len(manifest["layers"]), len(manifest["concepts"]))
    try:
        mean, std = ([[float(value) for value in row] for row in entry[key]] for key in ("mean", "std"))
        n = int(entry["n"])
    except (KeyError, TypeError, ValueError) as cause:
        raise ReadoutError("the calibration cannot be read", label=kind, remedy="export the readout again") from cause
    fits = all(len(rows) == shape[0] and all(len(row) == shape[1] for row in rows) for rows in (mean, std))
    if not (
        fits
        and all(math.isfinite(value) for row in mean for value in row)
        and all(math.isfinite(value) and value > 0 for row in std for value in row)
    ):
        raise ReadoutError(
            "the calibration does not fit",
            label=kind,
            got=f"{len(mean)} layers of means, {len(std)} of deviations",
            need=f"finite means and positive deviations {shape}",
            remedy="export the readout again",
        )
    return mean, std, n
