"""`evaluate`: a readout on other texts, with held-out scores where they are labelled; `passages`: its extremes where not."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from amygdala_tl.activations.embedding import mean_embeddings
from amygdala_tl.activations.runner import pool_texts
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.api.inputs import corpus_of
from amygdala_tl.api.labelled import judged_texts, no_known_label, read_parts
from amygdala_tl.api.models import lens_of
from amygdala_tl.corpus.evaluation_data import EvaluationData, of_corpus, read_evaluation_data
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.diagnostics.diagnose import method_of
from amygdala_tl.diagnostics.embedding import embedding_scores
from amygdala_tl.diagnostics.evaluation import JudgedTexts
from amygdala_tl.diagnostics.evaluation import evaluate as judge_scores
from amygdala_tl.diagnostics.passages import extremes
from amygdala_tl.diagnostics.records import Evaluation, Passages
from amygdala_tl.directions import LabelledActivations
from amygdala_tl.directions.labels import group_numbers, label_matrix
from amygdala_tl.errors import CorpusError, InputError, ReadoutError
from amygdala_tl.lens.model import Lens
from amygdala_tl.names import fold_name
from amygdala_tl.readout.record import Readout
from amygdala_tl.settings import FIT


def evaluate(
    readout: Readout,
    data: EvaluationData | Corpus | str | Path,
    lens: Lens | str | None = None,
    *,
    corpus: Corpus | None = None,
    store: ActivationStore | None = None,
    seed: int = FIT.seed,
) -> Evaluation:
    """Measure how well a readout reads other labelled texts, for the concepts that are among their labels.

    Args:
        readout: from `train` or `load_readout`.
        data: labelled texts, or where they are; of the readout's own corpus the held-out texts count only.
        lens: the readout's model, or its name; loaded by the readout's own name for it if None.
        corpus, store: the training corpus with its activations: adds the bag of words, the embedding baseline and random
            directions of the training texts' covariance.
        seed: of bootstrap and nulls.

    Raises:
        InputError: no label is a concept of the readout, no text has more than one token, or one of corpus and store is given.
        ReadoutError: the readout is of another model, or does not say how it was fitted and a training corpus is given.
    """
    if (corpus is None) != (store is None):
        raise InputError("corpus and store go together", got="one of the two", remedy="give both, or none")
    data = evaluation_data(data, readout)
    known = [concept for concept in readout.concepts if fold_name(concept) in data.labels]
    if not known:
        raise no_known_label(data.labels, readout)
    method = None if corpus is None else method_of(readout)
    readout, lens = readout.of_concepts(known), lens_of(readout, lens)
    unseen, what = _unseen(data, readout, lens)
    layers = torch.tensor([readout.reading_layers[concept] for concept in readout.concepts])
    if corpus is None or store is None or method is None:
        return judge_scores(readout, layers, unseen, what, seed=seed)
    train = judged_texts(readout, corpus, store, "train")
    embeddings = (mean_embeddings(lens, each.texts, readout.provenance.capture) for each in (train, unseen))
    embedding = embedding_scores(method, train.data, *embeddings)
    return judge_scores(readout, layers, unseen, what, train, embedding, seed=seed)


def passages(
    readout: Readout, data: EvaluationData | str | Path, lens: Lens | str | None = None, *, most: int = 3
) -> tuple[Passages, ...]:
    """Find the texts with the highest and the lowest z of every concept at its reading layer, to judge by eye.

    Args:
        readout: with a calibration of texts.
        data: texts, or where they are; labels are ignored.
        lens: the readout's model, or its name; loaded by the readout's own name for it if None.
        most: number of texts a side.

    Raises:
        ReadoutError: the readout has no calibration of texts, or is of another model.
        InputError: the texts cannot be read.
    """
    readout.calibration("texts")  # a mistake comes before the model
    data = evaluation_data(data, readout)
    activations, fine = _activations(data, readout, lens_of(readout, lens))
    z = readout.z(activations, of="texts")
    return extremes(readout, z, fine, [text.text for text in data.texts], most)


def evaluation_data(data: EvaluationData | Corpus | str | Path, readout: Readout) -> EvaluationData:
    """Read texts to evaluate on; of the readout's own corpus the held-out ones only.

    Raises:
        InputError: the texts cannot be read.
    """
    if isinstance(data, str | Path):
        data = _own(readout, Path(data)) or read_evaluation_data(Path(data))
    if isinstance(data, Corpus):
        data = of_corpus(data, "heldout" if data.sha256 == readout.provenance.corpus_sha256 else None)
    return data


def _own(readout: Readout, path: Path) -> Corpus | None:
    """Return the corpus that the readout was trained on, if it is in this folder."""
    try:
        return corpus_of(readout, path) if path.is_dir() else None
    except (CorpusError, InputError, ReadoutError):
        return None


def _unseen(data: EvaluationData, readout: Readout, lens: Lens) -> tuple[JudgedTexts, str]:
    """Return the texts that can be read, and what to call them in a table."""
    activations, fine = _activations(data, readout, lens)
    readable = fine.all(dim=1)
    if not bool(readable.any()):
        raise InputError("the texts are too short to read", got="one token each", remedy="give longer texts")
    texts = [text for text, whole in zip(data.texts, readable.tolist(), strict=True) if whole]
    unread = [text.text for text, whole in zip(data.texts, readable.tolist(), strict=True) if not whole]
    named = sorted(data.labels)
    negative: list[Sequence[str]] = [
        [label for label in named if label not in text.positive] if text.negative is None else text.negative
        for text in texts
    ]
    folded = [fold_name(concept) for concept in readout.concepts]
    what = f"{len(texts)} texts in {len({text.group for text in texts})} groups"
    found = LabelledActivations(
        activations=activations[readable],
        positive=label_matrix([text.positive for text in texts], folded),
        negative=label_matrix(negative, folded),
        groups=group_numbers([text.group for text in texts]),
    )
    shown = ", ".join(repr(text[:40]) for text in unread[:3])
    left_out = f", without {len(unread)} that cannot be read, such as {shown}" if unread else ""
    return JudgedTexts(read_parts(texts, readout), found), what + left_out


def _activations(
    data: EvaluationData, readout: Readout, lens: Lens
) -> tuple[Float[Tensor, "text layer d_model"], Bool[Tensor, "text layer"]]:
    said, texts = readout.provenance, [text.text for text in data.texts]
    return pool_texts(lens, texts, readout.layers, said.read_position, said.capture)
