"""All diagnostics of a readout: choices are made on training folds, judgements on held-out groups."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.diagnostics.cross_fit import cross_fitted_scores, split_half_cosine
from amygdala_tl.diagnostics.crosstalk import cross_talk
from amygdala_tl.diagnostics.evaluation import JudgedTexts, evaluate
from amygdala_tl.diagnostics.geometry import geometry
from amygdala_tl.diagnostics.quality import nearest_concepts, outliers, spread_about_directions
from amygdala_tl.diagnostics.records import ConceptQuality, CrossTalk, Diagnosis, Evaluation, LayerSeparation
from amygdala_tl.diagnostics.scored import ScoredTexts
from amygdala_tl.diagnostics.separation import layer_separation, reading_layers
from amygdala_tl.diagnostics.verdicts import verdicts
from amygdala_tl.diagnostics.weights import best_neurons, logit_lens
from amygdala_tl.directions import LabelledActivations
from amygdala_tl.directions.method import Method, apply_method, read_method
from amygdala_tl.errors import ReadoutError
from amygdala_tl.readout.provenance import Verdict
from amygdala_tl.readout.record import Readout

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
        self, readout: Readout, train: JudgedTexts, neutral: Float[Tensor, "neutral layer d_model"], *, seed: int = 0
    ) -> None:
        """Score every training text with directions that were fitted without its group.

        Args:
            readout: with the method that fitted it in its provenance.
            train: training texts that are examples of a concept.
            neutral: activations of the neutral training texts, for denoisers.
            seed: of folds, bootstrap and nulls.

        Raises:
            ReadoutError: the readout does not say how it was fitted.
            FitError: a fold cannot be fitted.
        """
        self.readout = readout
        self.train = train
        self.neutral = neutral
        self.seed = seed
        self.method = method_of(readout)
        self.scores = cross_fitted_scores(train.data, self._fit_some, seed=seed)

    def _fit_some(self, data: LabelledActivations) -> Float[Tensor, "some layer d_model"]:
        names = [str(place) for place in range(data.positive.shape[1])]
        return apply_method(self.method, data, self.neutral, names).directions

    def by_layer(self) -> LayerSeparation:
        """Return the separation at every layer, on training folds."""
        names = self.readout.concepts, self.readout.layers
        return layer_separation(self.scores, self.train.data, *names, of="training folds", seed=self.seed)

    def quality(
        self,
        held_out: JudgedTexts,
        reading_layer: Int[Tensor, " concept"],
        crosstalk: CrossTalk,
        evaluation: Evaluation,
        weights: ModelWeights | None,
    ) -> tuple[ConceptQuality, ...]:
        """Return every concept at its reading layer, with the verdict."""
        readout, data = self.readout, self.train.data
        column = [readout.layers.index(layer) for layer in reading_layer.tolist()]
        spreads = [
            spread_about_directions(data.activations[:, place], data.positive, readout.vectors[place])
            for place in range(len(readout.layers))
        ]
        nearest = [nearest_concepts(vectors, readout.concepts) for vectors in readout.vectors]
        halves = split_half_cosine(data, self._fit_some, seed=self.seed)
        scores = torch.cat([self.scores, self._standardised(held_out.data)], dim=1)
        positive = torch.cat([data.positive, held_out.data.positive])
        negative = torch.cat([data.negative, held_out.data.negative])
        ids, words = [*self.train.ids, *held_out.ids], [*self.train.texts, *held_out.texts]
        at_layer = readout.vectors[column, torch.arange(len(column))]
        neurons, up, down = _weights(at_layer, reading_layer, weights)
        judged = verdicts(evaluation, crosstalk.warnings)
        return tuple(
            ConceptQuality(
                concept=concept,
                layer=readout.layers[place],
                **asdict(judged[index]),
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
            for index, (concept, place) in enumerate(zip(readout.concepts, column, strict=True))
        )

    def _standardised(self, held_out: LabelledActivations) -> Float[Tensor, "layer text concept"]:
        """Compute held-out scores in deviations of the training texts, as the out-of-fold scores are."""
        known, new = (self.readout.scores(data.activations) for data in (self.train.data, held_out))
        return rearrange((new - known.mean(dim=0)) / known.std(dim=0), "text layer concept -> layer text concept")


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


def layer_cross_talk(readout: Readout, layer: int, data: LabelledActivations, seed: int = 0) -> CrossTalk:
    """Return the cross-talk of a readout at one of its layers.

    Args:
        readout: directions.
        layer: one of the readout's.
        data: texts that the directions were not fitted on, at the readout's layers.
        seed: of the bootstrap.

    Raises:
        InputError: the readout does not have the layer, or the activations do not fit it.
    """
    column = readout.column(layer)
    scores = readout.scores(data.activations)[:, column]
    texts = ScoredTexts(scores, data.positive, data.negative, data.groups)
    return cross_talk(readout.concepts, layer, readout.vectors[column], texts, torch.Generator().manual_seed(seed))


def diagnose(
    diagnoser: Diagnoser,
    held_out: JudgedTexts,
    *,
    embedding: Float[Tensor, "text concept"] | None = None,
    weights: ModelWeights | None = None,
    norms: Mapping[str, Mapping[str, float]] | None = None,
) -> Diagnosis:
    """Return all diagnostics of a readout.

    Args:
        diagnoser: the readout on its training texts.
        held_out: labelled texts of groups that nothing was fitted or chosen on.
        embedding: scores of the held-out texts by directions fitted on mean token embeddings.
        weights: of the model, for neurons and logit-lens tokens.
        norms: name of a norm (`valence`) -> concept -> value.
    """
    readout, seed = diagnoser.readout, diagnoser.seed
    by_layer = diagnoser.by_layer()
    reading_layer = reading_layers(by_layer)
    what = f"held-out texts ({len(held_out.texts)} in {len(torch.unique(held_out.data.groups))} groups)"
    evaluation = evaluate(readout, reading_layer, held_out, what, diagnoser.train, embedding, seed=seed)
    crosstalk = tuple(layer_cross_talk(readout, layer, held_out.data, seed) for layer in readout.layers)
    common = readout.layers.index(int(reading_layer.mode().values))
    return Diagnosis(
        concepts=readout.concepts,
        layers=readout.layers,
        readout=readout,
        by_layer=by_layer,
        crosstalk=crosstalk,
        evaluation=evaluation,
        quality=diagnoser.quality(held_out, reading_layer, crosstalk[common], evaluation, weights),
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
        )
        for place, quality in enumerate(diagnosis.quality)
    }


def _number(value: Tensor) -> float | None:
    return round(float(value), 4) if bool(value.isfinite()) else None
