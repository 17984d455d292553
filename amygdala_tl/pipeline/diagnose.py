"""A fit to all its diagnostics: what is chosen, is chosen on training folds; what is judged, is judged on held-out groups."""

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.diagnostics.cross_fit import cross_fitted_scores, split_half_cosine
from amygdala_tl.diagnostics.crosstalk import cross_talk
from amygdala_tl.diagnostics.evaluation import Reference, UnseenTexts, evaluate, scores_of
from amygdala_tl.diagnostics.geometry import geometry
from amygdala_tl.diagnostics.quality import nearest_concepts, outliers, spread_about_directions
from amygdala_tl.diagnostics.records import ConceptQuality, CrossTalk, Diagnosis, LayerSeparation, ReadText
from amygdala_tl.diagnostics.separation import layer_separation, reading_layers
from amygdala_tl.diagnostics.verdicts import verdicts
from amygdala_tl.diagnostics.weights import best_neurons, logit_lens
from amygdala_tl.directions import LabelledActivations
from amygdala_tl.directions.method import Method, apply_method, read_method
from amygdala_tl.errors import FitError
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.weights import mlp_outputs, unembedding
from amygdala_tl.pipeline.embedding_baseline import embedding_scores
from amygdala_tl.pipeline.labelled import LabelledTexts
from amygdala_tl.pipeline.score import score_tokens
from amygdala_tl.readout.manifest import build_manifest
from amygdala_tl.records import Corpus, CorpusText, Fit, Readout

TOKENS_SHOWN = 8
TEXTS_SHOWN = 24


