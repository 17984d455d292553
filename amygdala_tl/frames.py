"""Columns as a data frame. pandas and polars are imported when somebody asks for one; neither is needed otherwise."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from amygdala_tl.errors import InputError

FrameLibrary = Literal["pandas", "polars"]
"""Library of a data frame."""


def frame(columns: Mapping[str, Sequence[object]], library: FrameLibrary) -> Any:
    """Return a `DataFrame` of columns of equal length.

    Raises:
        InputError: the library is not installed.
    """
    return optional(library).DataFrame(dict(columns))


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
