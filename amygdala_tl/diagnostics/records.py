"""Records of diagnostic results: the pure functions of this room make them, and `report/` shows them.

Axes follow the order of the `concepts` and `layers` in the same record. A number that could not be computed is NaN.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.frames import FrameLibrary, frame
from amygdala_tl.readout.record import Readout
from amygdala_tl.show import html_table

VerdictName = Literal["readable", "weak", "redundant", "undecided", "not readable"]

PairFinding = Literal["cannot be told apart", "happen together", "opposite ends", "close readouts"]
"""Reason why two readouts are not independent axes.

    cannot be told apart   on texts that carry only one of the two concepts, the readouts do not show which
    happen together        the labels co-occur, but the readouts separate texts that carry only one
    opposite ends          the scores fall together with a rising one: the two are ends of one axis
    close readouts         large cosine or score correlation, with none of this shown: too few texts carry only one
"""


TransferName = Literal["transfers", "undecided", "only where it was trained"]


@dataclass(frozen=True, slots=True)
class Interval:
    """Estimates with the ends of their 95% intervals; three tensors of one shape."""

    value: Float[Tensor, "*axes"]
    low: Float[Tensor, "*axes"]
    high: Float[Tensor, "*axes"]


@dataclass(frozen=True, slots=True)
class LayerSeparation:
    """Separation of the classes by every concept's readout at every layer.

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
    """Two concepts with readouts that are not independent axes.

    Attributes:
        first, second: concepts.
        finding: the reason.
        cosine: of the two directions.
        score_correlation: of the two scores over held-out texts.
        label_correlation: phi coefficient of the two labels.
        contrast: AUROC (value, low, high) of the difference of the two z-scores between texts with only `first` and texts with
            only `second`; NaN if there are none.
        n_first_only, n_second_only: numbers of these texts.
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
    """Response of each readout to each concept, at one layer.

    Attributes:
        layer: index of the decoder layer.
        cosine: [concept, concept] of the directions.
        auroc: [readout, label] of readout i on the positive against the negative texts of label j.
        n_positive, n_negative: [label] texts.
        label_correlation: [concept, concept] phi coefficient of the positive labels.
        score_correlation: [concept, concept] Pearson correlation of the scores over all texts.
        r_squared: [concept] share of each unit direction that a ridge combination of the others reproduces, 0 to 1.
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

    KEYS: ClassVar[tuple[str, ...]] = ("layer", "readout", "label")
    """The first columns of a table."""

    def columns(self) -> dict[str, list[object]]:
        """Return the columns of a table: `layer`, `readout`, `label`, `auroc`, `cosine`, and the two correlations."""
        rows = product([self.layer], self.concepts, self.concepts)
        columns: dict[str, list[object]] = dict(zip(self.KEYS, map(list, zip(*rows, strict=True)), strict=True))
        for name in ("auroc", "cosine", "label_correlation", "score_correlation"):
            columns[name] = getattr(self, name).flatten().tolist()
        return columns

    def frame(self, library: FrameLibrary = "pandas") -> Any:
        """Return `columns` as a `DataFrame` with a row for each readout and label, or as a `Dataset` of xarray.

        Raises:
            InputError: the library is not installed.
        """
        return frame(self.columns(), library, self.KEYS)

    def __repr__(self) -> str:
        return f"CrossTalk(layer {self.layer}, {len(self.concepts)} concepts, {len(self.warnings)} entangled pairs)"

    def _repr_html_(self) -> str:
        names = [self.concepts[place] for place in self.order]
        rows = [
            [name, *self.auroc[place, list(self.order)].tolist()] for name, place in zip(names, self.order, strict=True)
        ]
        return html_table(("AUROC of readout on label", *names), rows, caption=repr(self))


@dataclass(frozen=True, slots=True)
class Transfer:
    """Whether a readout reads texts from elsewhere, beside what is possible there (see `diagnostics.transfer`).

    Attributes:
        trained_there: [concept] AUROC of the same method on the other texts, cross-fitted; NaN if it cannot be fitted on them.
        margin: [concept] AUROC on the other texts minus the least one that counts as a transfer.
        verdict: one a concept.
    """

    trained_there: Float[Tensor, " concept"]
    margin: Interval
    verdict: tuple[TransferName, ...]


