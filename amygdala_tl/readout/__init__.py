"""The readout bundle, as a server reads it: `readout.safetensors` with `readout.json` beside it.

    readout.safetensors   layer_<idx>.vectors   float16 [n_concepts, hidden_size], unit rows, one tensor a layer
    readout.json          {"concepts", "layers", "hidden_size", "dtype", "amygdala_tl": {...}}

A reader needs only the first four keys; all that is said about the vectors is in the fifth.
"""

from typing import TYPE_CHECKING

from amygdala_tl.lazy import lazily

if TYPE_CHECKING:
    from amygdala_tl.readout.calibration import calibrate_texts, calibrate_tokens
    from amygdala_tl.readout.manifest import Manifest, read_manifest
    from amygdala_tl.readout.provenance import Provenance, Verdict, Verdicts
    from amygdala_tl.readout.record import Readout, load_readout
    from amygdala_tl.readout.windows import LargestWindows, exponential_means, largest_windows, running_means

__all__ = [
    "LargestWindows", "Manifest", "Provenance", "Readout", "Verdict", "Verdicts", "calibrate_texts", "calibrate_tokens",
    "exponential_means", "largest_windows", "load_readout", "read_manifest", "running_means",
]  # fmt: skip

__getattr__ = lazily(
    __name__, calibration="calibrate_texts calibrate_tokens", manifest="Manifest read_manifest",
    provenance="Provenance Verdict Verdicts", record="Readout load_readout",
    windows="LargestWindows exponential_means largest_windows running_means",
)  # fmt: skip
