"""The settings of every stage, with their defaults: the Python verbs and the command line both take them from here.

This module imports no torch, so that the command line can print its help at once.
"""

from dataclasses import dataclass
from typing import Literal

from amygdala_tl.records import ChatTemplateChoice, KeptPosition, ReadPosition, StoreDtype

Labels = Literal["classes", "graded"]
"""Fit two classes, or the tags' scores."""

Writer = Literal["quarter_whitened", "half_whitened", "mean", "read"]
"""Estimator of the vectors that steer, or the vectors that read."""

CaptureEngine = Literal["transformer-lens", "vllm"]
"""What runs the model of a capture."""

LARGEST_SEED = 2**63 - 1
"""As torch takes it."""

AUTO = "auto"
"""Let the training texts decide."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """The model to load, `spec` of `load_model`, with keywords of the same function."""

    model: str = "embedded"
    dtype: str = AUTO
    device: str | None = None
    n_devices: int = 1
    revision: str | None = None
    trust_remote_code: bool = False


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """Keywords of `capture`, which explains them."""

    layers: str = "0.2,0.35,0.5,0.65,0.8"
    chat_template: ChatTemplateChoice = "auto"
    max_tokens: int = 1024
    token_components: int = 0
    batch_size: int | None = None
    store_dtype: StoreDtype = "float32"
    keep_position: KeptPosition = "all"


@dataclass(frozen=True, slots=True)
class FitSettings:
    """Keywords of `fit`, which explains them, and the `seed` of the folds that judge the result."""

    aggregator: str = AUTO
    denoise: str = ""
    labels: Labels = "classes"
    read_position: ReadPosition = "pooled"
    min_examples: int = 5
    writer: Writer = "quarter_whitened"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """Who may read new files that hold what people wrote: their user only, or whoever the umask allows if `shared`."""

    shared: bool = False


@dataclass(frozen=True, slots=True)
class LayerChoice:
    """How `train` chooses layers when they are `auto`.

    Attributes:
        candidates: layers to capture and compare. Layers in between are so alike that comparing more would be luck.
        slots: number of layers to keep.
        token_components: what `train` captures for the `subspace` estimator.
    """

    candidates: str = "0.25,0.35,0.45,0.55,0.65,0.75,0.85,0.95"
    slots: int = 4
    token_components: int = 4


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a server may take of a client that reads from it.

    Attributes:
        answer_bytes: decoded bytes of one answer.
        total_bytes: of all answers together.
        event_bytes: of one event of an endless stream, or of a manifest.
        readout_bytes: of the readout of a request, in JSON.
        array_bytes: memory for the scores of a request or an event.
        row_values: scores of one token, layers times concepts.
        values: JSON values of one answer, counted by their commas and brackets; each takes up to 100 bytes of memory.
        pages: of one listing.
        listing_seconds: for all pages of one listing.
        patience: a whole answer may take this many times the limit on silence.
    """

    answer_bytes: int = 2**28
    total_bytes: int = 2**30
    event_bytes: int = 2**27
    readout_bytes: int = 2**30
    array_bytes: int = 2**30
    row_values: int = 2**17
    values: int = 5_000_000
    pages: int = 10_000
    listing_seconds: float = 3600.0
    patience: int = 10


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """Where `serve` listens, and how many sequences it generates at once: they take turns, and more get HTTP 429."""

    host: str = "127.0.0.1"
    port: int = 8010
    most_sequences: int = 16


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """Tokens of an alert's window, and for `thresholds` the rate of false alarms a turn and the seconds to listen."""

    window: int = 64
    false_alarms: float = 0.01
    seconds: float = 600.0


MODEL = ModelSettings()
CAPTURE = CaptureOptions()
FIT = FitSettings()
OUTPUT = OutputSettings()
LAYERS = LayerChoice()
SERVER = ServerLimits()
SERVE = ServeSettings()
ALERT = AlertSettings()
