"""What other people's code may do while a model is read: it raises anything, and asks nobody for a model that is here.

transformers, tokenizers, safetensors, gguf, TransformerLens and code that a checkpoint brings raise whatever they meet, from
`OSError` to Rust panics, which are no `Exception`. `library_errors` turns all of it into one `ModelError` with its cause.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pickle import UnpicklingError

import torch
from huggingface_hub import constants
from transformers.utils import logging

from amygdala_tl.errors import AmygdalaError, ModelError

_LONGEST = 300  # characters of a library's message


@contextmanager
def library_errors(what: str, label: str, remedy: str) -> Iterator[None]:
    """Raise a `ModelError` for anything that a library raises inside the block with the beginning of its message."""
    try:
        yield
    except (AmygdalaError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as cause:
        got = f"{type(cause).__name__}: {' '.join(str(cause).split())}".removesuffix(": ")
        got = got if len(got) <= _LONGEST else f"{got[:_LONGEST]}..."
        raise ModelError(what, label=label, got=got, remedy=_remedy(cause) or remedy) from cause


@contextmanager
def offline() -> Iterator[None]:
    """Keep huggingface_hub from the network inside the block, whatever a library looks up: as with `HF_HUB_OFFLINE=1`."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def quiet() -> Iterator[None]:
    """Switch off transformers' progress bars and log inside the block: what matters is raised, or warned of, here."""
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def out_of_memory(cause: BaseException) -> bool:
    """Return whether an error says that memory ran out; on a CPU, torch says so in a `RuntimeError`."""
    return isinstance(cause, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(cause)


def _remedy(cause: BaseException) -> str | None:
    """Return what helps against `cause`, whatever was read; None where that depends."""
    if isinstance(cause, ImportError):
        return "install the package that it names, or choose a checkpoint that does not need it"
    if out_of_memory(cause):
        return "take a smaller model, a half-precision `dtype`, or a machine with more memory"
    if isinstance(cause, UnpicklingError):
        return "get the checkpoint as safetensors: a pickle file may run code, so only plain tensors are read from it"
    if "trust_remote_code" in str(cause):
        return "set `trust_remote_code` if you trust the code that the checkpoint brings"
    return None
