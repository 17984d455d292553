"""Frozen records that cross rooms, and the names of the tensor axes.

Axis names, the same in every shape annotation of the package:

    text      one unique text of the corpus
    token     one position of one text
    layer     one target layer, in the order of the layer list beside the tensor
    concept   one emotion, in the order of the concept list beside the tensor
    d_model   one residual-stream coordinate

Only type checkers import torch here, so that rooms without tensors (memory, corpus) stay light.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

ReadPosition = Literal["pooled", "last", "last-content"]
"""Tokens of a text that are pooled into its activation (see `amygdala_tl.activations.pooling`)."""

ChatTemplate = Literal["none", "user", "assistant"]
"""How a text runs: as it is, or as one turn of the model's chat template."""

ChatTemplateChoice = Literal["auto", "none", "user", "assistant"]
"""The same, with `auto` for `user` if the model's tokenizer has a template, else `none`."""

KeptPosition = Literal["all", "pooled", "last", "last-content"]
"""The read position that a store keeps, or `all`."""

StoreDtype = Literal["float32", "float16"]
"""How a store keeps activations: float16 takes half as much, and rounds each number by 2^-11 of itself at most."""

Split = Literal["train", "heldout"]

READ_POSITIONS: tuple[ReadPosition, ...] = ("pooled", "last", "last-content")


def hook_name(layer: int) -> str:
    """Return the TransformerLens hook of the residual stream after decoder layer `layer`, counted from 0."""
    return f"blocks.{layer}.hook_resid_post"


@dataclass(frozen=True, slots=True)
class Node:
    """One note of a memory graph, as its server returns it.

    Attributes:
        key: unique name (`journal-2031-03-04.md#the-queue`).
        kind: the graph's own type name (`episodicSession`, `semantic`, ...).
        content: markdown, tag line included.
    """

    key: str
    kind: str
    content: str


@dataclass(frozen=True, slots=True)
class CorpusText:
    """One unique text with its labels: a row of `texts.jsonl`.

    Attributes:
        id: sha256 of the UTF-8 text, hexadecimal.
        text: what the model reads, without the tag line.
        group: texts of one day, scene or document share it; a split never cuts a group.
        split: `train` or `heldout`.
        scores: concept -> tag score, 0-10; empty for neutral texts.
        positive: concepts that this text is a positive example of.
        negative: concepts that this text is a negative example of.
    """

    id: str
    text: str
    group: str
    split: Split
    scores: Mapping[str, float]
    positive: tuple[str, ...]
    negative: tuple[str, ...]

    @property
    def neutral(self) -> bool:
        """True for a text without any tag: denoisers use it, and it is never an example of a concept."""
        return not (self.scores or self.positive or self.negative)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Identity of a model and of the engine that ran it.

    Attributes:
        id: name for people: `embedded`, a folder's name, a file's name or a hub id.
        revision: commit of a hub model, else None.
        fingerprint: sha256 over shapes and bfloat16-rounded values of all weights, hexadecimal, so that a checkpoint has one in
            float32 and bfloat16; behind `tl-` if the weights are TransformerLens's own, which no checkpoint can be compared with.
            Records without `exact` hashed names and samples.
        architecture: Hugging Face's class name.
        engine: `HookedTransformer` or `TransformerBridge` of TransformerLens, or `vLLM`.
        versions: package -> version, of the software that ran it.
        dtype: of the weights while running: `float32`, `bfloat16`, `float16`.
        n_layers, d_model, n_ctx: sizes.
        weights: `as stored` if the residual stream is that of the checkpoint (folded norms and value biases leave it as it is);
            `centred` if the weights that write to it lack their mean over d_model, so the stream does too.
        golden: fixed projections of the stream for fixed tokens (`lens.identity`); empty in old records.
        exact: as `fingerprint`, of the values as they run; empty in old records.
        config: the part of the configuration that the computation may depend on; empty in old records.
        tokenizer: sha256 of the tokenizer's vocabulary and rules; empty in old records.
    """

    id: str
    revision: str | None
    fingerprint: str
    architecture: str
    engine: Literal["HookedTransformer", "TransformerBridge", "vLLM"]
    versions: Mapping[str, str]
    dtype: str
    n_layers: int
    d_model: int
    n_ctx: int
    weights: Literal["as stored", "centred"] = "as stored"
    golden: str = ""
    exact: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: str = ""

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What a result of the model depends on: hashes of weights, configuration and tokenizer; engine; dtype."""
        config = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest()
        return self.exact or self.fingerprint, config, self.tokenizer, self.engine, self.dtype


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    """Settings that an activation depends on, besides model, text and layer.

    Attributes:
        chat_template: how a text is wrapped.
        max_tokens: length at which a text is cut.
        token_components: number of principal directions of each text's tokens that the store keeps.
        rendered: the chat template around a placeholder, as the tokenizer renders it; empty without one, and in old records.
        store_dtype: of the activations on the disk.
        read_position: the one that the store keeps, or `all`.
    """

    chat_template: ChatTemplate = "none"
    max_tokens: int = 1024
    token_components: int = 0
    rendered: str = ""
    store_dtype: StoreDtype = "float32"
    read_position: KeptPosition = "all"

    @property
    def positions(self) -> tuple[ReadPosition, ...]:
        """The read positions that the store keeps."""
        return READ_POSITIONS if self.read_position == "all" else (self.read_position,)

    @property
    def key(self) -> dict[str, Any]:
        """The settings by name, without those of later versions that have their defaults, so that stores keep their names."""
        later = {"store_dtype": "float32", "read_position": "all"}
        return {name: value for name, value in asdict(self).items() if later.get(name) != value}


