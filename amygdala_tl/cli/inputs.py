"""What several commands read beside a readout: the corpus it was trained on, and its activations."""

from pathlib import Path
from typing import TYPE_CHECKING

from amygdala_tl.cli import options
from amygdala_tl.corpus.folders import read_training_data
from amygdala_tl.errors import ActivationStoreError, InputError
from amygdala_tl.records import Corpus

if TYPE_CHECKING:
    from amygdala_tl.activations.store import ActivationStore
    from amygdala_tl.records import Fit


def corpus_of(training_data_dir: Path, fit: "Fit") -> Corpus:
    """The corpus that a fit was made of.

    Raises:
        InputError: the folder holds another one.
        CorpusError: it holds none.
    """
    corpus = read_training_data(training_data_dir, min_examples=1)
    if corpus.sha256 != fit.corpus_sha256:
        # Folders of texts get their concepts by --min-examples: try what `train` does.
        corpus = read_training_data(training_data_dir, min_examples=options.MIN_EXAMPLES)
    if corpus.sha256 != fit.corpus_sha256:
        raise InputError(
            "the readout was trained on another corpus",
            label=str(training_data_dir),
            got=corpus.sha256[:12],
            need=fit.corpus_sha256[:12],
            remedy="give the corpus it was trained on, or train it again",
        )
    return corpus


def store_of(activations_dir: Path | None, readout: Path, fit: "Fit") -> "ActivationStore":
    """The activations that a fit was made of: in `activations_dir`, or beside the readout.

    Raises:
        ActivationStoreError: there is no such folder, or a shard cannot be read.
    """
    from amygdala_tl.activations.store import ActivationStore

    folder = activations_dir or readout.parent / "activations"
    if not folder.is_dir():  # `for_model` would make it, and none of these commands writes there
        raise ActivationStoreError(
            "activations are missing",
            label=str(folder),
            got="no such folder",
            remedy="give --activations-dir, or run `amygdala-tl capture`",
        )
    return ActivationStore.for_model(folder, fit.model, fit.settings)
