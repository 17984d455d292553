"""Where the vectors of a readout come from, as typed records: what `amygdala_tl` says in a manifest.

Every field has a default, because a bundle may have the four contracted keys only.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from amygdala_tl.frames import FrameLibrary, frame
from amygdala_tl.records import CaptureSettings, ModelInfo, ReadPosition
from amygdala_tl.show import html_table

DEPTH = 0.65
"""Depth of the middle layer, as a fraction of the model's."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be believed of one concept's readout, with the numbers behind it.

    Attributes:
        verdict: `readable`, `weak`, `redundant`, `undecided` or `not readable`.
        reason: why, in one sentence.
        redundant_with: concept that it cannot be told from, if the verdict is `redundant`.
        layer: layer that the concept is best read at, chosen on training folds.
        auroc: on all texts of the corpus, each scored by directions of other groups.
        interval: 95% interval of the AUROC.
        p_value: of the permutation null, corrected over concepts.
        random_directions: 95% quantile of the AUROC of random directions.
        bag_of_words: AUROC of a bag of words on the same texts.
        n_positive, n_negative: texts that it was judged on.
        held_out: AUROC of the readout's own directions on the corpus's held-out groups, if it has any.
    """

    verdict: str
    reason: str = ""
    redundant_with: str | None = None
    layer: int | None = None
    auroc: float | None = None
    interval: tuple[float | None, float | None] = (None, None)
    p_value: float | None = None
    random_directions: float | None = None
    bag_of_words: float | None = None
    n_positive: int = 0
    n_negative: int = 0
    held_out: float | None = None

    @property
    def readable(self) -> bool:
        """True if the readout separates its concept on held-out texts: `readable`, or `redundant` beside a better one."""
        return self.verdict in ("readable", "redundant")

    @property
    def unread(self) -> bool:
        """True if nothing shows that the readout reads its concept: `not readable`, or `undecided` for want of texts."""
        return self.verdict in ("not readable", "undecided")


class Verdicts(dict[str, Verdict]):
    """concept -> `Verdict`, shown as a table in a notebook."""

    @property
    def unread(self) -> dict[str, str]:
        """Concept -> verdict, of the concepts that nothing shows to be read."""
        return {name: of.verdict for name, of in self.items() if of.unread}

    def columns(self) -> dict[str, list[object]]:
        """Return the columns of a table: `concept`, then the attributes of `Verdict`, the interval as `low` and `high`."""
        columns: dict[str, list[object]] = {"concept": list(self)}
        for name in (each.name for each in fields(Verdict)):
            column = [getattr(of, name) for of in self.values()]
            ends = (
                {"low": [low for low, _ in column], "high": [high for _, high in column]} if name == "interval" else {}
            )
            columns |= ends or {name: column}
        return columns

    def frame(self, library: FrameLibrary = "pandas") -> Any:
        """Return `columns` as a `DataFrame` with a row for each concept, or as a `Dataset` of xarray with the axis concept.

        Raises:
            InputError: the library is not installed.
        """
        return frame(self.columns(), library, ["concept"])

    def __str__(self) -> str:
        count = {name: sum(each.verdict == name for each in self.values()) for name in _VERDICTS}
        return ", ".join(f"{n} {name}" for name, n in count.items() if n) or "none"

    def __repr__(self) -> str:
        return f"Verdicts({self})"

    def _repr_html_(self) -> str:
        head = ("concept", "verdict", "AUROC", "from", "to", "random", "bag of words", "layer")
        rows = [
            (name, of.verdict, of.auroc, *of.interval, of.random_directions, of.bag_of_words, of.layer)
            for name, of in self.items()
        ]
        return html_table(head, rows, caption=repr(self))


_VERDICTS = ("readable", "weak", "redundant", "undecided", "not readable")


@dataclass(frozen=True, slots=True)
class Golden:
    """What the model gave for a few fixed texts (see `readout.golden`).

    Attributes:
        texts: as the tokenizer got them, before the chat template.
        ids: token ids of each text, behind the chat template, special tokens included: one prompt each.
        scores: [token, layer, concept] of all tokens of all texts in order, float32, little-endian (base64 in the manifest).
    """

    texts: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    scores: bytes

    @property
    def n_tokens(self) -> int:
        """Number of tokens of all texts."""
        return sum(map(len, self.ids))


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a readout comes from.

    Attributes:
        model: model that the activations are of.
        hooks: layer, as a string -> TransformerLens hook that its vectors are of.
        capture: how texts were run.
        read_position: tokens that made a text's activation.
        estimator: the aggregator with its parameters; `method` names it with its denoisers.
        denoisers: each with its parameters, in the order of their application.
        corpus_sha256: of the training corpus.
        corpus: parameters that the corpus was made with.
        counts: concept -> {"positive": n, "negative": n}, training texts.
        left_out: concept -> why it has no vectors.
        verdicts: concept -> verdict; empty for a readout that was not judged.
        golden: what the model gave for a few fixed texts; None in old bundles.
        writer: method that the write vectors were fitted with; None for a readout without any.
    """

    model: ModelInfo | None = None
    hooks: Mapping[str, str] = field(default_factory=dict)
    capture: CaptureSettings = field(default_factory=CaptureSettings)
    read_position: ReadPosition = "pooled"
    estimator: Mapping[str, Any] = field(default_factory=dict)
    denoisers: tuple[Mapping[str, Any], ...] = ()
    corpus_sha256: str | None = None
    corpus: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    golden: Golden | None = None
    writer: str | None = None

    @property
    def method(self) -> str | None:
        """Estimator and denoisers as `directions.method.read_method` takes them; None where the bundle does not say."""
        return self.estimator.get("method")

    def middle_layer(self, layers: Sequence[int]) -> int:
        """Return the layer nearest to 0.65 of the model's depth."""
        depth = max(layers) if self.model is None else self.model.n_layers - 1
        return min(layers, key=lambda layer: abs(layer - DEPTH * depth))

    def reading_layers(self, concepts: Iterable[str], layers: Sequence[int]) -> dict[str, int]:
        """Return the layer that each concept is read at: the one it was judged at, else the middle one."""
        middle = self.middle_layer(layers)
        judged = {concept: of.layer for concept, of in self.verdicts.items() if of.layer is not None}
        known = {concept: layer for concept, layer in judged.items() if layer in layers}
        return {concept: known.get(concept, middle) for concept in concepts}

    @property
    def graded(self) -> bool:
        """True if the vectors were fitted to the tags' scores."""
        return self.estimator.get("labels") == "graded"
