"""Which layers to read: compared on folds of the training texts, never on the held-out ones."""

from collections.abc import Sequence

from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.diagnostics.records import LayerSeparation
from amygdala_tl.directions.method import AUTO
from amygdala_tl.pipeline.diagnose import Diagnoser
from amygdala_tl.pipeline.fit import MIN_EXAMPLES, fit
from amygdala_tl.records import Corpus, ReadPosition


def compare_layers(
    corpus: Corpus,
    store: ActivationStore,
    *,
    layers: str | Sequence[int] | None = None,
    aggregator: str = AUTO,
    denoise: str = "",
    read_position: ReadPosition = "pooled",
    min_examples: int = MIN_EXAMPLES,
) -> LayerSeparation:
    """Separation of every concept at every captured layer, each text scored by directions fitted without its group.

    Args:
        corpus, store, layers, aggregator, denoise, read_position, min_examples: as in `fit`.

    Raises:
        FitError, InputError, ActivationStoreError: as `fit`.
    """
    found = fit(
        corpus,
        store,
        layers=layers,
        aggregator=aggregator,
        denoise=denoise,
        read_position=read_position,
        min_examples=min_examples,
    )
    return Diagnoser(corpus, store, found).by_layer()
