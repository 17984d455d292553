"""`compare_layers`: which layers to read, compared on folds of the training texts and never on the held-out ones."""

from collections.abc import Sequence
from typing import Any

from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.api.fit import fit
from amygdala_tl.api.labelled import judged_texts, neutral_activations
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.diagnostics.diagnose import Diagnoser
from amygdala_tl.diagnostics.records import LayerSeparation
from amygdala_tl.diagnostics.separation import layer_separation


def compare_layers(
    corpus: Corpus, store: ActivationStore, *, layers: str | Sequence[int] | None = None, **fitting: Any
) -> LayerSeparation:
    """Measure the separation of every concept at every layer; directions never see the group of the text they score.

    In a corpus that joins several, they never see its domain.

    Args:
        corpus, store, layers, fitting: as in `fit`.

    Raises:
        FitError, InputError, ActivationStoreError: as `fit`.
    """
    readout = fit(corpus, store, layers=layers, **fitting)
    train, chosen_on = (judged_texts(readout, corpus, store, "train", by_domain=each) for each in (False, True))
    diagnoser = Diagnoser(readout, chosen_on, neutral_activations(readout, corpus, store), halves=False)
    names = readout.concepts, readout.layers
    return layer_separation(diagnoser.cross_fit.scores, train.data, *names, of="training folds")
