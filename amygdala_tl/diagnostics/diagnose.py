"""All diagnostics of a readout, from texts that are scored by directions of other groups."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.diagnostics.cross_fit import (
    N_FOLDS,
    CrossFit,
    cross_fit_streamed,
    cross_fitted_scores,
    split_half_cosine,
)
from amygdala_tl.diagnostics.crosstalk import cross_talk
from amygdala_tl.diagnostics.evaluation import JudgedTexts, evaluate, judged, text_scores
from amygdala_tl.diagnostics.geometry import geometry
from amygdala_tl.diagnostics.nested import JoinedTexts, cross_fitted_words, methods_of_folds, over_layers
from amygdala_tl.diagnostics.nulls import random_direction_nulls
from amygdala_tl.diagnostics.quality import nearest_concepts, outliers, spread_about_directions
from amygdala_tl.diagnostics.records import ConceptQuality, CrossTalk, Diagnosis, Evaluation, LayerSeparation
from amygdala_tl.diagnostics.scored import ScoredTexts
from amygdala_tl.diagnostics.separation import layer_separation, reading_layers
from amygdala_tl.diagnostics.steps import Steps
from amygdala_tl.diagnostics.verdicts import readable_at_all, verdicts
from amygdala_tl.diagnostics.weights import best_neurons, logit_lens
from amygdala_tl.directions.data import LabelledActivations, LabelledTexts
from amygdala_tl.directions.folds import fold_assignment, fold_cells, folds_of
from amygdala_tl.directions.method import Method, apply_method, read_method
from amygdala_tl.directions.running import RunningMoments
from amygdala_tl.errors import ReadoutError
from amygdala_tl.readout.provenance import Verdict
from amygdala_tl.readout.record import Readout
from amygdala_tl.records import CountCallback

TOKENS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class ModelWeights:
    """Weights of the model that directions are compared with.

    Attributes:
        mlp: (layer, rows that each MLP neuron adds to the stream), one layer at a time.
        unembedding: [d_model, vocab].
        gain: of the final norm.
        centred: True where the final norm removes the mean over d_model.
        token: token id -> its text.
    """

    mlp: Iterable[tuple[int, Float[Tensor, "neuron d_model"]]]
    unembedding: Float[Tensor, "d_model vocab"]
    gain: Float[Tensor, " d_model"]
    centred: bool
    token: Callable[[int], str]


class Diagnoser:
    """One readout on its corpus, with what several diagnostics share: labels, activations and out-of-fold scores."""

    def __init__(
        self,
        readout: Readout,
        train: JudgedTexts,
        neutral: Float[Tensor, "neutral layer d_model"] | None = None,
        *,
        halves: bool = True,
        seed: int = 0,
        progress: CountCallback | None = None,
    ) -> None:
        """Score every training text with directions that the readout's method fits without its group.

        Args:
            readout: with the method that fitted it in its provenance.
            train: training texts that are examples of a concept.
            neutral: activations of the neutral training texts, for denoisers; a streamable method that was not chosen among
                others needs none.
            halves: also compare directions of halves of the groups.
            seed: of folds, bootstrap and nulls.
            progress: called with the steps done and those known so far: layers that are cross-fitted, folds that choose a method,
                and layers of cross-talk.

        Raises:
            ReadoutError: the readout does not say how it was fitted.
            FitError: a fold cannot be fitted.
        """
        self.readout = readout
        self.train = train
        self.seed = seed
        self.method = method_of(readout)
        self.neutral = torch.empty(0, train.data.n_layers, train.data.d_model) if neutral is None else neutral
        self.steps = Steps(progress)
        self.steps.expect(len(readout.layers))
        self.cross_fit = self._cross_fit(self.method, halves=halves)

    def _cross_fit(self, method: Method, *, halves: bool, folds: Collection[int] | None = None) -> CrossFit:
        """Cross-fit a method on these folds, or on all; halves are compared with the strengths of the readout."""
        if method.streamable:
            shrinkage = _by_layer(self.readout, "shrinkage")
            step, texts, seed = self.steps.step, self.train.data, self.seed
            return cross_fit_streamed(method, texts, shrinkage, halves=halves, seed=seed, folds=folds, on_layer=step)
        scores, cosines, strengths = [], [], _by_layer(self.readout, "strength")
        for layer in range(len(self.readout.layers)):  # all texts of one layer in memory at a time
            data = self.train.data.whole(layer)
            fit = partial(_fit_some, method, self.neutral[:, layer : layer + 1])
            scores.append(cross_fitted_scores(data, fit, seed=self.seed, folds=folds))
            if halves:
                per_text = None if strengths is None else strengths[layer] * len(data.groups)
                cosines.append(split_half_cosine(data, partial(fit, per_text=per_text), seed=self.seed))
            self.steps.step()
        return CrossFit(torch.cat(scores), torch.cat(cosines, dim=1) if halves else None)

    def nested_scores(self) -> Float[Tensor, "layer text concept"]:
        """Score every training text as `cross_fit` does, but with the method that the other folds choose, if one was chosen.

        Raises:
            FitError: a fold cannot be fitted.
        """
        compared = self.readout.provenance.estimator.get("chosen_from")
        if not compared:
            return self.cross_fit.scores
        groups = self.train.data.groups
        cells = fold_cells(groups, N_FOLDS, self.seed)
        sample = self.train.data.sample()
        of_sample = folds_of(sample.groups, *fold_assignment(groups, cells.n_cells, self.seed)) % cells.n_folds
        candidates = [read_method(row["method"]) for row in compared]
        self.steps.expect(int(of_sample.max()) + 1)
        methods = methods_of_folds(sample, self.neutral, candidates, of_sample, self.steps.step)
        scores = self.cross_fit.scores.clone()
        others = sorted({each for each in methods if each not in (None, self.method)}, key=str)
        self.steps.expect(len(others) * len(self.readout.layers))
        for method in others:
            folds = [number for number, each in enumerate(methods) if each == method]
            own = torch.isin(cells.fold, torch.tensor(folds))
            scores[:, own] = self._cross_fit(method, halves=False, folds=folds).scores[:, own]
        return scores

    def by_layer(self) -> LayerSeparation:
        """Return the separation at every layer, on training folds."""
        names = self.readout.concepts, self.readout.layers
        return layer_separation(self.cross_fit.scores, self.train.data, *names, of="training folds", seed=self.seed)

    def quality(
        self,
        held_out: JudgedTexts | None,
        held_out_scores: Float[Tensor, "text layer concept"] | None,
        reading_layer: Int[Tensor, " concept"],
        crosstalk: CrossTalk,
        evaluation: Evaluation,
        weights: ModelWeights | None,
    ) -> tuple[ConceptQuality, ...]:
        """Return every concept at its reading layer, with the verdict; scores of held-out texts are in `standardised` form."""
        readout, data, halves = self.readout, self.train.data, self.cross_fit.halves
        column = [readout.layers.index(layer) for layer in reading_layer.tolist()]
        at_layer = readout.vectors[column, torch.arange(len(column))]
        spread = spread_about_directions(data, column, at_layer)
        nearest = [nearest_concepts(vectors, readout.concepts) for vectors in readout.vectors]
        scores, positive, negative = self.cross_fit.scores, data.positive, data.negative
        ids, words = list(self.train.ids), list(self.train.texts)
        if held_out is not None and held_out_scores is not None:
            scores = torch.cat([scores, rearrange(held_out_scores, "text layer concept -> layer text concept")], dim=1)
            positive = torch.cat([positive, held_out.data.positive])
            negative = torch.cat([negative, held_out.data.negative])
            ids, words = [*ids, *held_out.ids], [*words, *held_out.texts]
        neurons, up, down = _weights(at_layer, reading_layer, weights)
        judged = verdicts(evaluation, crosstalk.warnings)
        return tuple(
            ConceptQuality(
                concept=concept,
                layer=readout.layers[place],
                **asdict(judged[index]),
                agreement=float(spread.agreement[index]),
                first_pc_share=float(spread.first_pc_share[index]),
                effective_dimension=float(spread.effective_dimension[index]),
                split_half_cosine=torch.nan if halves is None else float(halves[index, place]),
                outliers=outliers(
                    scores[place, :, index],
                    positive[:, index],
                    negative[:, index],
                    ids,
                    words,
                ),
                nearest=nearest[place][index],
                neuron=neurons[index],
                tokens_up=up[index],
                tokens_down=down[index],
            )
            for index, (concept, place) in enumerate(zip(readout.concepts, column, strict=True))
        )

    def standardised(self, held_out: Float[Tensor, "text layer concept"]) -> Float[Tensor, "text layer concept"]:
        """Compute held-out scores in deviations of the training texts, as the out-of-fold scores are."""
        known = RunningMoments()
        for _, part in self.train.data.passes():
            known.add(self.readout.scores(part.activations))
        return ((held_out - known.mean) / known.deviation).float()


def _fit_some(
    method: Method,
    neutral: Float[Tensor, "neutral layer d_model"],
    data: LabelledActivations,
    per_text: float | None = None,
) -> Float[Tensor, "some layer d_model"]:
    """Fit directions; `per_text` is the strength of a ridge penalty times the number of texts, None to choose it."""
    options: dict[str, Any] = {} if per_text is None else {"strength": per_text / len(data.groups)}
    return apply_method(method, data, neutral, **options).directions


def _by_layer(readout: Readout, parameter: str) -> list[float] | None:
    """Return the shrinkage or strength that a readout was fitted with at each layer, if it is one for all concepts."""
    said = None if "paired_strength" in (made := readout.provenance.estimator) else made.get(parameter)
    known = (
        isinstance(said, list) and len(said) == len(readout.layers) and all(isinstance(each, float) for each in said)
    )
    return said if known else None


def method_of(readout: Readout) -> Method:
    """Return estimator and denoisers that a readout was fitted with; raises ReadoutError if it does not say."""
    if readout.provenance.method is None:
        raise ReadoutError("the readout does not say how it was fitted", remedy="train it again with this version")
    return read_method(readout.provenance.method)


def _weights(
    directions: Float[Tensor, "concept d_model"], reading_layer: Tensor, weights: ModelWeights | None
) -> tuple[Any, list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Find the nearest neurons, the tokens raised, the tokens lowered."""
    if weights is None:
        nothing: list[tuple[str, ...]] = [() for _ in directions]
        return [None] * len(directions), nothing, nothing
    neurons = best_neurons(weights.mlp, directions, reading_layer.tolist())
    sides = logit_lens(directions, weights.unembedding, weights.gain, TOKENS_SHOWN, centred=weights.centred)
    up, down = ([tuple(map(weights.token, row.tolist())) for row in side] for side in sides)
    return neurons, up, down