class Diagnoser:
    """One fit on one corpus, with what several diagnostics share: labels, activations and out-of-fold scores."""

    def __init__(self, corpus: Corpus, store: ActivationStore, fit: Fit, *, seed: int = 0) -> None:
        self.fit = fit
        self.seed = seed
        self.method: Method = read_method(str(fit.estimator["method"]))
        self.graded = fit.estimator.get("labels") == "graded"
        self.train = [text for text in corpus.texts if text.split == "train" and not text.neutral]
        self.held_out = [text for text in corpus.texts if text.split == "heldout" and not text.neutral]
        self.data = self._labelled(self.train, store, graded=self.graded)
        self.unseen = self._labelled(self.held_out, store, graded=False)
        neutral = [text.id for text in corpus.texts if text.split == "train" and text.neutral]
        self.neutral = store.load(neutral, fit.layers, fit.read_position)
        self.scores = cross_fitted_scores(self.data, self._fit_some, seed=seed)

    def _labelled(self, texts: list[CorpusText], store: ActivationStore, *, graded: bool) -> LabelledActivations:
        labelled = LabelledTexts(
            texts, self.fit.concepts, store, self.fit.layers, self.fit.read_position, graded=graded
        )
        return labelled.whole(spread=self.method.aggregator == "subspace")

    def _fit_some(self, data: LabelledActivations) -> Float[Tensor, "some layer d_model"]:
        names = [str(place) for place in range(data.positive.shape[1])]
        return apply_method(self.method, data, self.neutral, names).directions

    def by_layer(self) -> LayerSeparation:
        """Separation at every layer, on training folds."""
        return layer_separation(
            self.scores,
            self.data.positive,
            self.data.negative,
            self.data.groups,
            self.fit.concepts,
            self.fit.layers,
            "training folds",
            seed=self.seed,
        )

    def crosstalk(self, column: int) -> CrossTalk:
        """Cross-talk at one layer, on held-out texts."""
        scores = scores_of(self.unseen.activations, self.fit.directions)[column]
        return cross_talk(
            self.fit.concepts,
            self.fit.layers[column],
            self.fit.directions[:, column],
            scores,
            self.unseen.positive,
            self.unseen.negative,
            self.unseen.groups,
            torch.Generator().manual_seed(self.seed),
        )

    def quality(
        self, reading_layer: Int[Tensor, " concept"], crosstalk: CrossTalk, evaluation: Any, model: Lens | None
    ) -> tuple[ConceptQuality, ...]:
        """Every concept at its reading layer, with the verdict."""
        fit = self.fit
        column = [fit.layers.index(layer) for layer in reading_layer.tolist()]
        spreads = [
            spread_about_directions(self.data.activations[:, place], self.data.positive, fit.directions[:, place])
            for place in range(len(fit.layers))
        ]
        nearest = [nearest_concepts(fit.directions[:, place], fit.concepts) for place in range(len(fit.layers))]
        halves = split_half_cosine(self.data, self._fit_some, seed=self.seed)
        scores = torch.cat([self.scores, self._standardised_held_out()], dim=1)
        positive = torch.cat([self.data.positive, self.unseen.positive])
        negative = torch.cat([self.data.negative, self.unseen.negative])
        texts = [*self.train, *self.held_out]
        ids, words = [text.id for text in texts], [text.text for text in texts]
        at_layer = torch.stack([fit.directions[concept, place] for concept, place in enumerate(column)])
        neurons, up, down = self._weights(at_layer, reading_layer, model)
        judged = verdicts(evaluation, crosstalk.warnings)
        return tuple(
            ConceptQuality(
                concept=concept,
                layer=fit.layers[place],
                verdict=judged[index].verdict,
                reason=judged[index].reason,
                redundant_with=judged[index].redundant_with,
                agreement=float(spreads[place].agreement[index]),
                first_pc_share=float(spreads[place].first_pc_share[index]),
                effective_dimension=float(spreads[place].effective_dimension[index]),
                split_half_cosine=float(halves[index, place]),
                outliers=outliers(scores[place, :, index], positive[:, index], negative[:, index], ids, words),
                nearest=nearest[place][index],
                neuron=neurons[index],
                tokens_up=up[index],
                tokens_down=down[index],
            )
            for index, (concept, place) in enumerate(zip(fit.concepts, column, strict=True))
        )

    def _standardised_held_out(self) -> Float[Tensor, "layer text concept"]:
        """Held-out scores in deviations of the training texts, as the out-of-fold scores are."""
        known = scores_of(self.data.activations, self.fit.directions)
        new = scores_of(self.unseen.activations, self.fit.directions)
        return (new - known.mean(dim=1, keepdim=True)) / known.std(dim=1, keepdim=True)

    def _weights(
        self, directions: Float[Tensor, "concept d_model"], reading_layer: Tensor, model: Lens | None
    ) -> tuple[Any, list[tuple[str, ...]], list[tuple[str, ...]]]:
        """Nearest neurons, tokens raised, tokens lowered."""
        if model is None:
            nothing: list[tuple[str, ...]] = [() for _ in directions]
            return [None] * len(directions), nothing, nothing
        neurons = best_neurons(mlp_outputs(model), directions, reading_layer.tolist())
        head = unembedding(model)
        sides = logit_lens(directions, head.matrix, head.gain, TOKENS_SHOWN, centred=head.centred)
        up, down = (
            [tuple(model.tokenizer.decode([token]) for token in row.tolist()) for row in side] for side in sides
        )
        return neurons, up, down


