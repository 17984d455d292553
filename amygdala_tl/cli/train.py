"""`train`, and its three stages: `capture`, `fit`, `export`."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from amygdala_tl.cli import options
from amygdala_tl.cli.documents import readout_document
from amygdala_tl.cli.printer import notes, print_json, printer
from amygdala_tl.cli.stages import Stages, show_result, show_serving
from amygdala_tl.corpus.io import OUTPUTS, write_corpus
from amygdala_tl.corpus.loader import read_several, read_training_data
from amygdala_tl.errors import InputError
from amygdala_tl.files import check_outputs, keep_out_of_models
from amygdala_tl.names import named_concepts
from amygdala_tl.report.progress import capture_progress, from_first_call, judging_progress
from amygdala_tl.report.summaries import capture_line, corpus_notices, file_list, model_line, stage_times
from amygdala_tl.settings import AUTO, CAPTURE, FIT, MODEL, OUTPUT, CaptureEngine, ModelSettings

if TYPE_CHECKING:
    from amygdala_tl.activations.ray_engine import RayModel
    from amygdala_tl.api.train import StageResult
    from amygdala_tl.lens.model import Lens
    from amygdala_tl.readout.record import Readout
    from amygdala_tl.vllm.model import VllmModel

ActivationsDir = Annotated[
    str | None, typer.Option(help="Folder or URL of the activations.", show_default="`activations` beside the output")
]
OnlyReadable = Annotated[bool, typer.Option("--only-readable", help="Keep only concepts with the verdict `readable`.")]


@options.of(MODEL, CAPTURE, FIT, OUTPUT, without=["token_components"])
def train(
    training_data_dir: options.SeveralTrainingData,
    output: options.Output,
    activations_dir: ActivationsDir = None,
    verdicts: options.Verdicts = True,
    only_readable: OnlyReadable = False,
    as_json: options.Json = False,
    **settings: Any,
) -> None:
    """Train a readout: `capture`, `fit` and `export` in one."""
    if only_readable and not verdicts:
        what, remedy = "verdicts say which concepts are readable", "leave one of the options out"
        raise InputError(what, got="--only-readable --no-verdicts", remedy=remedy)
    console, stages, folder = printer(error=as_json), Stages(), activations_dir or output.parent / "activations"
    settings |= {"model": _model(settings), "activations_dir": folder, "verdicts": verdicts}
    data = _one_corpus(console, training_data_dir, output, settings["min_examples"])
    run_train(console, stages, data, output, only_readable=only_readable, **settings)
    notes(error=as_json).print(stage_times(stages.seconds))
    if as_json:
        from amygdala_tl.readout.record import load_readout

        readout = load_readout(output)
        files = {**_files(output, readout), "activations": folder}
        print_json({**readout_document(readout, files), "seconds": stages.seconds})


@options.of(MODEL, CAPTURE, OUTPUT)
def capture(
    training_data_dir: options.TrainingData,
    activations_dir: Annotated[str, typer.Option(help="Folder of the activations, or a URL: s3://bucket/folder.")],
    engine: Annotated[
        CaptureEngine,
        typer.Option(
            help="What runs the model; vllm, if installed, splits layers over --n-devices by tensor parallelism."
        ),
    ] = "transformer-lens",
    ray: Annotated[
        str | None,
        typer.Option(help="Ray cluster that runs the model: its address, auto for this machine's, local to start one."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Ray's workers, each with a copy of the model.", min=1, show_default="one for each GPU or machine"
        ),
    ] = None,
    as_json: options.Json = False,
    **settings: Any,
) -> None:
    """Run the model over the texts that it has not run yet, and keep their activations."""
    console = notes(error=as_json)
    if engine == "vllm" and (given := [name for name in ("device", "batch_size") if settings[name] is not None]):
        flag = f"--{given[0].replace('_', '-')}"
        raise InputError("vLLM chooses its devices and batches itself", got=flag, remedy=f"leave {flag} out")
    if workers and not ray:
        raise InputError("there are no workers without Ray", got="--workers", remedy="name a cluster with --ray")
    corpus, model = read_training_data(training_data_dir, min_examples=1), _model(settings)
    if not ray:  # the model may be on its machines only
        _check(settings, model, activations_dir)
    with ExitStack() as stack:
        lens: Lens | RayModel | VllmModel
        if ray:
            lens = stack.enter_context(_load_ray(console, model, engine, ray, workers))
        else:
            lens = load(console, model) if engine != "vllm" else stack.enter_context(_load_vllm(console, model))
        from amygdala_tl.api.capture import capture as run

        progress = stack.enter_context(capture_progress(notes(error=True)))
        store, summary = run(corpus, lens, activations_dir, progress=progress, **settings)
    if as_json:
        print_json({"activations": store.folder, **asdict(summary)})
    else:
        printer().print(capture_line(summary))
        notes().print(file_list({"activations": store.folder}))


@options.of(FIT)
def fit(
    training_data_dir: options.TrainingData,
    activations_dir: Annotated[str, typer.Option(help="Folder or URL from `capture`.")],
    output: options.Output,
    target_layers: options.CapturedLayers = None,
    verdicts: options.Verdicts = True,
    as_json: options.Json = False,
    **settings: Any,
) -> None:
    """Compute directions from captured activations and write a readout, without running a model."""
    from amygdala_tl.activations.store import ActivationStore
    from amygdala_tl.api.fit import fit as run
    from amygdala_tl.api.train import judged
    from amygdala_tl.readout.bundle import outputs

    check_outputs(outputs(output))
    console = printer(error=as_json)
    corpus = read_training_data(training_data_dir, min_examples=settings["min_examples"])
    store = ActivationStore.find(activations_dir)
    readout = run(corpus, store, layers=target_layers, **settings)
    show_result(console, readout)
    if verdicts:
        with ExitStack() as bar:

            def show(result: "StageResult") -> None:
                bar.close()
                show_result(console, result)

            readout = judged(readout, corpus, store, show, bar.enter_context(judging_progress(notes(error=True))))
    readout.save(output)
    _show_files(readout, _files(output, readout), as_json)


def export(
    readout: Annotated[
        Path,
        typer.Option(
            "--readout",
            "--fit-file",
            help="Readout from `fit` or `train`, a control vector (.gguf), arrays (.npy, .npz), or hf://owner/name.",
        ),
    ],
    output: Annotated[
        Path, typer.Option(help="File to write: .safetensors for a bundle, .gguf for a control vector of llama.cpp.")
    ],
    concept: Annotated[
        str | None, typer.Option(help="Keep this concept only; a control vector has one.", show_default="all")
    ] = None,
    only_readable: OnlyReadable = False,
    model: options.ModelOption = None,
    as_json: options.Json = False,
) -> None:
    """Write a readout again: some of its concepts, or one of them for llama.cpp."""
    from amygdala_tl.readout.formats import files_of
    from amygdala_tl.readout.hub import on_disk
    from amygdala_tl.readout.record import load_readout

    readout = on_disk(readout)
    check_outputs(files_of(output), files_of(readout))
    if model is not None and output.suffix != ".gguf":
        raise InputError("a bundle is written without the model", got="--model", remedy="leave --model out")
    bundle = load_readout(readout)
    bundle = bundle.only_readable() if only_readable else bundle
    if named := named_concepts([concept or ""], bundle.concepts):
        bundle = bundle.of_concepts(named)
    if output.suffix == ".gguf":
        from amygdala_tl.api.export import export as write

        write(bundle, output, model)
        _show_files(bundle, {"control vector": output}, as_json)
    else:
        bundle.save(output)
        _show_files(bundle, _files(output, bundle), as_json)
        if (trained_on := bundle.provenance.model) is not None:
            leads = trained_on.id == MODEL.model or "/" in trained_on.id  # else it is a folder's name without its path
            show_serving(notes(error=as_json), output, trained_on.id if leads else "MODEL")


def _show_files(readout: "Readout", files: Mapping[str, object], as_json: bool) -> None:
    if as_json:
        print_json(readout_document(readout, files))
    else:
        notes().print(file_list(files))


def run_train(
    console: Console,
    stages: Stages,
    training_data_dir: Path,
    output: Path,
    *,
    model: ModelSettings = MODEL,
    activations_dir: str | Path,
    min_examples: int = FIT.min_examples,
    only_readable: bool = False,
    **settings: Any,
) -> "Lens":
    """Load the model, train with keywords of the verb, write the readout, and show each stage's result; returns the model.

    With `only_readable`, concepts with another verdict are not written.
    """
    from amygdala_tl.readout.bundle import outputs

    said = notes(error=console.stderr)
    check_outputs(outputs(output))
    corpus = read_training_data(training_data_dir, min_examples=min_examples)
    if "layouts" in corpus.parameters:  # `extract` has shown the others
        for line in corpus_notices(corpus):
            console.print(line)
    _check(settings, model, activations_dir)
    with stages("load model"):
        lens = load(said, model)
    from amygdala_tl.api.train import train as run

    bars = ExitStack()

    def show(result: "StageResult") -> None:
        bars.close()  # of the stage that has ended
        stages.ended(result)
        show_result(console, result)

    stages.begin()
    settings |= {"min_examples": min_examples, "activations_dir": activations_dir, "on_result": show}
    with bars:
        progress = bars.enter_context(capture_progress(notes(error=True)))
        judging = from_first_call(bars, lambda: judging_progress(notes(error=True)))
        readout = run(corpus, lens, progress=progress, judging=judging, **settings)
    if only_readable:
        trained, readout = readout, readout.only_readable()
        said.print(f"{len(readout.concepts)} of {len(trained.concepts)} concepts are readable; the others are left out")
    readout.save(output)
    said.print(file_list({**_files(output, readout), "activations": activations_dir}))
    show_serving(said, output, lens.source)
    return lens


def _check(settings: Mapping[str, Any], model: ModelSettings, activations_dir: str | Path) -> None:
    """Refuse unknown layers, aggregators and denoisers, and a store in a checkpoint, before the model is loaded."""
    from amygdala_tl.directions.method import requested_methods
    from amygdala_tl.lens.checkpoints import count_layers
    from amygdala_tl.lens.hooks import parse_layers

    names = (settings.get(each, getattr(FIT, each)) for each in ("aggregator", "denoise", "labels", "read_position"))
    requested_methods(*names)
    keep_out_of_models(Path(activations_dir), activations_dir)
    if (layers := settings.get("layers", CAPTURE.layers)) != AUTO:
        n_layers = count_layers(model.model, revision=model.revision, trust_remote_code=model.trust_remote_code)
        parse_layers(layers, n_layers)


def _one_corpus(console: Console, sources: list[Path], output: Path, min_examples: int) -> Path:
    """Return the only source, or the folder beside the output in which several are joined."""
    if len(sources) == 1:
        return sources[0]
    folder = output.with_suffix(".corpus")
    read = [*sources, *(source / name for source in sources for name in OUTPUTS)]
    check_outputs({folder / name: kind for name, kind in OUTPUTS.items()}, read)
    corpus = read_several(sources, min_examples=min_examples)
    write_corpus(corpus, folder)
    for line in corpus_notices(corpus):
        console.print(line)
    console.print(file_list({"corpus": folder}))
    return folder


def load(console: Console, settings: ModelSettings) -> "Lens":
    """Load a model and print its name."""
    with console.status("loading the model"):
        from amygdala_tl.lens.model import load_model

        keywords = asdict(settings)
        lens = load_model(keywords.pop("model"), **keywords)
    console.print(model_line(lens.info))
    return lens


def _load_vllm(console: Console, settings: ModelSettings) -> "VllmModel":
    """Start vLLM, and print the model's name."""
    with console.status("starting vLLM"):
        from amygdala_tl.api.load_vllm import load_vllm

        keywords = asdict(settings)
        del keywords["device"]
        model = load_vllm(keywords.pop("model"), **keywords)
    console.print(model_line(model.info))
    return model


def _load_ray(
    console: Console, settings: ModelSettings, engine: CaptureEngine, address: str, workers: int | None
) -> "RayModel":
    """Load a model in Ray's workers, and print its name and their number."""
    with console.status("loading the model in Ray"):
        from amygdala_tl.api.load_ray import load_ray

        keywords = asdict(settings)
        if engine == "vllm":
            del keywords["device"]
        model = load_ray(keywords.pop("model"), address=address, workers=workers, engine=engine, **keywords)
    console.print(model_line(model.info))
    console.print(f"{model.workers} workers")
    return model


def _model(settings: dict[str, Any]) -> ModelSettings:
    """Take the settings of the model out of a command's settings."""
    return ModelSettings(**{field.name: settings.pop(field.name) for field in fields(ModelSettings)})


def _files(output: Path, readout: "Readout") -> dict[str, object]:
    from amygdala_tl.readout.bundle import write_path

    write = {} if readout.write_vectors is None else {"write vectors": write_path(output)}
    return {"vectors": output, **write, "manifest": output.with_suffix(".json")}
