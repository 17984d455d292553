"""`evaluate`: a readout on other texts, with held-out scores where they are labelled; `passages`: its extremes where not."""

from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.activations.embedding import mean_embeddings
from amygdala_tl.activations.runner import pool_texts
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.api.inputs import corpus_of
from amygdala_tl.api.labelled import judged_texts, no_known_label, read_parts
from amygdala_tl.api.models import lens_of
from amygdala_tl.corpus.loader import read_texts
from amygdala_tl.corpus.merge import OTHER_LABELS
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.diagnostics.diagnose import Diagnoser, method_of
from amygdala_tl.diagnostics.embedding import embedding_scores
from amygdala_tl.diagnostics.evaluation import JudgedTexts, judged_scores, text_scores
from amygdala_tl.diagnostics.evaluation import evaluate as judge_scores
from amygdala_tl.diagnostics.nested import over_layers
from amygdala_tl.diagnostics.passages import extremes
from amygdala_tl.diagnostics.records import Evaluation, Passages, Transfer
from amygdala_tl.diagnostics.scored import ScoredTexts
from amygdala_tl.diagnostics.transfer import at_home, transfer
from amygdala_tl.directions import LabelledActivations
from amygdala_tl.directions.labels import group_numbers, label_matrix
from amygdala_tl.errors import CorpusError, FitError, InputError, ReadoutError
from amygdala_tl.lens.model import Lens
from amygdala_tl.names import fold_name
from amygdala_tl.readout.record import Readout
from amygdala_tl.records import CountCallback
from amygdala_tl.settings import FIT


def evaluate(
    readout: Readout,
    data: Corpus | str | Path,
    lens: Lens | str | None = None,
    *,
    corpus: Corpus | None = None,
    store: ActivationStore | None = None,
    seed: int = FIT.seed,
    progress: CountCallback | None = None,
) -> Evaluation:
    """Measure how well a readout reads other labelled texts, for the concepts that are among their labels.

    A text counts as a negative of a concept if its source says so or gives it other labels that the readout has. A label that
    the readout lacks may be a second name of a concept, so its texts are a negative of nothing.

    Texts from elsewhere also give a verdict on every concept: whether the readout transfers to them.

    Args:
        readout: from `train` or `load_readout`.
        data: labelled texts, or where they are; of the readout's own corpus the held-out texts count only.
        lens: the readout's model, or its name; loaded by the readout's own name for it if None.
        corpus, store: the training corpus with its activations: adds the bag of words, the embedding baseline and random
            directions of the training texts' covariance.
        seed: of bootstrap and nulls.
        progress: called with the number of texts that have run and of all that can.

    Raises:
        InputError: no label is a concept of the readout, no text has more than one token, or one of corpus and store is given.
        ReadoutError: the readout is of another model, or does not say how it was fitted and a training corpus is given.
    """
    if (corpus is None) != (store is None):
        raise InputError("corpus and store go together", got="one of the two", remedy="give both, or none")
    data = evaluation_data(data, readout)
    labels = {fold_name(concept) for concept in data.concepts}
    known = [concept for concept in readout.concepts if fold_name(concept) in labels]
    if not known:
        raise no_known_label(data.concepts, readout)
    method = None if corpus is None else method_of(readout)
    readout, lens = readout.of_concepts(known), lens_of(readout, lens)
    unseen, what = _unseen(data, readout, lens, progress)
    layers = torch.tensor([readout.reading_layers[concept] for concept in readout.concepts])
    scores, train, embedding = text_scores(readout, unseen.data), None, None
    if corpus is not None and store is not None and method is not None:
        train = judged_texts(readout, corpus, store, "train")
        embeddings = (mean_embeddings(lens, each.texts, readout.provenance.capture) for each in (train, unseen))
        embedding = embedding_scores(method, train.data, *embeddings)
    found = judge_scores(readout, layers, unseen, what, train, embedding, scores, seed)
    found = replace(found, at_home=at_home(readout.verdicts, readout.concepts)[0])
    if data.sha256 == readout.provenance.corpus_sha256:
        return found
    return replace(found, transfer=_transfer(readout, layers, unseen, scores, seed))


