"""Options that several commands share, spelled once."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from amygdala_tl.records import ChatTemplateChoice, ReadPosition

TrainingData = Annotated[
    Path,
    typer.Option(help="Corpus folder from `extract`, or a folder of texts (see README, 'Folders of texts')."),
]
Model = Annotated[
    str, typer.Option(help="`embedded` (SmolLM2-135M-Instruct), a checkpoint folder, a .gguf file or a hub id.")
]
TargetLayers = Annotated[
    str,
    typer.Option(
        help="Layers, comma-separated: indices (18), negative ones (-1), fractions of depth (0.6); `all`; in `train` also `auto`."
    ),
]
Dtype = Annotated[
    str, typer.Option(help="auto (float32 on a CPU, bf16 on CUDA), float32, bf16 or fp16; of the model while it runs.")
]
Device = Annotated[str | None, typer.Option(help="For example cpu or cuda:0.", show_default="CUDA if present")]
NDevices = Annotated[int, typer.Option(min=1, help="Split the model's layers over this many CUDA devices.")]
BatchSize = Annotated[
    int | None, typer.Option(min=1, help="At most this many texts a batch.", show_default="a token budget")
]
MaxTokens = Annotated[int, typer.Option(min=1, help="Cut texts after this many tokens.")]
ChatTemplateOption = Annotated[
    ChatTemplateChoice,
    typer.Option(
        "--chat-template",
        help="Run each text as one turn of the model's chat template; auto: as the user's, where the model has one.",
    ),
]
TokenComponents = Annotated[
    int,
    typer.Option(min=0, help="Keep this many principal directions of each text's tokens, for the subspace aggregator."),
]
TrustRemoteCode = Annotated[bool, typer.Option(help="Run code that the checkpoint brings.")]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub id.")]
Aggregator = Annotated[
    str,
    typer.Option(
        help="Estimator: mean, pca, linear, logistic, logistic_l1, whitened, subspace; or auto, the best on held-out groups "
        "of the training texts."
    ),
]
Denoise = Annotated[
    str,
    typer.Option(
        help="Denoisers, comma-separated: sink, neutral-pca[:0.5], topic[:0.5], grand-mean.", show_default="none"
    ),
]
LabelsOption = Annotated[
    Literal["classes", "graded"],
    typer.Option("--labels", help="Fit two classes, or the tags' scores (linear and whitened only)."),
]
ReadPositionOption = Annotated[
    ReadPosition,
    typer.Option("--read-position", help="Tokens pooled into a text's activation (see README, 'Read positions')."),
]
MinExamples = Annotated[
    int, typer.Option(min=1, help="Leave a concept out with fewer positive or negative training texts.")
]
Verdicts = Annotated[
    bool, typer.Option("--verdicts/--no-verdicts", help="Judge every concept on the corpus's held-out groups.")
]
Output = Annotated[Path, typer.Option(help="The vectors, ending in .safetensors; the manifest lands beside them.")]
ReadoutFile = Annotated[Path, typer.Option(help="The bundle's .safetensors file.")]
ActivationsDir = Annotated[
    Path | None,
    typer.Option(help="Where activations are kept.", show_default="`activations` beside the readout"),
]
ModelOption = Annotated[str | None, typer.Option(help="The model, if the manifest's name does not lead to it.")]

READOUT = Path("readout.safetensors")
