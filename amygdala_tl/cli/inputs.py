"""Inputs that several commands read beside a readout."""

from pathlib import Path
from typing import TYPE_CHECKING

from amygdala_tl.corpus.record import Corpus

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
