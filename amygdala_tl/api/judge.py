"""`judge`: everything that texts of other groups say about a readout, with a verdict on every concept."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from amygdala_tl.activations.embedding import mean_embeddings
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.api.labelled import examples, judged_texts, neutral_activations, runnable
from amygdala_tl.api.score import TokenScores, score_tokens
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.diagnostics.diagnose import Diagnoser, ModelWeights, diagnose, verdicts_of
from amygdala_tl.diagnostics.embedding import cross_fitted_embedding_scores, embedding_scores
from amygdala_tl.diagnostics.records import Diagnosis, ReadText
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.weights import mlp_outputs, unembedding
from amygdala_tl.readout.record import Readout
from amygdala_tl.records import CorpusText, CountCallback
from amygdala_tl.settings import FIT

TEXTS_SHOWN = 24


def judge(
    readout: Readout,
    corpus: Corpus,
    store: ActivationStore,
    lens: Lens | None = None,
    *,
    norms: Mapping[str, Mapping[str, float]] | None = None,
    seed: int = FIT.seed,
    progress: CountCallback | None = None,
) -> Diagnosis:
    """Diagnose a readout: each text of the corpus is judged by directions that were fitted, with all choices, without its group.

    Args:
        readout: from `fit` or `load_readout`.
        corpus: the one that it was fitted on.
        store: its activations, held-out texts included, which are judged by the readout's own directions.
        lens: the model, for the embedding baseline, neurons, logit-lens tokens and texts to look at; without it these are
            missing.
        norms: name of a norm (`valence`) -> concept -> value.
        seed: of folds, bootstrap and nulls.
        progress: called with the number of steps done and of those known so far, as in `Diagnoser`.

    Raises:
        FitError: all texts are of one group, or a fold cannot be fitted.
        ReadoutError: the readout does not say how it was fitted.
        ActivationStoreError: texts have not been captured.
    """
    corpus = runnable(corpus, store)
    train = judged_texts(readout, corpus, store, "train")
    held_out = judged_texts(readout, corpus, store, "heldout") if examples(corpus, "heldout") else None
    diagnoser = Diagnoser(readout, train, neutral_activations(readout, corpus, store), seed=seed, progress=progress)
    if lens is None:
        return diagnose(diagnoser, held_out, norms=norms)
    said = readout.provenance.capture
    known = mean_embeddings(lens, train.texts, said)
    embedding = cross_fitted_embedding_scores(diagnoser.method, train.data, known, seed)
    if held_out is not None:
        unseen = mean_embeddings(lens, held_out.texts, said)
        embedding = torch.cat([embedding, embedding_scores(diagnoser.method, train.data, known, unseen)])
    head = unembedding(lens)
    weights = ModelWeights(mlp_outputs(lens), head.matrix, head.gain, head.centred, lens.tokenizer.decode)
    found = diagnose(diagnoser, held_out, embedding=embedding, weights=weights, norms=norms)
    shown = examples(corpus, "heldout") or examples(corpus, "train")
    return replace(found, texts=_read(shown, readout, lens))


def with_verdicts(readout: Readout, diagnosis: Diagnosis) -> Readout:
    """Return the readout with the verdicts of a diagnosis in its provenance."""
    return replace(readout, provenance=replace(readout.provenance, verdicts=verdicts_of(diagnosis)))


def _read(held_out: Sequence[CorpusText], readout: Readout, lens: Lens) -> tuple[ReadText, ...]:
    """Score the tokens of a few held-out texts: one for each concept first, then any, in an order that means nothing."""
    order = sorted(held_out, key=lambda text: hashlib.sha256(text.id.encode()).hexdigest())
    chosen: dict[str, CorpusText] = {}
    for concept in readout.concepts:
        found = next((text for text in order if concept in text.positive and text.id not in chosen), None)
        if found is not None and len(chosen) < TEXTS_SHOWN:
            chosen[found.id] = found
    for text in order:
        if len(chosen) < TEXTS_SHOWN:
            chosen.setdefault(text.id, text)
    scored = score_tokens([text.text for text in chosen.values()], readout, lens)
    return tuple(_shown(text, read) for text, read in zip(chosen.values(), scored, strict=True))


def _shown(text: CorpusText, read: TokenScores) -> ReadText:
    z = read.scores.masked_fill(~read.readable[:, :, None], torch.nan)
    combined = read.combined
    if combined is not None:
        combined = combined.masked_fill(~read.readable.all(dim=1, keepdim=True), torch.nan)
    return ReadText(text.id, text.positive, read.pieces, z, combined)
