"""A corpus to activations in a store."""

from collections.abc import Sequence
from pathlib import Path

from amygdala_tl.activations.capture import capture_texts
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.lens.hooks import DEFAULT_TARGET_LAYERS, parse_layers
from amygdala_tl.lens.model import Lens
from amygdala_tl.records import CaptureSettings, CaptureSummary, ChatTemplateChoice, Corpus, ProgressCallback


def capture(
    corpus: Corpus,
    model: Lens,
    activations_dir: str | Path,
    *,
    layers: str | Sequence[int] = DEFAULT_TARGET_LAYERS,
    chat_template: ChatTemplateChoice = "auto",
    max_tokens: int = 1024,
    token_components: int = 0,
    batch_size: int | None = None,
    progress: ProgressCallback | None = None,
) -> tuple[ActivationStore, CaptureSummary]:
    """Run the texts of `corpus` that the store below `activations_dir` lacks, at `layers`.

    Args:
        corpus: texts, neutral ones too.
        model: from `load_model`.
        activations_dir: holds the stores of any number of models and settings.
        layers: see `parse_layers`.
        chat_template: whether each text is run as one turn of the model's chat template; `auto`: as the user's, where the
            model's tokenizer has one.
        max_tokens: tokens of a text past this many are cut off.
        token_components: how many principal directions of each text's tokens are kept, for the `subspace` estimator.
        batch_size: bound on the texts of a batch, besides the token budget.
        progress: called after every batch.

    Raises:
        ModelError: no such layer, or no such chat template.
        ActivationStoreError: the store is damaged.
        StorageError: the disk refused.
    """
    indices = parse_layers(layers, model.info.n_layers)
    if chat_template == "auto":
        chat_template = "user" if model.tokenizer.chat_template else "none"
    settings = CaptureSettings(chat_template, max_tokens, token_components)
    store = ActivationStore.for_model(Path(activations_dir), model.info, settings)
    texts = {text.id: text.text for text in corpus.texts}
    summary = capture_texts(model, texts, indices, store, batch_size=batch_size, progress=progress)
    return store, summary