def diagnose(
    corpus: Corpus,
    store: ActivationStore,
    fit: Fit,
    *,
    model: Lens | None = None,
    norms: Mapping[str, Mapping[str, float]] | None = None,
    seed: int = 0,
) -> Diagnosis:
    """All diagnostics of a fit.

    Layers are chosen on training folds, by directions that were fitted without the scored text's group; verdicts come from the
    corpus's held-out groups, which nothing was fitted or chosen on.

    Args:
        corpus: the one that was fitted.
        store: its activations, held-out texts included.
        fit: from `fit`.
        model: for the embedding baseline, neurons, logit-lens tokens and the texts to look at; these are left out without it.
        norms: name of a norm (`valence`) -> concept -> value.
        seed: of folds, bootstrap and nulls.

    Raises:
        FitError: the corpus has no held-out texts, or a fold cannot be fitted.
        ActivationStoreError: texts have not been captured.
    """
    if not any(text.split == "heldout" and not text.neutral for text in corpus.texts):
        raise FitError("the corpus has no held-out texts", remedy="make it with --heldout-fraction 0.2, and fit again")
    diagnoser = Diagnoser(corpus, store, fit, seed=seed)
    by_layer = diagnoser.by_layer()
    reading_layer = reading_layers(by_layer)
    evaluation = evaluate(
        fit.directions,
        fit.concepts,
        fit.layers,
        reading_layer,
        UnseenTexts(
            what=f"held-out texts ({len(diagnoser.held_out)} in {len(set(diagnoser.unseen.groups.tolist()))} groups)",
            texts=[text.text for text in diagnoser.held_out],
            activations=diagnoser.unseen.activations,
            positive=diagnoser.unseen.positive,
            negative=diagnoser.unseen.negative,
            groups=diagnoser.unseen.groups,
        ),
        Reference(
            texts=[text.text for text in diagnoser.train],
            activations=diagnoser.data.activations,
            positive=diagnoser.data.positive,
            negative=diagnoser.data.negative,
        ),
        None
        if model is None
        else embedding_scores(
            model,
            fit.settings,
            diagnoser.method,
            [text.text for text in diagnoser.train],
            diagnoser.data,
            [text.text for text in diagnoser.held_out],
        ),
        seed=seed,
    )
    crosstalk = tuple(diagnoser.crosstalk(column) for column in range(len(fit.layers)))
    common = fit.layers.index(int(reading_layer.mode().values))
    return Diagnosis(
        concepts=fit.concepts,
        layers=fit.layers,
        manifest=build_manifest(fit, tensors_sha256=""),
        by_layer=by_layer,
        crosstalk=crosstalk,
        evaluation=evaluation,
        quality=diagnoser.quality(reading_layer, crosstalk[common], evaluation, model),
        geometry=tuple(
            geometry(fit.concepts, layer, fit.directions[:, column], norms) for column, layer in enumerate(fit.layers)
        ),
        texts=() if model is None else _texts_to_show(diagnoser.held_out, fit, model),
    )


def verdict_entries(diagnosis: Diagnosis) -> dict[str, dict[str, Any]]:
    """concept -> verdict with the numbers behind it, JSON-ready, for `Fit.verdicts` and the manifest."""
    found = diagnosis.evaluation
    number = partial(_number, digits=4)
    return {
        quality.concept: {
            "verdict": quality.verdict,
            "reason": quality.reason,
            "redundant_with": quality.redundant_with,
            "layer": quality.layer,
            "auroc": number(found.auroc.value[place]),
            "interval": [number(found.auroc.low[place]), number(found.auroc.high[place])],
            "p_value": number(found.p_value[place]),
            "random_directions": number(found.random_null[place]),
            "bag_of_words": number(found.bag_of_words[place]),
            "n_positive": int(found.n_positive[place]),
            "n_negative": int(found.n_negative[place]),
        }
        for place, quality in enumerate(diagnosis.quality)
    }


def _number(value: Tensor, digits: int) -> float | None:
    return round(float(value), digits) if bool(value.isfinite()) else None


def _texts_to_show(held_out: list[CorpusText], fit: Fit, model: Lens) -> tuple[ReadText, ...]:
    """A few held-out texts with their token scores: first one for each concept, then any, in an order that means nothing."""
    order = sorted(held_out, key=lambda text: hashlib.sha256(text.id.encode()).hexdigest())
    chosen: dict[str, CorpusText] = {}
    for concept in fit.concepts:
        found = next((text for text in order if concept in text.positive and text.id not in chosen), None)
        if found is not None and len(chosen) < TEXTS_SHOWN:
            chosen[found.id] = found
    for text in order:
        if len(chosen) < TEXTS_SHOWN:
            chosen.setdefault(text.id, text)
    readout = Readout(
        concepts=fit.concepts,
        layers=fit.layers,
        vectors=fit.directions.transpose(0, 1),
        text_calibration=fit.text_calibration,
        token_calibration=fit.token_calibration,
        manifest=build_manifest(fit, tensors_sha256=""),
    )
    texts = list(chosen.values())
    return tuple(
        ReadText(
            id=text.id,
            labels=text.positive,
            tokens=read.pieces,
            z=read.scores.masked_fill(~read.readable[:, :, None], torch.nan),
        )
        for text, read in zip(texts, score_tokens([text.text for text in texts], readout, model), strict=True)
    )
