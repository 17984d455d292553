"""`steer`: the causal check of directions."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from msgspec.structs import replace
from rich.console import Console
from rich.rule import Rule

from amygdala_tl.cli import options
from amygdala_tl.cli.inputs import training_data
from amygdala_tl.cli.printer import print_error, printer
from amygdala_tl.errors import InputError
from amygdala_tl.settings import OUTPUT
from amygdala_tl.steering.settings import (
    ABLATION,
    ABLATION_PLACES,
    DEFAULTS,
    ERASE_METHODS,
    FEWEST,
    MOST,
    SETTINGS,
    SETTINGS_FILE,
    AblationSettings,
    CheckSettings,
    ReadoutSettings,
    RunSettings,
    SteeringSettings,
    check_settings,
    read_settings,
    write_settings,
)

if TYPE_CHECKING:
    from amygdala_tl.readout.record import Readout
    from amygdala_tl.steering.results import SteeringRun

READOUT = Path("readout.safetensors")

Name = TypeVar("Name", bound=str)

_DOES = {"reads only": "is only read", "neither": "does not steer"}


@options.of(OUTPUT)
def steer(
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML file with all settings, including several seeds; cannot be combined with other settings."
        ),
    ] = None,
    readout: Annotated[
        Path | None, typer.Option(help="The bundle's .safetensors file.", show_default=str(READOUT))
    ] = None,
    concepts: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated concepts to test; effects are against the words of all concepts of the readout.",
            show_default="all concepts of the readout",
        ),
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="Layers to add directions at.", show_default="all layers of the readout")
    ] = None,
    doses: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated doses, in units of the mean residual norm.",
            show_default=",".join(f"{dose:g}" for dose in DEFAULTS.doses),
        ),
    ] = None,
    random: Annotated[
        int | None,
        typer.Option(
            min=3, max=MOST, help="Number of random directions of each of two kinds.", show_default=str(DEFAULTS.random)
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MOST,
            help="Number of generations for each concept, prompt and dose.",
            show_default=str(DEFAULTS.samples),
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(help="Results folder, new or of the same settings; what it has is not measured again."),
    ] = Path("steering"),
    ablate: Annotated[
        str | None,
        typer.Option(
            help="Where to remove concepts from texts that carry them: at each layer, at all layers together, "
            "everywhere. Comma-separated; needs the training corpus.",
            show_default=",".join(ABLATION_PLACES),
        ),
    ] = None,
    erase: Annotated[
        str | None,
        typer.Option(
            help="How to remove concepts: leace (least-squares erasure), project (the direction that steers), mean (the "
            "difference of class means) or flip (exchange the classes). Several side by side: comma-separated.",
            show_default=",".join(ABLATION.erase),
        ),
    ] = None,
    probe_texts: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MOST,
            help="Texts of each class and concept to fit new probes on, where it has been removed; 0 for no probes.",
            show_default=str(ABLATION.probe_texts),
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Exit with 1 unless all tested concepts steer, or those of `[check]` in the settings file."
        ),
    ] = False,
    training_data_dir: Annotated[
        Path | None,
        typer.Option(help="Training corpus: adds shuffled labels, readouts of other texts, and ablation."),
    ] = None,
    activations_dir: options.ActivationsDir = None,
    words: Annotated[
        Path | None,
        typer.Option(
            help="JSON file, concept -> list of its words, instead of the words in the package. A concept in neither is "
            "tested with its name as the only word."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Seed of random directions, folds, intervals and generations.",
            show_default=str(DEFAULTS.seeds[0]),
        ),
    ] = None,
    model: options.ModelOption = None,
) -> None:
    """Check what each direction causes: add it, remove it, and compare with random directions."""
    given = _given(
        readout=readout, concepts=concepts, layers=layers, doses=doses, random=random, samples=samples, ablate=ablate,
        erase=erase, probe_texts=probe_texts,
        training_data_dir=training_data_dir, activations_dir=activations_dir, words=words, seed=seed, model=model,
    )  # fmt: skip
    if config is None:
        settings = RunSettings(
            ReadoutSettings(str(readout or READOUT), **_given(corpus=training_data_dir, activations=activations_dir)),
            model,
            SteeringSettings(
                **_given(
                    concepts=None if concepts is None else tuple(name for name in concepts.split(",") if name.strip()),
                    layers=layers,
                    doses=None if doses is None else _doses(doses),
                    random=random,
                    seeds=None if seed is None else (seed,),
                    samples=samples,
                    words=words,
                )
            ),
            AblationSettings(
                **_given(
                    layers=None if ablate is None else _named(ablate, ABLATION_PLACES, "--ablate"),
                    erase=None if erase is None else _named(erase, ERASE_METHODS, "--erase"),
                    probe_texts=probe_texts,
                )
            ),
            CheckSettings() if check else None,
        )
        run = run_settings(settings, out, seed=settings.steering.seeds[0])
    elif given:
        raise InputError(
            "--config holds all settings", got=f"--{next(iter(given)).replace('_', '-')} beside it",
            remedy="write the setting into the file, or leave out --config",
        )  # fmt: skip
    else:
        settings = read_settings(config)
        if check and settings.check is None:
            settings = replace(settings, check=CheckSettings())
        run = run_settings(settings, out, config=config)
    _gate(settings, run)


@options.of(OUTPUT)
def ablation_run(
    config: Annotated[Path, typer.Argument(help="TOML file with all settings.")],
    out: Annotated[Path, typer.Option(help="Results folder; what it has is not measured again.")] = Path(
        "ablation-run"
    ),
) -> None:
    """Run `steer --config`, under its older name."""
    settings = read_settings(config)
    _gate(settings, run_settings(settings, out, config=config))


def run_settings(
    settings: RunSettings, out: Path, *, seed: int | None = None, config: Path | None = None
) -> "SteeringRun":
    """Run a check, write its folder, and show what it found.

    Args:
        settings: with absolute paths, or paths from here.
        out: results folder.
        seed: the only one, with its report in the folder itself; the settings' seeds if None.
        config: the file that the settings come from; it is not written again.
    """
    from amygdala_tl.steering.words import read_words

    steering, source = settings.steering, settings.readout
    _check_outputs(settings, out, [""] if seed is not None else [f"seed-{each}" for each in steering.seeds])
    check_settings(settings, out)
    words = None if steering.words is None else read_words(Path(steering.words))
    console = printer()
    file = Path(source.file) if source.file is not None else _trained(console, settings, out)
    from amygdala_tl.readout.record import load_readout

    readout = load_readout(file)
    _check_plan(readout, settings)
    corpus = store = None
    if source.corpus is not None:
        corpus, store = training_data(readout, file, Path(source.corpus), source.activations)
    from amygdala_tl.api.models import lens_of
    from amygdala_tl.api.steer import steer as run
    from amygdala_tl.files import make_folder, same_file
    from amygdala_tl.report.page import write_steering_page
    from amygdala_tl.report.progress import steering_progress

    lens = lens_of(readout, settings.model)
    make_folder(out, private=True)
    if config is None or not same_file(config, out / SETTINGS_FILE):
        write_settings(settings, out)
    with steering_progress(console) as progress:
        found = run(
            readout,
            lens,
            corpus=corpus,
            store=store,
            concepts=steering.concepts,
            layers=steering.layers,
            doses=steering.doses,
            random=steering.random,
            ablate=settings.ablation.layers,
            erase=settings.ablation.erase,
            probe_texts=settings.ablation.probe_texts,
            words=words,
            samples=steering.samples,
            seeds=steering.seeds if seed is None else seed,
            out=out,
            progress=progress,
        )
    write_steering_page(found, out / "report.html")
    _show(console, found, out)
    return found


def _check_outputs(settings: RunSettings, out: Path, places: Sequence[str]) -> None:
    """Find a file in the way of a result before hours of work."""
    from amygdala_tl.files import check_outputs
    from amygdala_tl.readout import bundle
    from amygdala_tl.report.page import PAGE
    from amygdala_tl.steering import results

    source, words = settings.readout, settings.steering.words
    written = results.outputs(out, places) | {out / SETTINGS_FILE: SETTINGS, out / "report.html": PAGE}
    read: list[str | Path | None] = [words]
    if source.file is None:
        written |= bundle.outputs(out / "readout.safetensors")
    else:
        read += [source.file, Path(source.file).with_suffix(".json")]
    check_outputs(written, read)


def _check_plan(readout: "Readout", settings: RunSettings) -> None:
    """Find mistakes before a model is loaded, as far as the readout says how many layers its model has."""
    from amygdala_tl.names import named_concepts
    from amygdala_tl.steering.plan import make_plan

    model, steering = readout.provenance.model, settings.steering
    if settings.check is not None:
        named_concepts(settings.check.concepts, readout.concepts)
        if steering.random < FEWEST:
            raise InputError(
                "a check with so few random directions cannot pass", got=steering.random, need=f"{FEWEST} or more",
                remedy="raise random, or leave the check out",
            )  # fmt: skip
    if model is not None:
        make_plan(
            readout, model.n_layers, concepts=steering.concepts, layers=steering.layers, doses=steering.doses,
            random=steering.random,
        )  # fmt: skip


def _gate(settings: RunSettings, run: "SteeringRun") -> None:
    """End with 1 if a concept that must steer does not."""
    failed = () if settings.check is None else run.failed(settings.check.concepts)
    if failed:
        print_error(", ".join(f"{found.concept} {_DOES[found.verdict]}" for found in failed), what="check")
        raise typer.Exit(1)


def _show(console: Console, run: "SteeringRun", out: Path) -> None:
    from amygdala_tl.report.erasures import erasure_table
    from amygdala_tl.report.runs import summary_table
    from amygdala_tl.report.steering import steering_table, words_table
    from amygdala_tl.report.summaries import file_list

    several = len(run.reports) > 1
    for report in run.reports:
        if several:
            console.print(Rule(f"seed {report.plan.seed}", align="left"))
        console.print(steering_table(report, wide=console.width >= 110))
        if (erasures := erasure_table(report)) is not None:
            console.print(erasures)
    if several:
        console.print(Rule("all seeds", align="left"))
        console.print(summary_table(run.reports))
    console.print(words_table(run))
    files = ("report.json", "samples.jsonl", "config.toml", "summary.tsv", "results.jsonl", "report.html")
    names = ("numbers", "samples", "settings", "summary", "results", "report")
    console.print(
        file_list({name: out / file for name, file in zip(names, files, strict=True) if (out / file).exists()})
    )


def _trained(console: Console, settings: RunSettings, out: Path) -> Path:
    """Train a readout into the results folder; texts that have run do not run again."""
    from amygdala_tl.cli.stages import Stages
    from amygdala_tl.cli.train import run_train
    from amygdala_tl.corpus.loader import read_training_data
    from amygdala_tl.directions.method import requested_methods
    from amygdala_tl.names import named_concepts
    from amygdala_tl.settings import FIT, ModelSettings

    source = settings.readout
    assert source.corpus is not None
    requested_methods(source.aggregator, source.denoise, FIT.labels, FIT.read_position)
    corpus = read_training_data(Path(source.corpus), min_examples=FIT.min_examples)
    named_concepts(settings.steering.concepts, corpus.concepts)  # mistakes come before the model
    console.print(Rule("train", align="left"))
    output, layers = out / "readout.safetensors", source.target_layers
    run_train(
        console,
        Stages(),
        Path(source.corpus),
        output,
        model=ModelSettings(settings.model or "embedded"),
        activations_dir=source.activations or out / "activations",
        layers=layers if isinstance(layers, str) else ",".join(map(str, layers)),
        aggregator=source.aggregator,
        denoise=source.denoise,
        labels=source.labels,
    )
    return output


def _given(**options: Any) -> dict[str, Any]:
    """Return the options that the user gave, paths as texts."""
    given = {name: value for name, value in options.items() if value is not None}
    return {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}


def _named(text: str, known: tuple[Name, ...], option: str) -> tuple[Name, ...]:
    """Read a comma-separated list of known names."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if unknown := [part for part in parts if part not in known]:
        raise InputError("no such name", got=unknown[0], need=", ".join(known), remedy=f"change {option}")
    return tuple(name for name in known if name in parts)


def _doses(text: str) -> tuple[float, ...]:
    try:
        return SteeringSettings(doses=tuple(float(part) for part in text.split(",") if part.strip())).doses
    except ValueError as cause:
        raise InputError(
            "no doses to check", got=text, need="for example 0,0.1,0.4", remedy="change --doses"
        ) from cause
