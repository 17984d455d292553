"""The settings of every stage, with their defaults: the Python verbs and the command line both take them from here.

This module imports no torch, so that the command line can print its help at once.
"""

from dataclasses import dataclass
from typing import Literal

from amygdala_tl.records import ChatTemplateChoice, ReadPosition

Labels = Literal["classes", "graded"]
"""Fit two classes, or the tags' scores."""

AUTO = "auto"
"""Let the training texts decide."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """How a model is loaded.

    Attributes:
        model: `embedded`, a checkpoint folder, a `.gguf` file or a hub id.
        dtype: `auto` (float32 on a CPU, bfloat16 on CUDA), `float32`, `bf16` or `fp16`.
        device: for example `cuda:0`; CUDA where present if None.
        n_devices: number of CUDA devices that share the layers.
        revision: branch, tag or commit of a hub id.
        trust_remote_code: run code that the checkpoint brings.
    """

    model: str = "embedded"
    dtype: str = AUTO
    device: str | None = None
    n_devices: int = 1
    revision: str | None = None
    trust_remote_code: bool = False


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """How activations are captured.

    Attributes:
        layers: see `amygdala_tl.lens.hooks.parse_layers`.
        chat_template: run each text as one turn of the model's chat template; `auto`: as the user's, where there is one.
        max_tokens: length at which a text is cut.
        token_components: number of principal directions of each text's tokens to keep, for the `subspace` estimator.
        batch_size: most texts a batch; a token budget alone decides if None.
    """

    layers: str = "0.35,0.5,0.65,0.8"
    chat_template: ChatTemplateChoice = "auto"
    max_tokens: int = 1024
    token_components: int = 0
    batch_size: int | None = None


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How directions are computed from activations.

    Attributes:
        aggregator: name of an estimator, or `auto`.
        denoise: names of denoisers, comma-separated.
        labels: what the estimator is fitted to.
        read_position: tokens that make a text's activation.
        min_examples: fewest positive and negative training texts of a concept.
        seed: of the folds that judge the result.
    """

    aggregator: str = AUTO
    denoise: str = ""
    labels: Labels = "classes"
    read_position: ReadPosition = "pooled"
    min_examples: int = 5
    seed: int = 0


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


MODEL = ModelSettings()
CAPTURE = CaptureOptions()
FIT = FitSettings()
LAYERS = LayerChoice()
