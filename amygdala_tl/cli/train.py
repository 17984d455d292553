"""`train`, and the three stages that it joins: `capture`, `fit`, `export`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from amygdala_tl.cli import options
from amygdala_tl.cli.stages import Stages
from amygdala_tl.corpus.folders import read_training_data
from amygdala_tl.errors import FitError
from amygdala_tl.records import ChatTemplateChoice, Corpus, ReadPosition
from amygdala_tl.report.progress import capture_progress
from amygdala_tl.report.summaries import capture_line, file_list, fit_summary, model_line, stage_times

if TYPE_CHECKING:
    from amygdala_tl.activations.store import ActivationStore
    from amygdala_tl.records import Fit

AUTO_LAYERS = "auto"
CANDIDATE_LAYERS = "0.25,0.35,0.45,0.55,0.65,0.75,0.85,0.95"
"""What `--target-layers auto` captures and chooses from. Neighbours in between are so alike that more would be luck."""

ActivationsDir = Annotated[
    Path | None, typer.Option(help="Where activations are kept.", show_default="`activations` beside the output")
]


def train(
    training_data_dir: options.TrainingData,
    output: Annotated[Path, typer.Option(help="The vectors, ending in .safetensors; the manifest lands beside them.")],
    model: options.Model = "embedded",
    target_layers: options.TargetLayers = options.LAYERS,
    aggregator: options.Aggregator = "auto",
    denoise: options.Denoise = "",
    labels: options.LabelsOption = "classes",
    read_position: options.ReadPositionOption = "pooled",
    dtype: options.Dtype = "auto",
    batch_size: options.BatchSize = None,
    device: options.Device = None,
    n_devices: options.NDevices = 1,
    activations_dir: ActivationsDir = None,
    chat_template: options.ChatTemplateOption = "auto",
    max_tokens: options.MaxTokens = 1024,
    min_examples: options.MinExamples = options.MIN_EXAMPLES,
    verdicts: options.Verdicts = True,
    revision: options.Revision = None,
    trust_remote_code: options.TrustRemoteCode = False,
) -> None:
    """Train a readout: `capture`, `fit` and `export` in one."""
    from amygdala_tl.readout.bundle import vectors_path

    output = vectors_path(output)
    console = Console(highlight=False)
    stages = Stages()
    corpus = read_training_data(training_data_dir, min_examples=min_examples)
    store = run_capture(
        console,
        stages,
        corpus,
        activations_dir or output.parent / "activations",
        model=model,
        target_layers=CANDIDATE_LAYERS if target_layers == AUTO_LAYERS else target_layers,
        dtype=dtype,
        batch_size=batch_size,
        device=device,
        n_devices=n_devices,
        chat_template=chat_template,
        max_tokens=max_tokens,
        token_components=options.TOKEN_COMPONENTS if aggregator == "subspace" else 0,
        revision=revision,
        trust_remote_code=trust_remote_code,
    )
    run_fit_and_export(
        console,
        stages,
        corpus,
        store,
        output,
        target_layers=target_layers,
        aggregator=aggregator,
        denoise=denoise,
        labels=labels,
        read_position=read_position,
        min_examples=min_examples,
        verdicts=verdicts,
    )
    console.print(stage_times(stages.seconds))


def capture(
    training_data_dir: options.TrainingData,
    activations_dir: Annotated[Path, typer.Option(help="Where activations are kept.")],
    model: options.Model = "embedded",
    target_layers: options.TargetLayers = options.LAYERS,
    dtype: options.Dtype = "auto",
    batch_size: options.BatchSize = None,
    device: options.Device = None,
    n_devices: options.NDevices = 1,
    chat_template: options.ChatTemplateOption = "auto",
    max_tokens: options.MaxTokens = 1024,
    token_components: options.TokenComponents = 0,
    revision: options.Revision = None,
    trust_remote_code: options.TrustRemoteCode = False,
) -> None:
    """Run the model over the texts that have not been run yet, and keep their activations."""
    console = Console(highlight=False)
    store = run_capture(
        console,
        Stages(),
        read_training_data(training_data_dir, min_examples=1),
        activations_dir,
        model=model,
        target_layers=target_layers,
        dtype=dtype,
        batch_size=batch_size,
        device=device,
        n_devices=n_devices,
        chat_template=chat_template,
        max_tokens=max_tokens,
        token_components=token_components,
        revision=revision,
        trust_remote_code=trust_remote_code,
    )
    console.print(file_list({"activations": store.folder}))


def fit(
    training_data_dir: options.TrainingData,
    activations_dir: Annotated[Path, typer.Option(help="From `capture`.")],
    output: Annotated[Path, typer.Option(help="The fit, one file, for `export`.")],
    target_layers: Annotated[
        str | None, typer.Option(help="As in `capture`.", show_default="all layers captured")
    ] = None,
    aggregator: options.Aggregator = "auto",
    denoise: options.Denoise = "",
    labels: options.LabelsOption = "classes",
    read_position: options.ReadPositionOption = "pooled",
    min_examples: options.MinExamples = options.MIN_EXAMPLES,
    verdicts: options.Verdicts = True,
) -> None:
    """Compute directions from captured activations; runs no model."""
    from amygdala_tl.activations.store import ActivationStore
    from amygdala_tl.pipeline.fit import fit as compute
    from amygdala_tl.readout.fit_file import save_fit

    console = Console(highlight=False)
    corpus = read_training_data(training_data_dir, min_examples=min_examples)
    store = ActivationStore.find(activations_dir)
    result = compute(
        corpus,
        store,
        layers=target_layers,
        aggregator=aggregator,
        denoise=denoise,
        labels=labels,
        read_position=read_position,
        min_examples=min_examples,
    )
    console.print(fit_summary(result))
    save_fit(_judged(console, corpus, store, result) if verdicts else result, output)
    console.print(file_list({"fit": output}))


def export(
    fit_file: Annotated[Path, typer.Option(help="From `fit`.")],
    output: Annotated[Path, typer.Option(help="The vectors, ending in .safetensors; the manifest lands beside them.")],
    only_readable: Annotated[
        bool, typer.Option("--only-readable", help="Leave concepts out whose verdict is not `readable`.")
    ] = False,
) -> None:
    """Write a fit as a readout bundle, for `read` and for a vLLM server."""
    from amygdala_tl.pipeline.select import only_readable as without_others
    from amygdala_tl.readout.bundle import export_readout
    from amygdala_tl.readout.fit_file import load_fit

    fit = load_fit(fit_file)
    vectors, manifest = export_readout(without_others(fit) if only_readable else fit, output)
    Console(highlight=False).print(file_list({"vectors": vectors, "manifest": manifest}))


def run_capture(
    console: Console,
    stages: Stages,
    corpus: Corpus,
    activations_dir: Path,
    *,
    model: str,
    target_layers: str,
    chat_template: ChatTemplateChoice = "auto",
    max_tokens: int = 1024,
    token_components: int = 0,
    dtype: str = "auto",
    batch_size: int | None = None,
    device: str | None = None,
    n_devices: int = 1,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> "ActivationStore":
    """Load the model and capture, with a progress bar and what was done."""
    from amygdala_tl.lens.model import load_model
    from amygdala_tl.pipeline.capture import capture as compute

    with stages("load model"), console.status("loading the model"):
        loaded = load_model(
            model, dtype, device, n_devices=n_devices, revision=revision, trust_remote_code=trust_remote_code
        )
    console.print(model_line(loaded.info))
    with stages("capture"), capture_progress(console) as progress:
        store, summary = compute(
            corpus,
            loaded,
            activations_dir,
            layers=target_layers,
            chat_template=chat_template,
            max_tokens=max_tokens,
            token_components=token_components,
            batch_size=batch_size,
            progress=progress,
        )
    console.print(capture_line(summary))
    return store


def run_fit_and_export(
    console: Console,
    stages: Stages,
    corpus: Corpus,
    store: "ActivationStore",
    output: Path,
    *,
    target_layers: str,
    aggregator: str = "auto",
    denoise: str = "",
    labels: Literal["classes", "graded"] = "classes",
    read_position: ReadPosition = "pooled",
    min_examples: int = options.MIN_EXAMPLES,
    verdicts: bool = True,
) -> None:
    """Fit, judge and export, and say what came out and where it is."""
    from amygdala_tl.pipeline.fit import fit as compute
    from amygdala_tl.readout.bundle import export_readout

    if target_layers == AUTO_LAYERS:
        from amygdala_tl.diagnostics.separation import best_layers
        from amygdala_tl.pipeline.layers import compare_layers
        from amygdala_tl.report.tables import layer_table

        with stages("layers"):
            separation = compare_layers(
                corpus,
                store,
                layers=CANDIDATE_LAYERS,
                aggregator=aggregator,
                denoise=denoise,
                read_position=read_position,
                min_examples=min_examples,
            )
            chosen = best_layers(separation, options.LAYER_SLOTS)
        console.print(layer_table(separation, chosen))
        target_layers = ",".join(map(str, chosen))
    with stages("fit"):
        result = compute(
            corpus,
            store,
            layers=target_layers,
            aggregator=aggregator,
            denoise=denoise,
            labels=labels,
            read_position=read_position,
            min_examples=min_examples,
        )
    console.print(fit_summary(result))
    if verdicts:
        with stages("judge"):
            result = _judged(console, corpus, store, result)
    with stages("export"):
        vectors, manifest = export_readout(result, output)
    console.print(file_list({"vectors": vectors, "manifest": manifest, "activations": store.folder}))


def _judged(console: Console, corpus: Corpus, store: "ActivationStore", fit: "Fit") -> "Fit":
    """The fit with a verdict on every concept, which are shown; as it is, with a word why, where it cannot be judged."""
    from amygdala_tl.pipeline.diagnose import diagnose, verdict_entries
    from amygdala_tl.report.diagnosis import diagnosis_summary

    try:
        found = diagnose(corpus, store, fit)
    except FitError as reason:  # too few texts to judge by are no reason to have no readout
        console.print(f"no verdicts: {reason}", style="yellow")
        return fit
    console.print(diagnosis_summary(found))
    return replace(fit, verdicts=verdict_entries(found))
