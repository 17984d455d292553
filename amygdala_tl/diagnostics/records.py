"""What the diagnostics find, as frozen records: made by the pure functions of this room, shown by `report/`.

Orders of axes are those of the `concepts` and `layers` beside a tensor. A number that could not be computed is NaN.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.readout.record import Readout
from amygdala_tl.show import html_table

Verdict = Literal["readable", "weak", "redundant", "not readable"]

PairFinding = Literal["cannot be told apart", "happen together", "close readouts"]
"""Why two readouts must not be read as independent axes.

    cannot be told apart   on texts that carry one of the two concepts only, the readouts do not say which
    happen together        the labels co-occur, but texts that carry one only are told apart
    close readouts       large cosine or score correlation, and neither of the two is shown: too few texts carry one only, or
                           the two are ends of one axis
"""


@dataclass(frozen=True, slots=True)
class Interval:
    """Estimates with the ends of their 95% intervals; three tensors of one shape."""

    value: Float[Tensor, "*axes"]
    low: Float[Tensor, "*axes"]
    high: Float[Tensor, "*axes"]


@dataclass(frozen=True, slots=True)
class LayerSeparation:
    """How well every concept's readout separates its classes at every layer.

    Attributes:
        auroc, d_prime, fisher_ratio: [layer, concept].
        n_positive, n_negative: [concept] texts.
        of: `training folds` (each text scored with directions fitted without its group) or `held-out texts`.
    """

    concepts: tuple[str, ...]
    layers: tuple[int, ...]
    auroc: Interval
    d_prime: Interval
    fisher_ratio: Interval
    n_positive: Int[Tensor, " concept"]
    n_negative: Int[Tensor, " concept"]
    of: Literal["training folds", "held-out texts"]


@dataclass(frozen=True, slots=True)
class PairWarning:
    """Two concepts whose readouts must not be read as independent axes.

    Attributes:
        first, second: concepts.
        finding: why.
        cosine: of the two directions.
        score_correlation: of the two scores over held-out texts.
        label_correlation: phi coefficient of the two labels.
        contrast: AUROC (value, low, high) of the difference of the two z-scores between texts with `first` only and texts
            with `second` only; NaN where there are none.
        n_first_only, n_second_only: texts that `contrast` is over.
    """

    first: str
    second: str
    finding: PairFinding
    cosine: float
    score_correlation: float
    label_correlation: float
    contrast: tuple[float, float, float]
    n_first_only: int
    n_second_only: int


@dataclass(frozen=True, slots=True, repr=False)
class CrossTalk:
    """How much each readout answers to each concept, at one layer.

    Attributes:
        layer: index of the decoder layer.
        cosine: [concept, concept] of the directions.
        auroc: [readout, label] of readout i on the positive against the negative texts of label j.
        n_positive, n_negative: [label] texts.
        label_correlation: [concept, concept] phi coefficient of the positive labels.
        score_correlation: [concept, concept] Pearson correlation of the scores over all texts.
        r_squared: [concept] share of each unit direction that a ridge combination of the others gives, 0 to 1.
        cluster: [concept] number of its cluster, from 0.
        order: concept indices, clusters together, near ones side by side.
        warnings: pairs, the most entangled first.
    """

    concepts: tuple[str, ...]
    layer: int
    cosine: Float[Tensor, "concept concept"]
    auroc: Float[Tensor, "concept concept"]
    n_positive: Int[Tensor, " concept"]
    n_negative: Int[Tensor, " concept"]
    label_correlation: Float[Tensor, "concept concept"]
    score_correlation: Float[Tensor, "concept concept"]
    r_squared: Float[Tensor, " concept"]
    cluster: Int[Tensor, " concept"]
    order: tuple[int, ...]
    warnings: tuple[PairWarning, ...]

    def __repr__(self) -> str:
        return f"CrossTalk(layer {self.layer}, {len(self.concepts)} concepts, {len(self.warnings)} entangled pairs)"

    def _repr_html_(self) -> str:
        names = [self.concepts[place] for place in self.order]
        rows = [
            [name, *self.auroc[place, list(self.order)].tolist()] for name, place in zip(names, self.order, strict=True)
        ]
        return html_table(("AUROC of readout on label", *names), rows, caption=repr(self))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Held-out generalisation of every concept's readout at its reading layer, against nulls and baselines.

    Attributes:
        data: what it was evaluated on, in words.
        reading_layer: [concept] layer index, chosen on training folds.
        auroc, average_precision: [concept].
        p_value: [concept] of the permutation null, one-sided, Holm-corrected over concepts.
        permutation_null: [concept] 95% quantile of the AUROC with labels permuted over groups.
        random_null: [concept] 95% quantile of |AUROC - 0.5| + 0.5 of random directions.
        bag_of_words: [concept] AUROC of tf-idf + logistic regression on the same texts, trained on the training texts.
        embedding: [concept] AUROC of the same estimator on mean token embeddings.
        n_positive, n_negative: [concept] texts.
        n_groups: groups of texts that the intervals resample.
    """

    concepts: tuple[str, ...]
    data: str
    reading_layer: Int[Tensor, " concept"]
    auroc: Interval
    average_precision: Interval
    p_value: Float[Tensor, " concept"]
    permutation_null: Float[Tensor, " concept"]
    random_null: Float[Tensor, " concept"]
    bag_of_words: Float[Tensor, " concept"]
    embedding: Float[Tensor, " concept"]
    n_positive: Int[Tensor, " concept"]
    n_negative: Int[Tensor, " concept"]
    n_groups: int