def layer_cross_talk(
    readout: Readout,
    layer: int,
    data: LabelledTexts,
    seed: int = 0,
    scores: Float[Tensor, "text layer concept"] | None = None,
    read: Collection[str] | None = None,
    *,
    cross_fitted: bool = False,
) -> CrossTalk:
    """Return the cross-talk of a readout at one of its layers.

    Args:
        readout: directions.
        layer: one of the readout's.
        data: texts that the directions were not fitted on, at the readout's layers.
        seed: of the bootstrap.
        scores: of the texts, if they are known (`text_scores`).
        read: concepts to warn about; all if None.
        cross_fitted: whether the texts themselves made the directions of the scores.

    Raises:
        InputError: the readout does not have the layer, or the activations do not fit it.
    """
    column = readout.column(layer)
    scores = text_scores(readout, data) if scores is None else scores
    texts = ScoredTexts(scores[:, column], data.positive, data.negative, data.groups, cross_fitted)
    generator = torch.Generator().manual_seed(seed)
    return cross_talk(readout.concepts, layer, readout.vectors[column], texts, generator, read)


def diagnose(
    diagnoser: Diagnoser,
    held_out: JudgedTexts | None,
    *,
    embedding: Float[Tensor, "text concept"] | None = None,
    weights: ModelWeights | None = None,
    norms: Mapping[str, Mapping[str, float]] | None = None,
) -> Diagnosis:
    """Return all diagnostics of a readout.

    Verdicts come from all texts of the corpus, each scored by directions that were fitted, with all choices, without its group.

    Args:
        diagnoser: the readout on its training texts.
        held_out: labelled texts of groups that nothing was fitted or chosen on, if there are any.
        embedding: scores of the training texts and then the held-out ones by directions fitted on mean token embeddings of other
            groups.
        weights: of the model, for neurons and logit-lens tokens.
        norms: name of a norm (`valence`) -> concept -> value.
    """
    readout, train, seed = diagnoser.readout, diagnoser.train, diagnoser.seed
    diagnoser.steps.expect(len(readout.layers))
    by_layer = diagnoser.by_layer()
    reading_layer = reading_layers(by_layer)
    data, counts = train.data, train.counts
    scores = diagnoser.nested_scores()
    words = cross_fitted_words(train, () if held_out is None else held_out.texts, seed)
    own = new = None
    if held_out is not None:
        data = JoinedTexts(train.data, held_out.data)
        own = text_scores(readout, held_out.data)
        new = diagnoser.standardised(own)
        scores = torch.cat([scores, rearrange(new, "text layer concept -> layer text concept")], dim=1)
        counts = None if counts is None or held_out.counts is None else torch.cat([counts, held_out.counts])
    nothing = torch.full(words.shape, torch.nan)
    baselines = words, nothing if embedding is None else embedding
    judged_by = over_layers(readout, scores, reading_layer, counts)
    what = (
        f"all texts, each by directions of other groups ({len(data.groups)} in {len(torch.unique(data.groups))} groups)"
    )
    sets = [data] if held_out is None else [data, held_out.data]
    generator = torch.Generator().manual_seed(seed)
    random = random_direction_nulls(sets, train.data, generator, combined=readout.combined is not None)
    evaluation = judged(readout, reading_layer, judged_by, data, what, random[0], baselines, seed, cross_fitted=True)
    fixed = None
    if held_out is not None:
        what = f"held-out texts ({len(held_out.texts)} in {len(torch.unique(held_out.data.groups))} groups)"
        unseen = None if embedding is None else embedding[-len(held_out.texts) :]
        by_words = words[-len(held_out.texts) :]
        fixed = evaluate(
            readout, reading_layer, held_out, what, train, unseen, own, seed, words=by_words, random=random[1]
        )
    read = readable_at_all(evaluation)
    by_text = rearrange(scores, "layer text concept -> text layer concept")
    crosstalk = []
    for layer in readout.layers:
        crosstalk.append(layer_cross_talk(readout, layer, data, seed, by_text, read, cross_fitted=True))
        diagnoser.steps.step()
    common = readout.layers.index(int(reading_layer.mode().values))
    return Diagnosis(
        concepts=readout.concepts,
        layers=readout.layers,
        readout=readout,
        by_layer=by_layer,
        crosstalk=tuple(crosstalk),
        evaluation=evaluation,
        held_out=fixed,
        quality=diagnoser.quality(held_out, new, reading_layer, crosstalk[common], evaluation, weights),
        geometry=tuple(
            geometry(readout.concepts, layer, vectors, norms)
            for layer, vectors in zip(readout.layers, readout.vectors, strict=True)
        ),
    )


def verdicts_of(diagnosis: Diagnosis) -> dict[str, Verdict]:
    """Return concept -> verdict with the numbers behind it, for the provenance of a readout."""
    found = diagnosis.evaluation
    return {
        quality.concept: Verdict(
            verdict=quality.verdict,
            reason=quality.reason,
            redundant_with=quality.redundant_with,
            layer=quality.layer,
            auroc=_number(found.auroc.value[place]),
            interval=(_number(found.auroc.low[place]), _number(found.auroc.high[place])),
            p_value=_number(found.p_value[place]),
            random_directions=_number(found.random_null[place]),
            bag_of_words=_number(found.bag_of_words[place]),
            n_positive=int(found.n_positive[place]),
            n_negative=int(found.n_negative[place]),
            held_out=None if diagnosis.held_out is None else _number(diagnosis.held_out.auroc.value[place]),
        )
        for place, quality in enumerate(diagnosis.quality)
    }


def _number(value: Tensor) -> float | None:
    return round(float(value), 4) if bool(value.isfinite()) else None
