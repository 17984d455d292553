"""`train`, and the three stages that it joins: `capture`, `fit`, `export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from amygdala_tl.cli import options
from amygdala_tl.cli.stages import Stages, show_result
from amygdala_tl.corpus.folders import read_training_data
from amygdala_tl.records import ChatTemplateChoice, ReadPosition
from amygdala_tl.report.progress import capture_progress
from amygdala_tl.report.summaries import capture_line, file_list, model_line, stage_times
from amygdala_tl.settings import CAPTURE, FIT, MODEL, Labels, ModelSettings

if TYPE_CHECKING:
    from amygdala_tl.api.train import StageResult
    from amygdala_tl.lens.model import Lens

ActivationsDir = Annotated[
    Path | None, typer.Option(help="Where activations are kept.", show_default="`activations` beside the output")
]


def train(
    training_data_dir: options.TrainingData,
    output: options.Output,
    model: options.Model = MODEL.model,
    target_layers: options.TargetLayers = CAPTURE.layers,
    aggregator: options.Aggregator = FIT.aggregator,
    denoise: options.Denoise = FIT.denoise,
    labels: options.LabelsOption = FIT.labels,
    read_position: options.ReadPositionOption = FIT.read_position,
    dtype: options.Dtype = MODEL.dtype,
    batch_size: options.BatchSize = CAPTURE.batch_size,
    device: options.Device = MODEL.device,
    n_devices: options.NDevices = MODEL.n_devices,
    activations_dir: ActivationsDir = None,
    chat_template: options.ChatTemplateOption = CAPTURE.chat_template,
    max_tokens: options.MaxTokens = CAPTURE.max_tokens,
    min_examples: options.MinExamples = FIT.min_examples,
    verdicts: options.Verdicts = True,
    revision: options.Revision = MODEL.revision,
    trust_remote_code: options.TrustRemoteCode = MODEL.trust_remote_code,
) -> None:
    """Train a readout: `capture`, `fit` and `export` in one."""
    console, stages = Console(highlight=False), Stages()
    run_train(
        console,
        stages,
        training_data_dir,
        output,
        model=ModelSettings(model, dtype, device, n_devices, revision, trust_remote_code),
        activations_dir=activations_dir or output.parent / "activations",
        layers=target_layers,
        aggregator=aggregator,
        denoise=denoise,
        labels=labels,
        read_position=read_position,
        min_examples=min_examples,
        chat_template=chat_template,
        max_tokens=max_tokens,
        batch_size=batch_size,
        verdicts=verdicts,
    )
    console.print(stage_times(stages.seconds))


def capture(
    training_data_dir: options.TrainingData,
    activations_dir: Annotated[Path, typer.Option(help="Where activations are kept.")],
    model: options.Model = MODEL.model,
    target_layers: options.TargetLayers = CAPTURE.layers,
    dtype: options.Dtype = MODEL.dtype,
    batch_size: options.BatchSize = CAPTURE.batch_size,
    device: options.Device = MODEL.device,
    n_devices: options.NDevices = MODEL.n_devices,
    chat_template: options.ChatTemplateOption = CAPTURE.chat_template,
    max_tokens: options.MaxTokens = CAPTURE.max_tokens,
    token_components: options.TokenComponents = CAPTURE.token_components,
    revision: options.Revision = MODEL.revision,
    trust_remote_code: options.TrustRemoteCode = MODEL.trust_remote_code,
) -> None:
    """Run the model over the texts that have not been run yet, and keep their activations."""
    console = Console(highlight=False)
    corpus = read_training_data(training_data_dir, min_examples=1)
    lens = load(console, ModelSettings(model, dtype, device, n_devices, revision, trust_remote_code))
    from amygdala_tl.api.capture import capture as run

    with capture_progress(console) as progress:
        store, summary = run(
            corpus,
            lens,
            activations_dir,
            layers=target_layers,
            chat_template=chat_template,
            max_tokens=max_tokens,
            token_components=token_components,
            batch_size=batch_size,
            progress=progress,
        )
    console.print(capture_line(summary))
    console.print(file_list({"activations": store.folder}))


def fit(
    training_data_dir: options.TrainingData,
    activations_dir: Annotated[Path, typer.Option(help="From `capture`.")],
    output: options.Output,
    target_layers: Annotated[
        str | None, typer.Option(help="As in `capture`.", show_default="all layers captured")
    ] = None,
    aggregator: options.Aggregator = FIT.aggregator,
    denoise: options.Denoise = FIT.denoise,
    labels: options.LabelsOption = FIT.labels,
    read_position: options.ReadPositionOption = FIT.read_position,
    min_examples: options.MinExamples = FIT.min_examples,
    verdicts: options.Verdicts = True,
) -> None:
    """Compute directions from captured activations and write them as a readout; runs no model."""
    from amygdala_tl.activations.store import ActivationStore
    from amygdala_tl.api.fit import fit as run
    from amygdala_tl.api.train import judged
    from amygdala_tl.readout.bundle import vectors_path

    output = vectors_path(output)
    console = Console(highlight=False)
    corpus = read_training_data(training_data_dir, min_examples=min_examples)
    store = ActivationStore.find(activations_dir)
    readout = run(
        corpus,
        store,
        layers=target_layers,
        aggregator=aggregator,
        denoise=denoise,
        labels=labels,
        read_position=read_position,
        min_examples=min_examples,
    )
    show_result(console, readout)
    if verdicts:
        readout = judged(readout, corpus, store, lambda result: show_result(console, result))
    readout.save(output)
    console.print(file_list({"vectors": output, "manifest": output.with_suffix(".json")}))


def export(
    fit_file: Annotated[Path, typer.Option(help="From `fit` or `train`.")],
    output: options.Output,
    only_readable: Annotated[
        bool, typer.Option("--only-readable", help="Leave concepts out unless their verdict is `readable`.")
    ] = False,
) -> None:
    """Write a readout again, if asked without the concepts that are not readable."""
    from amygdala_tl.readout.record import load_readout

    readout = load_readout(fit_file)
    (readout.only_readable() if only_readable else readout).save(output)
    Console(highlight=False).print(file_list({"vectors": output, "manifest": output.with_suffix(".json")}))


def run_train(
    console: Console,
    stages: Stages,
    training_data_dir: Path,
    output: Path,
    *,
    model: ModelSettings = MODEL,
    activations_dir: Path,
    layers: str = CAPTURE.layers,
    aggregator: str = FIT.aggregator,
    denoise: str = FIT.denoise,
    labels: Labels = FIT.labels,
    read_position: ReadPosition = FIT.read_position,
    min_examples: int = FIT.min_examples,
    chat_template: ChatTemplateChoice = CAPTURE.chat_template,
    max_tokens: int = CAPTURE.max_tokens,
    batch_size: int | None = CAPTURE.batch_size,
    verdicts: bool = True,
) -> "Lens":
    """Load the model, train, write the readout, and show each stage's result; returns the model."""
    from amygdala_tl.readout.bundle import vectors_path

    vectors_path(output)
    corpus = read_training_data(training_data_dir, min_examples=min_examples)
    with stages("load model"):
        lens = load(console, model)
    from amygdala_tl.api.train import train as run

    def show(result: "StageResult") -> None:
        stages.ended(result)
        show_result(console, result)

    stages.begin()
    with capture_progress(console) as progress:
        readout = run(
            corpus,
            lens,
            layers=layers,
            aggregator=aggregator,
            denoise=denoise,
            labels=labels,
            read_position=read_position,
            min_examples=min_examples,
            chat_template=chat_template,
            max_tokens=max_tokens,
            batch_size=batch_size,
            verdicts=verdicts,
            activations_dir=activations_dir,
            progress=progress,
            on_result=show,
        )
    readout.save(output)
    files = {"vectors": output, "manifest": output.with_suffix(".json"), "activations": activations_dir}
    console.print(file_list(files))
    return lens


def load(console: Console, settings: ModelSettings) -> "Lens":
    """Load a model, and show which one."""
    with console.status("loading the model"):
        from amygdala_tl.lens.model import load_model

        lens = load_model(
            settings.model,
            settings.dtype,
            settings.device,
            n_devices=settings.n_devices,
            revision=settings.revision,
            trust_remote_code=settings.trust_remote_code,
        )
    console.print(model_line(lens.info))
    return lens
