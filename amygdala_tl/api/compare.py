"""`compare`: two readouts, or two runs of `steer`, side by side."""

from pathlib import Path

from amygdala_tl.diagnostics.comparing import ReadoutComparison, compare_readouts
from amygdala_tl.errors import InputError
from amygdala_tl.readout.formats import ENDINGS
from amygdala_tl.readout.hub import hub_url
from amygdala_tl.readout.record import load_readout
from amygdala_tl.steering.comparing import RunComparison, compare_runs
from amygdala_tl.steering.results import read_run


def compare(first: str | Path, second: str | Path) -> ReadoutComparison | RunComparison:
    """Compare two readouts, or two results folders of `steer`.

    Args:
        first, second: both as `load_readout` takes them, or both folders of `steer`.

    Raises:
        InputError: one is a readout and the other a folder, or a folder holds no finished run.
        ReadoutError: a bundle is damaged, or cannot be downloaded.
    """
    readouts = [_is_readout(each) for each in (first, second)]
    if all(readouts):
        return compare_readouts(load_readout(first), load_readout(second), (str(first), str(second)))
    if any(readouts):
        raise InputError(
            "a readout and a run of `steer` cannot be compared", got=f"{first} and {second}",
            remedy="name two readouts, or two results folders",
        )  # fmt: skip
    return compare_runs(read_run(Path(first)), read_run(Path(second)))


def _is_readout(path: str | Path) -> bool:
    return hub_url(path) is not None or Path(path).suffix in ENDINGS
