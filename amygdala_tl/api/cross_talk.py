"""`cross_talk`: how much each readout answers to other concepts."""

from collections.abc import Sequence
from statistics import mode

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.api.labelled import judged_texts
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.diagnostics.diagnose import layer_cross_talk
from amygdala_tl.diagnostics.records import CrossTalk
from amygdala_tl.directions.data import ungrouped
from amygdala_tl.directions.labels import group_numbers, label_matrix
from amygdala_tl.errors import InputError
from amygdala_tl.readout.record import Readout
from amygdala_tl.settings import FIT

Labels = Sequence[Sequence[str]] | Bool[Tensor, "text concept"]


def cross_talk(
    readout: Readout,
    activations: Float[Tensor, "text layer d_model"] | ActivationStore,
    labels: Labels | Corpus,
    *,
    groups: Sequence[str] | None = None,
    layer: int | None = None,
    seed: int = FIT.seed,
) -> CrossTalk:
    """Measure cosines, AUROC of readout i on label j, correlations, and which pairs are not independent axes.

    Args:
        readout: from `train` or `load_readout`.
        activations: of texts that the readout was not fitted on, at its layers; or a store, with a corpus as `labels`, of
            which the held-out texts are taken.
        labels: concepts of every text, or a 0/1 matrix [text, concept] in the readout's order. A text is a negative of every
            concept that it does not have.
        groups: equal for texts that are not independent; every text alone if None. Not for a corpus, which has its own.
        layer: one of the readout's; the layer that most concepts are read at if None.
        seed: of the bootstrap.

    Raises:
        InputError: sizes do not fit, or the readout does not have the layer.
        ActivationStoreError: texts have not been captured.
    """
    layer = mode(readout.reading_layers.values()) if layer is None else layer
    if isinstance(labels, Corpus):
        if not isinstance(activations, ActivationStore):
            raise InputError("a corpus needs a store of its activations", remedy="pass the store, or labels")
        data = judged_texts(readout, labels, activations, "heldout").data
    else:
        if isinstance(activations, ActivationStore):
            raise InputError("a store needs the corpus that it is of", remedy="pass the corpus as labels")
        if isinstance(labels, Tensor) or not all(isinstance(row, Sequence) for row in labels):
            positive = torch.as_tensor(labels).bool()
        else:
            positive = label_matrix(labels, readout.concepts)
        data = ungrouped(activations, positive, ~positive)
    numbers = data.groups if groups is None else group_numbers(groups)
    shape = (len(data.activations), len(readout.concepts))
    if tuple(data.positive.shape) != shape or len(numbers) != shape[0]:
        raise InputError(
            "the labels do not fit",
            got=f"labels {tuple(data.positive.shape)}, {len(numbers)} groups",
            need=f"labels {shape}, {shape[0]} groups",
            remedy="pass one row a text and one column a concept of the readout",
        )
    return layer_cross_talk(readout, layer, data.activations, data.positive, data.negative, numbers, seed)
