"""Options that several commands share."""

from collections.abc import Callable, Collection
from dataclasses import fields
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from amygdala_tl.files import sharing
from amygdala_tl.settings import OUTPUT

HELP = {
    "model": "`embedded` (SmolLM2-135M-Instruct), a checkpoint folder, a .gguf file or a hub id.",
    "dtype": "dtype of the running model: auto (float32 on a CPU, bf16 on CUDA), float32, bf16 or fp16.",
    "device": "Device, for example cpu or cuda:0.",
    "n_devices": "Split the model's layers over this many CUDA devices.",
    "revision": "Branch, tag or commit of a hub id.",
    "trust_remote_code": "Run code that comes with the checkpoint.",
    "layers": "Comma-separated layers: indices (18), negative ones (-1), fractions of the depth (0.6); or `all`; in `train` also "
    "`auto`.",
    "chat_template": "Run each text as one turn of the model's chat template; auto: as the user's, if the model has a template.",
    "max_tokens": "Cut texts to this many tokens.",
    "token_components": "Keep this many principal directions of each text's tokens, for the subspace aggregator.",
    "batch_size": "Largest number of texts in a batch.",
    "store_dtype": "dtype of the activations on the disk: float32, or float16 in half the space.",
    "keep_position": "Read position to keep activations of, or all three.",
    "aggregator": "Estimator: mean, pca, linear, logistic, logistic_l1, whitened, joint, half_whitened, quarter_whitened, "
    "subspace; or the best on held-out groups of training texts, of several (mean,whitened) or a few (auto).",
    "denoise": "Comma-separated denoisers: sink, neutral-pca[:0.5], topic[:0.5], grand-mean.",
    "labels": "Fit two classes, or the scores of the tags (linear and whitened only).",
    "writer": "Estimator of the vectors to steer with: quarter_whitened, half_whitened, mean, or those that read.",
    "read_position": "Tokens that make up a text's activation: all of them, the last one, or the last with a letter or digit.",
    "min_examples": "Leave out concepts with fewer positive or negative training texts.",
    "min_positive_score": "A text with at least this score is a positive example.",
    "max_negative_score": "A text with at most this score, or without the tag, is a negative example.",
    "max_negative_mentions": "A negative example may mention the concept this often.",
    "min_content_chars": "Drop shorter texts.",
    "max_examples_per_emotion": "Largest number of positive, and of negative, examples of a concept.",
    "heldout_fraction": "Share of the groups to keep out of training; verdicts then also say what the readout reaches on them.",
    "shared": "Let other users of the machine read what is written, as the umask says.",
    "top_emotions": "Use the N most common tags as concepts.",
}
"""Fields of settings that are options, with their help."""

FLAGS = {"layers": ["--target-layers"], "shared": ["--shared"]}
MOST = {"n_devices": 1024, "token_components": 1024}
LEAST = {"n_devices": 1, "max_tokens": 1, "token_components": 0, "batch_size": 1, "min_examples": 1}
SHOWN = {"device": "CUDA if present", "batch_size": "a token budget", "denoise": "none", "top_emotions": "all tags"}
"""Defaults in the help, for fields where None or an empty text would say too little."""


def option(name: str) -> Any:
    """Return the option of a field of settings."""
    help, least, shown = HELP[name], LEAST.get(name), SHOWN.get(name, True)
    return typer.Option(*FLAGS.get(name, []), help=help, min=least, max=MOST.get(name), show_default=shown)


def of(*settings: Any, without: Collection[str] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for every field of settings that `HELP` has; it takes them as `**settings`.

    The option `--shared` holds for what the command writes, and the command itself does not see it.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [each for each in signature(command).parameters.values() if each.kind != Parameter.VAR_KEYWORD]
        shared_options = [
            Parameter(
                each.name,
                Parameter.KEYWORD_ONLY,
                default=getattr(record, each.name),
                annotation=Annotated[each.type, option(each.name)],
            )
            for record in settings
            for each in fields(record)
            if each.name in HELP and each.name not in without
        ]

        @wraps(command)
        def run(*given: Any, shared: bool = OUTPUT.shared, **options: Any) -> None:
            with sharing(shared):
                command(*given, **options)

        run.__signature__ = Signature([*own, *shared_options])  # type: ignore[attr-defined]  # typer reads it
        return run

    return decorate


TrainingData = Annotated[
    Path,
    typer.Option(help="Corpus folder from `extract`, or a folder or file of labelled texts (see docs/corpora.md)."),
]
SeveralTrainingData = Annotated[
    list[Path],
    typer.Option(
        help="Corpus folder from `extract`, or a folder or file of labelled texts (see docs/corpora.md); given again, "
        "corpora of other kinds of text, which are joined."
    ),
]
Output = Annotated[
    Path, typer.Option(help="Path of the vectors, ending in .safetensors; the manifest goes beside them.")
]
Verdicts = Annotated[
    bool, typer.Option("--verdicts/--no-verdicts", help="Judge each concept on texts of other groups.")
]
CapturedLayers = Annotated[str | None, typer.Option(help="As in `capture`.", show_default="all captured layers")]
ReadoutFile = Annotated[Path, typer.Option(help="The bundle's .safetensors file.")]
ActivationsDir = Annotated[
    str | None, typer.Option(help="Folder or URL of the activations.", show_default="`activations` beside the readout")
]
ModelOption = Annotated[str | None, typer.Option(help="The model, if the name in the manifest does not lead to it.")]
Table = Annotated[Path | None, typer.Option(help="Also write all numbers to this table: .csv, .jsonl or .parquet.")]
Json = Annotated[bool, typer.Option("--json", help="Print the results as one JSON document.")]
TrustRemoteCode = Annotated[bool, option("trust_remote_code")]

READOUT = Path("readout.safetensors")
