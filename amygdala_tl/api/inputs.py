"""What a readout was trained on: its corpus, read again as it was, and its activations."""

from pathlib import Path

from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.corpus.loader import read_again
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.errors import InputError, ReadoutError
from amygdala_tl.readout.record import Readout


def corpus_of(readout: Readout, folder: str | Path) -> Corpus:
    """Read the corpus that a readout was trained on.

    A folder of texts gets its concepts and its split by parameters, which the readout's provenance keeps.

    Args:
        readout: with a corpus in its provenance.
        folder: of the corpus.

    Raises:
        InputError: the folder holds another corpus.
        CorpusError: it holds none.
        ReadoutError: the readout does not say what it was trained on.
    """
    said = readout.provenance
    if said.corpus_sha256 is None:
        raise ReadoutError("the readout does not say what it was trained on", remedy="use it without a corpus")
    corpus = read_again(folder, said.corpus)
    if corpus.sha256 != said.corpus_sha256:
        raise InputError(
            "the readout was trained on another corpus",
            label=str(folder),
            got=corpus.sha256[:12],
            need=said.corpus_sha256[:12],
            remedy="give the corpus it was trained on, or train it again",
        )
    return corpus


def store_of(readout: Readout, folder: str | Path) -> ActivationStore:
    """Open the store of the activations that a readout was fitted on.

    Args:
        readout: with a model in its provenance.
        folder: or URL, with the stores of any number of models and settings.

    Raises:
        ActivationStoreError: the store is not there, or a shard cannot be read.
        ReadoutError: the readout does not say which model it is of.
    """
    said = readout.provenance
    if said.model is None:
        raise ReadoutError("the readout names no model", remedy="use it without activations")
    return ActivationStore.for_model(folder, said.model, said.capture, make=False)
