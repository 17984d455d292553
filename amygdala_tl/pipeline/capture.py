"""A corpus to activations in a store."""

from collections.abc import Sequence
from pathlib import Path

from amygdala_tl.activations.capture import capture_texts
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.lens.hooks import DEFAULT_TARGET_LAYERS, parse_layers
from amygdala_tl.lens.model import LoadedModel
from amygdala_tl.records import CaptureSettings, CaptureSummary, Corpus, ProgressCallback


def capture(
    corpus: Corpus,
    model: LoadedModel,
    activations_dir: str | Path,
    *,
    layers: str | Sequence[int] = DEFAULT_TARGET_LAYERS,
    settings: CaptureSettings | None = None,
    batch_size: int | None = None,
    progress: ProgressCallback | None = None,
) -> tuple[ActivationStore, CaptureSummary]:
    """Run the texts of `corpus` that the store below `activations_dir` lacks, at `layers`.

    Args:
        corpus: texts, neutral ones too.
        model: from `load_model`.
        activations_dir: holds the stores of any number of models and settings.
        layers: see `parse_layers`.
        settings: chat template and longest text; the defaults of `CaptureSettings` if None.
        batch_size: bound on the texts of a batch, besides the token budget.
        progress: called after every batch.

    Raises:
        ModelError: no such layer.
        ActivationStoreError: the store is damaged.
        StorageError: the disk refused.
    """
    indices = parse_layers(layers, model.info.n_layers)
    store = ActivationStore.for_model(Path(activations_dir), model.info, settings or CaptureSettings())
    texts = {text.id: text.text for text in corpus.texts}
    summary = capture_texts(model, texts, indices, store, batch_size=batch_size, progress=progress)
    return store, summary
