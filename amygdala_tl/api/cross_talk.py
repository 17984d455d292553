"""`cross_talk`: how much each readout responds to other concepts."""

from collections.abc import Sequence
from statistics import mode
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.api.labelled import examples, judged_texts, neutral_activations, no_known_label, runnable
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.diagnostics.diagnose import Diagnoser, layer_cross_talk
from amygdala_tl.diagnostics.records import CrossTalk
from amygdala_tl.directions import LabelledActivations
from amygdala_tl.directions.labels import group_numbers, label_matrix
from amygdala_tl.errors import InputError
from amygdala_tl.names import fold_name
from amygdala_tl.readout.record import Readout
from amygdala_tl.settings import FIT


def cross_talk(
    readout: Readout,
    activations: Float[Tensor, "text layer d_model"] | ActivationStore,
    labels: Corpus | Sequence[Sequence[str]] | Any,
    *,
    groups: Sequence[str] | None = None,
    layer: int | None = None,
    seed: int = FIT.seed,
) -> CrossTalk:
    """Measure cosines, AUROC of readout i on label j, correlations, and which pairs are not independent axes.

    Pairs are not examined where a verdict says that nothing shows one of the two to be read.

    Args:
        readout: from `train` or `load_readout`.
        activations: of texts that the readout was not fitted on, at its layers; or a store, with a corpus as `labels`, of
            which the held-out texts are taken if there are some; else all, each scored by directions of other groups.
        labels: names of every text's concepts, or a 0/1 matrix [text, concept] in the readout's order (a tensor, an array or
            nested lists). A text is a negative of every concept that it does not have.
        groups: equal for texts that are not independent; every text alone if None. Not for a corpus, which has its own.
        layer: one of the readout's; the layer that most concepts are read at if None.
        seed: of the bootstrap.

    Raises:
        InputError: sizes do not fit, no label is a concept of the readout, or the readout does not have the layer.
        ActivationStoreError: texts have not been captured.
    """
    layer = mode(readout.reading_layers.values()) if layer is None else layer
    if isinstance(labels, Corpus):
        if not isinstance(activations, ActivationStore):
            raise InputError("a corpus needs a store of its activations", remedy="pass the store, or labels")
        return cross_talks(readout, activations, labels, [layer], seed=seed)[0]
    if isinstance(activations, ActivationStore):
        raise InputError("a store needs the corpus that it is of", remedy="pass the corpus as labels")
    positive, n_texts = _positive(labels, readout), len(activations)
    numbers = torch.arange(n_texts) if groups is None else group_numbers(groups)
    shape = (n_texts, len(readout.concepts))
    if tuple(positive.shape) != shape or len(numbers) != n_texts:
        raise InputError(
            "the labels do not fit",
            got=f"labels {tuple(positive.shape)}, {len(numbers)} groups",
            need=f"labels {shape}, {n_texts} groups",
            remedy="pass one row a text and one column a concept of the readout",
        )
    texts = LabelledActivations(activations, positive, ~positive, numbers)
    return layer_cross_talk(readout, layer, texts, seed, read=_read(readout))


def cross_talks(
    readout: Readout, store: ActivationStore, corpus: Corpus, layers: Sequence[int], *, seed: int = FIT.seed
) -> tuple[CrossTalk, ...]:
    """Measure at several layers what `cross_talk` measures at one, from a corpus and its activations.

    Raises:
        InputError: the readout does not have a layer.
        ActivationStoreError: texts have not been captured.
        ReadoutError: no text is held out, and the readout does not say how it was fitted.
        FitError: a fold cannot be fitted.
    """
    corpus, scores = runnable(corpus, store), None
    if unseen := bool(examples(corpus, "heldout")):
        data = judged_texts(readout, corpus, store, "heldout").data
    else:
        train = judged_texts(readout, corpus, store, "train")
        diagnoser = Diagnoser(readout, train, neutral_activations(readout, corpus, store), halves=False, seed=seed)
        data, scores = train.data, rearrange(diagnoser.nested_scores(), "layer text concept -> text layer concept")
    read = _read(readout)
    return tuple(
        layer_cross_talk(readout, layer, data, seed, scores, read, cross_fitted=not unseen) for layer in layers
    )


def _read(readout: Readout) -> list[str]:
    """Return the concepts of which no verdict says that nothing shows them to be read."""
    verdicts = readout.provenance.verdicts
    return [name for name in readout.concepts if name not in verdicts or not verdicts[name].unread]


def _positive(labels: Any, readout: Readout) -> Bool[Tensor, "text concept"]:
    if isinstance(labels, Sequence) and all(map(_names, labels)):
        folded = [fold_name(concept) for concept in readout.concepts]
        positive = label_matrix([[fold_name(name) for name in row] for row in labels], folded)
        if bool(positive.any()):
            return positive
        raise no_known_label({name for row in labels for name in row}, readout)
    try:
        matrix = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as cause:
        raise _no_labels(type(labels).__name__) from cause
    if matrix.ndim != 2 or not bool(((matrix == 0) | (matrix == 1)).all()):
        raise _no_labels(f"shape {tuple(matrix.shape)}")
    return matrix.bool()


def _names(row: Any) -> bool:
    return isinstance(row, Sequence) and not isinstance(row, str) and all(isinstance(name, str) for name in row)


def _no_labels(got: str) -> InputError:
    return InputError(
        "the labels cannot be used",
        got=got,
        need="a list of names a text, or a 0/1 matrix [text, concept]",
        remedy="pass one of the two",
    )
