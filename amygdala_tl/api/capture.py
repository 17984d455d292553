"""`capture`: the texts of a corpus become activations in a store."""

from collections.abc import Sequence
from pathlib import Path

from amygdala_tl.activations.capture import capture_texts
from amygdala_tl.activations.engine import PoolingEngine
from amygdala_tl.activations.golden import check_store
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.lens.hooks import parse_layers
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.template import rendered_template
from amygdala_tl.readout.record import Readout
from amygdala_tl.records import (
    CaptureSettings,
    CaptureSummary,
    ChatTemplateChoice,
    KeptPosition,
    ProgressCallback,
    StoreDtype,
)
from amygdala_tl.settings import CAPTURE


def capture(
    corpus: Corpus,
    lens: Lens | PoolingEngine,
    activations_dir: str | Path,
    *,
    layers: str | Sequence[int] = CAPTURE.layers,
    chat_template: ChatTemplateChoice = CAPTURE.chat_template,
    max_tokens: int = CAPTURE.max_tokens,
    token_components: int = CAPTURE.token_components,
    batch_size: int | None = CAPTURE.batch_size,
    store_dtype: StoreDtype = CAPTURE.store_dtype,
    keep_position: KeptPosition = CAPTURE.keep_position,
    progress: ProgressCallback | None = None,
) -> tuple[ActivationStore, CaptureSummary]:
    """Run the texts of a corpus that the store lacks, and keep their activations.

    Args:
        corpus: texts, neutral ones too.
        lens: from `load_model` or `wrap`; or from `load_vllm`, to run the texts in vLLM, or `load_ray`, in many processes.
        activations_dir: folder or URL (`s3://bucket/folder`) for the stores of any number of models and settings.
        layers: see `parse_layers`.
        chat_template: run each text as one turn of the model's chat template; `auto`: as the user's, if there is one.
        max_tokens: length at which a text is cut.
        token_components: number of principal directions of each text's tokens to keep, for the `subspace` estimator.
        batch_size: most texts a batch; a token budget alone decides if None, and vLLM always decides itself.
        store_dtype: how the store keeps activations; float16 rounds each number by at most 2^-11 of itself.
        keep_position: the read position that the store keeps, or `all`.
        progress: called after every batch.

    Returns:
        The store, and what was run.

    Raises:
        ModelError: no such layer, or no such chat template.
        ActivationStoreError: the store is damaged, or the model no longer computes what it holds.
        StorageError: the disk or the object store refused.
        InputError: the URL's file system is not installed.
    """
    indices = parse_layers(layers, lens.info.n_layers)
    if chat_template == "auto":
        chat_template = "user" if lens.tokenizer.chat_template else "none"
    rendered = "" if chat_template == "none" else rendered_template(lens.tokenizer, chat_template)
    settings = CaptureSettings(chat_template, max_tokens, token_components, rendered, store_dtype, keep_position)
    store = ActivationStore.for_model(activations_dir, lens.info, settings)
    check_store(lens, store, indices)
    texts = {text.id: text.text for text in corpus.texts}
    summary = capture_texts(lens, texts, indices, store, batch_size=batch_size, progress=progress)
    return store, summary


def capture_again(
    readout: Readout, corpus: Corpus, lens: Lens, folder: Path, progress: ProgressCallback | None = None
) -> tuple[ActivationStore, CaptureSummary]:
    """Run the texts of a readout's corpus as they were run for it, at its layers; arguments and errors as in `capture`."""
    said = readout.provenance.capture
    return capture(
        corpus, lens, folder, layers=readout.layers, chat_template=said.chat_template, max_tokens=said.max_tokens,
        token_components=said.token_components, store_dtype=said.store_dtype, keep_position=said.read_position,
        progress=progress,
    )  # fmt: skip
