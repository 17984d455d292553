"""Columns as a data frame or a labelled array, by libraries that are imported when somebody asks for one."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from amygdala_tl.errors import InputError

FrameLibrary = Literal["pandas", "polars", "xarray"]
"""Library of a data frame, or of a labelled array."""


def frame(columns: Mapping[str, Sequence[object]], library: FrameLibrary, keys: Sequence[str]) -> Any:
    """Return a `DataFrame` of columns of equal length, or with xarray a `Dataset` that has an axis for each key.

    Args:
        columns: a row for each combination of the keys' values, in order, the last key changing fastest.
        library: what to return a table of.
        keys: columns that identify a row.

    Raises:
        InputError: the library is not installed.
    """
    if library != "xarray":
        return optional(library).DataFrame(dict(columns))
    dataset = optional("xarray").Dataset
    table = frame(columns, "pandas", keys)  # which xarray needs too, and where None among numbers is NaN
    axes = {key: list(dict.fromkeys(columns[key])) for key in keys}
    shape = [len(axis) for axis in axes.values()]
    return dataset(
        {name: (tuple(keys), table[name].to_numpy().reshape(shape)) for name in table if name not in axes}, axes
    )


def optional(library: str) -> Any:
    """Import a library that this package does not require.

    Raises:
        InputError: it is not installed; the message names the command that installs it.
    """
    try:
        return importlib.import_module(library)
    except ImportError as cause:
        package = library.partition(".")[0]
        raise InputError(f"{package} is not installed", remedy=f"run `pip install {package}`") from cause
