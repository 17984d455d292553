"""The files of a readout in each format, by the ending of the first one's name."""

from pathlib import Path

from amygdala_tl.files import Kind
from amygdala_tl.readout import bundle
from amygdala_tl.readout.control_vector import CONTROL_VECTOR


def files_of(path: str | Path) -> dict[Path, Kind]:
    """Return the files of a readout at `path` with their kinds: `.gguf` for a control vector, `.safetensors` for a bundle.

    Raises:
        InputError: the name has another ending.
    """
    path = Path(path)
    return {path: CONTROL_VECTOR} if path.suffix == ".gguf" else bundle.outputs(path)