@dataclass(frozen=True, slots=True)
class LeftOutText:
    """A text that the model cannot run.

    Attributes:
        id: of the text.
        text: its beginning.
        reason: one clause.
    """

    id: str
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class CaptureSummary:
    """Counts of one capture.

    Attributes:
        texts: requested texts.
        texts_run: texts that the store lacked.
        tokens_run: tokens of these texts themselves, without template and pads.
        texts_cut: texts that ran and were longer than `max_tokens`, or than the model's context.
        seconds: wall time of the model runs.
        left_out: requested texts that cannot be run, now or when the store was made.
    """

    texts: int
    texts_run: int
    tokens_run: int
    texts_cut: int
    seconds: float
    left_out: tuple[LeftOutText, ...] = ()


@dataclass(frozen=True, slots=True)
class CaptureProgress:
    """Progress of a capture; `tokens` counts those of the texts themselves."""

    texts_done: int
    texts_total: int
    tokens_done: int
    tokens_total: int


ProgressCallback = Callable[[CaptureProgress], None]
CountCallback = Callable[[int, int], None]
"""Called with the number that is done, and the number in all."""


@dataclass(frozen=True, slots=True)
class TokenPart:
    """Activations of some single tokens at one layer, without sinks and template tokens, with what they stand for.

    Attributes:
        column: index of the layer among those asked for.
        count: number of tokens that they stand for.
        weights: [token] how many tokens each of them stands for, float64.
        tokens: [token, d_model].
        names: [token] number of each token, the same at every layer, int64; None in a store of an earlier version.
    """

    column: int
    count: int
    weights: "torch.Tensor"
    tokens: "torch.Tensor"
    names: "torch.Tensor | None" = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """Mean and standard deviation of every concept's score at every layer, so that z = (h.v - mean) / std.

    Attributes:
        mean, std: [layer, concept] float32.
        n: number of texts or tokens behind them.
    """

    mean: "torch.Tensor"
    std: "torch.Tensor"
    n: int


@dataclass(frozen=True, slots=True)
class LengthCalibration:
    """Scores of means over n tokens: their variance is that of single tokens times floor + (1 - floor) reach / (n + reach - 1).

    Tokens of one text are alike, so n of them vary like (n + reach - 1) / reach independent ones, and `floor` never averages out.

    Tensors, or arrays in a client of a server.

    Attributes:
        mean: [layer, concept] mean score of texts of any length.
        floor: [layer, concept] share of a single token's variance that remains in the longest texts, in [0, 1].
        reach: [layer, 1] at least 1.
        n: number of texts behind them.
    """

    mean: Any
    floor: Any
    reach: Any
    n: int

    def of_rows(self, rows: slice) -> "LengthCalibration":
        """Return the calibration of some layers."""
        return LengthCalibration(self.mean[rows], self.floor[rows], self.reach[rows], self.n)

    def shrinkage(self, tokens: Any) -> Any:
        """Return the standard deviation of a mean over tokens as a share of a single token's.

        Args:
            tokens: a number of tokens, or numbers [..., layer].

        Returns:
            [..., layer, concept].
        """
        n = tokens if isinstance(tokens, (int, float)) else tokens[..., None]
        return (self.floor + (1 - self.floor) * self.reach / (n + self.reach - 1)) ** 0.5


@dataclass(frozen=True, slots=True)
class LayerOutput:
    """What one decoder layer of an engine returned for the golden tokens.

    Attributes:
        kind: class of the layer.
        way: how the engine's output is read when it serves; None for a class without a known convention.
        streams: every way in which the output can be read -> [token, d_model].
    """

    kind: str
    way: str | None
    streams: "Mapping[str, torch.Tensor]"


@dataclass(frozen=True, slots=True)
class LayerCheck:
    """Comparison of one layer of a bundle with the same layer of an engine.

    Attributes:
        engine: `vLLM` or `Hugging Face`.
        layer: index in the bundle.
        difference: relative difference of the worst golden token, of the median one in half precision.
        passed: True if the difference is within the tolerance and no other layer is nearer.
        finding: why it failed, or how many tokens of a layer that passed differ by more; empty if none do.
    """

    engine: str
    layer: int
    difference: float
    passed: bool
    finding: str


@dataclass(frozen=True, slots=True)
class Verification:
    """Result of `verify`.

    Attributes:
        model: id of the model.
        dtype: in which every engine computed.
        n_tokens: how many golden tokens ran.
        tolerance: largest relative difference that passes.
        checks: one per engine and layer.
        notes: what `verify` did not check, and why.
    """

    model: str
    dtype: str
    n_tokens: int
    tolerance: float
    checks: tuple[LayerCheck, ...]
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """True if every check passed, and there was one."""
        return bool(self.checks) and all(check.passed for check in self.checks)