@dataclass(frozen=True, slots=True)
class DomainTable:
    """Separation by directions of one domain in another.

    Attributes:
        auroc: [domain, domain, concept] of directions of the first domain, on texts of the second one; a domain's own texts are
            read by directions of other groups. NaN where one of the two does not label the concept.
    """

    domains: tuple[str, ...]
    concepts: tuple[str, ...]
    auroc: Float[Tensor, "home there concept"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Held-out generalisation of every concept's readout, against nulls and baselines.

    Attributes:
        data: description of the texts.
        reading_layer: [concept] layer index, chosen on training folds.
        auroc, average_precision: [concept].
        p_value: [concept] of the permutation null, one-sided, corrected over concepts (`nulls.westfall_young`).
        permutation_null: [concept] 95% quantile of the AUROC with labels permuted over groups.
        random_null: [concept] 95% quantile of |AUROC - 0.5| + 0.5 of random directions.
        bag_of_words: [concept] AUROC of tf-idf + logistic regression on the same texts, trained on the training texts.
        embedding: [concept] AUROC of the same estimator on mean token embeddings.
        against_words, against_embedding: [concept] AUROC minus that of the baseline, paired on the same texts.
        n_positive, n_negative: [concept] texts.
        n_groups: number of groups that the intervals resample.
        combined: True if the score over all layers is judged, False if that of the reading layer.
        at_home: [concept] AUROC in the corpus that the readout was fitted on, if it was judged there.
        transfer: of texts from elsewhere.
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
    against_words: Interval
    against_embedding: Interval
    n_positive: Int[Tensor, " concept"]
    n_negative: Int[Tensor, " concept"]
    n_groups: int
    combined: bool = False
    at_home: Float[Tensor, " concept"] | None = None
    transfer: Transfer | None = None


@dataclass(frozen=True, slots=True)
class Outlier:
    """A text that is probably mislabelled: cross-fitted readouts contradict its label.

    Attributes:
        text: id of the text.
        words: its first words.
        labelled: `positive` or `negative`.
        z: score by directions fitted without its group, in deviations of the other class from that class's mean. Larger is more
            surprising.
    """

    text: str
    words: str
    labelled: Literal["positive", "negative"]
    z: float


@dataclass(frozen=True, slots=True)
class ConceptQuality:
    """Quality of one concept's readout at its reading layer.

    Attributes:
        verdict, reason: the verdict, and the reason in one sentence.
        redundant_with: the concept that it duplicates, if the verdict is `redundant`.
        agreement: mean cosine between the direction and each positive text's centred activation.
        first_pc_share: share of the variance of the positive texts' activations on their first principal component.
        effective_dimension: participation ratio of that variance.
        split_half_cosine: mean cosine of directions fitted on two halves of the groups.
        outliers: most surprising first.
        nearest: other concepts with the cosine of their directions, largest first.
        neuron: (layer, index, cosine) of the MLP neuron with the nearest output weights; None without a model.
        tokens_up, tokens_down: tokens with the most raised and the most lowered logits; empty without a model.
    """

    concept: str
    layer: int
    verdict: VerdictName
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
        n_norms: number of concepts with norms.
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
        labels: concepts that it is positive for.
        tokens: of the text alone, as the tokenizer splits it.
        z: [token, layer, concept] calibrated scores, NaN at attention sinks.
        combined: [token, concept] the same over all layers, None if the readout has no such score.
    """

    id: str
    labels: tuple[str, ...]
    tokens: tuple[str, ...]
    z: Float[Tensor, "token layer concept"]
    combined: Float[Tensor, "token concept"] | None = None


@dataclass(frozen=True, slots=True)
class Passages:
    """Texts that a concept's readout ranks highest and lowest, for a judgement by eye.

    Attributes:
        layer: its reading layer; None for z over all layers.
        top, bottom: (z, text), the most extreme first.
    """

    concept: str
    layer: int | None
    top: tuple[tuple[float, str], ...]
    bottom: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True, repr=False)
class Diagnosis:
    """All diagnostics of one readout, the content of a report.

    Attributes:
        concepts, layers: of the readout.
        readout: what was diagnosed.
        by_layer: separation by layer on training folds.
        crosstalk: one a layer.
        evaluation: on all texts of the corpus, each scored by directions of other groups; verdicts come from here.
        held_out: of the readout's own directions on the corpus's held-out groups, if it has any.
        quality: one a concept, in the order of `concepts`.
        geometry: one a layer.
        texts: a few held-out texts to look at; none without a model.
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
    held_out: Evaluation | None = None

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
