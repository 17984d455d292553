"""`fit_eraser`: what erases a readout's concepts from the residual stream, so that no linear probe reads them."""

from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.api.labelled import judged_texts
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.directions.erasure import Eraser, fit_erasure
from amygdala_tl.readout.record import Readout


def fit_eraser(readout: Readout, corpus: Corpus, store: ActivationStore, *, shrinkage: float | None = None) -> Eraser:
    """Fit least-squares erasures of all concepts, at every layer that the store has.

    Nothing is kept on the disk: the fit is one pass over the stored activations and a factorisation for each layer.

    Args:
        readout: names the concepts and the read position.
        corpus: what the readout was trained on; its training texts count.
        store: the corpus's activations.
        shrinkage: share of the diagonal in the covariance, 0 to 1; if None, the strength that estimates each layer's best.

    Raises:
        ActivationStoreError: texts have not been captured.
        FitError: a concept lacks a class, or the covariance cannot be inverted.
    """
    layers = captured_layers(readout, corpus, store)
    data = judged_texts(readout, corpus, store, "train", layers=layers).data.whole()
    return fit_erasure(data, readout.concepts, layers, shrinkage=shrinkage)


def captured_layers(readout: Readout, corpus: Corpus, store: ActivationStore) -> tuple[int, ...]:
    """Return the layers that the store has of the training texts, and those of the readout, ascending."""
    captured = store.layers_of([text.id for text in corpus.texts if text.split == "train"])
    return tuple(sorted({*readout.layers, *captured}))
