"""GGUF files, read by transformers in a sixth of its time.

transformers parses the header of the same file for the configuration, for the tokenizer and for the weights, and builds its table
of tensor names for every module of the model.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from amygdala_tl.errors import ModelError


def check_gguf(label: object) -> None:
    """Raise ModelError if the package `gguf`, which reads `label`, is not installed."""
    if find_spec("gguf") is None:
        remedy = "run `pip install 'amygdala-tl[gguf]'`"
        raise ModelError("reading a .gguf file needs the package gguf", label=label, remedy=remedy)


@contextmanager
def header_read_once() -> Iterator[None]:
    """Parse the header of a GGUF file once inside the block; the package `gguf` must be installed."""
    import gguf

    class Reader(gguf.GGUFReader):  # type: ignore[misc]  # gguf is an extra, without types here
        """A reader that slices a plain array: a header has 100,000 strings, and a slice of a memory map costs far more."""

        @property
        def data(self) -> Any:
            return self._plain

        @data.setter
        def data(self, mapped: Any) -> None:
            self._plain = mapped.view(np.ndarray)

    before = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader, gguf.get_tensor_name_map = cache(Reader), cache(gguf.get_tensor_name_map)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = before
