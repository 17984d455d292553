"""Inputs that several commands read beside a readout."""

from pathlib import Path
from typing import TYPE_CHECKING

from amygdala_tl.cli.printer import notes
from amygdala_tl.corpus.loader import read_in_order
from amygdala_tl.corpus.plain import split_texts
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.errors import InputError

if TYPE_CHECKING:
    from amygdala_tl.activations.store import ActivationStore
    from amygdala_tl.readout.record import Readout


def training_data(
    readout: "Readout", file: Path, training_data_dir: Path, activations_dir: str | None
) -> "tuple[Corpus, ActivationStore]":
    """Read the corpus that a readout was trained on, and its activations from `activations_dir` or beside the readout.

    Raises:
        InputError, CorpusError, ReadoutError, ActivationStoreError: see `api.inputs`.
    """
    from amygdala_tl.api.inputs import corpus_of, store_of

    corpus = corpus_of(readout, training_data_dir)
    return corpus, store_of(readout, activations_dir or file.parent / "activations")


def texts_in_order(file: Path, option: str) -> list[str]:
    """Read the texts of a file in their order, and say how if it could have been read otherwise.

    Raises:
        InputError: nothing is there.
        CorpusError: the file has no text, is damaged or not UTF-8.
    """
    if file.is_dir():
        raise InputError("is a folder", label=file, need="a file of texts", remedy=f"check {option}")
    found, notices = read_in_order(file)
    return _said(found, notices, str(file))


def texts_of(content: str, name: str) -> list[str]:
    """Split the content of a text file into its texts, as `texts_in_order` does; raises InputError if there is none."""
    found, notice = split_texts(content, name)
    return _said(found, (notice,) if notice else (), name)


def _said(found: list[str], notices: tuple[str, ...], name: str) -> list[str]:
    if not found:
        raise InputError("has no text", label=name, remedy="give texts")
    for notice in notices:
        notes(error=True).print(f"note: {notice}")
    return found