def _transfer(
    readout: Readout,
    layers: Int[Tensor, " concept"],
    unseen: JudgedTexts,
    scores: Float[Tensor, "text layer concept"],
    seed: int,
) -> Transfer:
    """Judge the readout on texts from elsewhere, beside what its own method reaches when it is fitted on them."""
    data, own = unseen.data, judged_scores(readout, layers, scores, unseen.counts)
    try:
        there = over_layers(
            readout, Diagnoser(readout, unseen, halves=False, seed=seed).cross_fit.scores, layers, unseen.counts
        )
    except (FitError, ReadoutError):  # too few groups, neutral texts that it has not, or an unknown method
        there = torch.full_like(own, torch.nan)
    texts = ScoredTexts(own, data.positive, data.negative, data.groups)
    return transfer(texts, there, readout.verdicts, readout.concepts, torch.Generator().manual_seed(seed))


def passages(
    readout: Readout,
    data: Corpus | str | Path,
    lens: Lens | str | None = None,
    *,
    most: int = 3,
    progress: CountCallback | None = None,
) -> tuple[Passages, ...]:
    """Find the texts with the highest and the lowest z of every concept, to judge by eye.

    Args:
        readout: with a calibration of texts.
        data: texts, or where they are; labels are ignored.
        lens: the readout's model, or its name; loaded by the readout's own name for it if None.
        most: number of texts a side.
        progress: as in `evaluate`.

    Raises:
        ReadoutError: the readout has no calibration of texts, or is of another model.
        InputError: the texts cannot be read.
    """
    readout.calibration("texts")  # a mistake comes before the model
    data = evaluation_data(data, readout)
    texts = [text.text for text in data.texts]
    activations, counts = _activations(texts, readout, lens_of(readout, lens), progress)
    return extremes(readout, readout.scores(activations), counts, texts, most)


def evaluation_data(data: Corpus | str | Path, readout: Readout) -> Corpus:
    """Read texts to evaluate on; of the readout's own corpus the held-out ones only.

    Raises:
        InputError: it was trained on all of them.
        InputError, CorpusError: the texts cannot be read.
    """
    if isinstance(data, str | Path):
        among = {fold_name(concept) for concept in readout.concepts}
        data = _own(readout, Path(data)) or read_texts(data, among=among)
    if data.sha256 == readout.provenance.corpus_sha256:
        data = replace(data, texts=tuple(text for text in data.texts if text.split == "heldout"))
        if not data.texts:
            raise InputError(
                "the readout was trained on all of these texts",
                need="other texts, or a corpus with a heldout_fraction",
                remedy="see its verdicts, for which every text is scored by directions of other groups",
            )
    return data


def _own(readout: Readout, path: Path) -> Corpus | None:
    """Return the corpus that the readout was trained on, if it is in this folder."""
    try:
        return corpus_of(readout, path)
    except (CorpusError, InputError, ReadoutError):
        return None


def _unseen(data: Corpus, readout: Readout, lens: Lens, progress: CountCallback | None) -> tuple[JudgedTexts, str]:
    """Return the labelled texts that can be read, and what to call them in a table."""
    labelled = [text for text in data.texts if not text.neutral]
    if not labelled:
        raise no_known_label(data.concepts, readout)
    activations, tokens = _activations([text.text for text in labelled], readout, lens, progress)
    readable = (tokens > 0).all(dim=1)
    if not bool(readable.any()):
        raise InputError("the texts are too short to read", got="one token each", remedy="give longer texts")
    texts = [text for text, whole in zip(labelled, readable.tolist(), strict=True) if whole]
    unread = [text.text for text, whole in zip(labelled, readable.tolist(), strict=True) if not whole]
    folded = [fold_name(concept) for concept in readout.concepts]
    what = f"{len(texts)} texts in {len({text.group for text in texts})} groups"
    found = LabelledActivations(
        activations=activations[readable],
        positive=label_matrix([text.positive for text in texts], folded),
        negative=label_matrix([text.negative for text in texts], folded),
        groups=group_numbers([text.group for text in texts]),
    )
    shown = ", ".join(repr(text[:40]) for text in unread[:3])
    counts = {
        f"that cannot be read, such as {shown}": len(unread),
        "without a label": len(data.texts) - len(labelled),
        f"with {OTHER_LABELS}": data.dropped.get(OTHER_LABELS, 0),
    }
    left_out = "; ".join(f"{count} {why}" for why, count in counts.items() if count)
    judged = JudgedTexts(read_parts(texts, readout), found, counts=tokens[readable])
    return judged, what + (f", without {left_out}" if left_out else "")


def _activations(
    texts: list[str], readout: Readout, lens: Lens, progress: CountCallback | None
) -> tuple[Float[Tensor, "text layer d_model"], Int[Tensor, "text layer"]]:
    said = readout.provenance
    return pool_texts(lens, texts, readout.layers, said.read_position, said.capture, progress=progress)