@dataclass(frozen=True, slots=True)
class Outlier:
    """A text whose label the readouts of the other texts contradict: likely mislabelled.

    Attributes:
        text: id of the text.
        words: its first words.
        labelled: `positive` or `negative`.
        z: its score, of directions fitted without its group, in deviations of the other class from that class's mean, signed
            so that larger is more surprising.
    """

    text: str
    words: str
    labelled: Literal["positive", "negative"]
    z: float


@dataclass(frozen=True, slots=True)
class ConceptQuality:
    """All that is known of one concept's readout at its reading layer.

    Attributes:
        verdict, reason: what may be believed, and why, in one sentence.
        redundant_with: the concept that it cannot be told from, if the verdict is `redundant`.
        agreement: mean cosine between the direction and each positive text's centred activation.
        first_pc_share: share of the variance of the positive texts' activations on their first principal component.
        effective_dimension: participation ratio of that variance.
        split_half_cosine: mean cosine of directions fitted on two halves of the groups.
        outliers: most surprising first.
        nearest: other concepts with the cosine of their directions, largest first.
        neuron: (layer, index, cosine) of the MLP neuron whose output weights are nearest; None if no model was given.
        tokens_up, tokens_down: tokens whose logits the direction raises and lowers most; empty if no model was given.
    """

    concept: str
    layer: int
    verdict: Verdict
    reason: str
    redundant_with: str | None
    agreement: float
    first_pc_share: float
    effective_dimension: float
    split_half_cosine: float
    outliers: tuple[Outlier, ...] = ()
    nearest: tuple[tuple[str, float], ...] = ()
    neuron: tuple[int, int, float] | None = None
    tokens_up: tuple[str, ...] = ()
    tokens_down: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Geometry:
    """Principal components of the directions at one layer.

    Attributes:
        coordinates: [concept, axis] of the first axes.
        explained: [axis] share of the directions' variance.
        norms: name of a norm (`valence`, `arousal`) -> [axis] Pearson correlation with the axis, over the concepts that
            have the norm; empty if none were given.
        n_norms: how many concepts have norms.
    """

    concepts: tuple[str, ...]
    layer: int
    coordinates: Float[Tensor, "concept axis"]
    explained: Float[Tensor, " axis"]
    norms: Mapping[str, Float[Tensor, " axis"]] = field(default_factory=dict)
    n_norms: int = 0


@dataclass(frozen=True, slots=True)
class ReadText:
    """One text for the browser: its tokens and their calibrated scores.

    Attributes:
        id: of the text.
        labels: concepts it is positive for.
        tokens: as the tokenizer cuts them, the text's own only.
        z: [token, layer, concept] calibrated scores, NaN at attention sinks.
    """

    id: str
    labels: tuple[str, ...]
    tokens: tuple[str, ...]
    z: Float[Tensor, "token layer concept"]


@dataclass(frozen=True, slots=True)
class Passages:
    """The texts that a concept's readout ranks highest and lowest, to be judged by eye.

    Attributes:
        layer: that it is read at.
        top, bottom: (z, text), the most extreme first.
    """

    concept: str
    layer: int
    top: tuple[tuple[float, str], ...]
    bottom: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True, repr=False)
class Diagnosis:
    """All diagnostics of one readout: what a report shows.

    Attributes:
        concepts, layers: of the readout.
        readout: what was diagnosed.
        by_layer: separation by layer on training folds.
        crosstalk: one a layer.
        evaluation: on the held-out groups.
        quality: one a concept, in the order of `concepts`.
        geometry: one a layer.
        texts: a few held-out texts to look at, none where there was no model.
    """

    concepts: tuple[str, ...]
    layers: tuple[int, ...]
    readout: Readout
    by_layer: LayerSeparation
    crosstalk: tuple[CrossTalk, ...]
    evaluation: Evaluation
    quality: tuple[ConceptQuality, ...]
    geometry: tuple[Geometry, ...]
    texts: tuple[ReadText, ...] = ()

    def __repr__(self) -> str:
        count = Counter(each.verdict for each in self.quality)
        found = ", ".join(f"{n} {verdict}" for verdict, n in count.items())
        return f"Diagnosis({len(self.concepts)} concepts on {self.evaluation.data}: {found})"

    def _repr_html_(self) -> str:
        auroc = self.evaluation.auroc
        rows = [
            (each.concept, each.verdict, float(value), float(low), float(high), each.layer, each.reason)
            for each, value, low, high in zip(self.quality, auroc.value, auroc.low, auroc.high, strict=True)
        ]
        return html_table(("concept", "verdict", "AUROC", "from", "to", "layer", "reason"), rows, caption=repr(self))
