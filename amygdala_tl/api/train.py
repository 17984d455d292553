"""`train`: capture, fit and judge in one."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.api.capture import capture
from amygdala_tl.api.domains import compare_domains
from amygdala_tl.api.fit import fit
from amygdala_tl.api.judge import judge, with_verdicts
from amygdala_tl.api.layers import compare_layers
from amygdala_tl.corpus.domains import domains_of
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.diagnostics.records import Diagnosis, DomainTable, LayerSeparation
from amygdala_tl.diagnostics.separation import best_layers
from amygdala_tl.errors import FitError, InputError
from amygdala_tl.lens.model import Lens
from amygdala_tl.readout.record import Readout
from amygdala_tl.records import (
    CaptureSummary,
    ChatTemplateChoice,
    CountCallback,
    KeptPosition,
    ProgressCallback,
    ReadPosition,
    StoreDtype,
)
from amygdala_tl.settings import AUTO, CAPTURE, FIT, LAYERS, Labels, Writer


@dataclass(frozen=True, slots=True)
class ChosenLayers:
    """Layers that `train` chose, and the comparison that they come from."""

    separation: LayerSeparation
    layers: tuple[int, ...]


StageResult = CaptureSummary | ChosenLayers | Readout | DomainTable | Diagnosis | FitError
"""What a stage of `train` gives; a `FitError` says why there are no verdicts."""


def train(
    corpus: Corpus,
    lens: Lens,
    *,
    layers: str | Sequence[int] = CAPTURE.layers,
    aggregator: str = FIT.aggregator,
    denoise: str = FIT.denoise,
    labels: Labels = FIT.labels,
    read_position: ReadPosition = FIT.read_position,
    min_examples: int = FIT.min_examples,
    writer: Writer = FIT.writer,
    chat_template: ChatTemplateChoice = CAPTURE.chat_template,
    max_tokens: int = CAPTURE.max_tokens,
    batch_size: int | None = CAPTURE.batch_size,
    store_dtype: StoreDtype = CAPTURE.store_dtype,
    keep_position: KeptPosition = CAPTURE.keep_position,
    verdicts: bool = True,
    activations_dir: str | Path | None = None,
    progress: ProgressCallback | None = None,
    judging: CountCallback | None = None,
    on_result: Callable[[StageResult], None] = lambda _: None,
) -> Readout:
    """Train a readout, with a verdict on every concept.

    Args:
        corpus: texts and labels.
        lens: from `load_model` or `wrap`.
        layers: see `parse_layers`; `auto` captures eight layers and keeps the four that serve the concepts best.
        aggregator, denoise, labels, read_position, min_examples, writer: as in `fit`.
        chat_template, max_tokens, batch_size, store_dtype, keep_position, progress: as in `capture`.
        verdicts: judge every concept, see `judge`. A corpus too small to judge gives a readout without.
        activations_dir: folder or URL where activations are kept for later; they are not kept if None.
        judging: `progress` of `judge`.
        on_result: called with what each stage gives.

    Raises:
        ModelError, FitError, InputError, ActivationStoreError, StorageError: as the stages.
    """
    if keep_position not in ("all", read_position):
        what, remedy = "`read_position` is not kept", "keep it, or `all`"
        raise InputError(what, got=keep_position, need=read_position, remedy=remedy)
    fitting: dict[str, Any] = {
        "aggregator": aggregator,
        "denoise": denoise,
        "read_position": read_position,
        "min_examples": min_examples,
    }
    with ExitStack() as stack:
        folder = activations_dir or stack.enter_context(tempfile.TemporaryDirectory())
        store, summary = capture(
            corpus,
            lens,
            folder,
            layers=LAYERS.candidates if layers == AUTO else layers,
            chat_template=chat_template,
            max_tokens=max_tokens,
            token_components=LAYERS.token_components if aggregator == "subspace" else 0,
            batch_size=batch_size,
            store_dtype=store_dtype,
            keep_position=keep_position,
            progress=progress,
        )
        on_result(summary)
        if layers == AUTO:
            separation = compare_layers(corpus, store, layers=LAYERS.candidates, **fitting)
            layers = best_layers(separation, LAYERS.slots)
            on_result(ChosenLayers(separation, layers))
        readout = fit(corpus, store, layers=layers, labels=labels, writer=writer, **fitting)
        on_result(readout)
        if len(set(domains_of(corpus).values())) > 1:
            on_result(compare_domains(readout, corpus, store))
        return judged(readout, corpus, store, on_result, judging) if verdicts else readout


def judged(
    readout: Readout,
    corpus: Corpus,
    store: ActivationStore,
    on_result: Callable[[StageResult], None],
    progress: CountCallback | None = None,
) -> Readout:
    """Return the readout with verdicts; as it is, with the reason reported, where it cannot be judged."""
    try:
        found = judge(readout, corpus, store, progress=progress)
    except FitError as reason:  # a corpus too small to judge by still has a readout
        on_result(reason)
        return readout
    on_result(found)
    return with_verdicts(readout, found)
