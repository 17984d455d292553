"""One run of `steer`, from its settings to its folder and its tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.rule import Rule

from amygdala_tl.cli.documents import run_document
from amygdala_tl.cli.inputs import training_data
from amygdala_tl.cli.printer import notes, print_error, print_json, printer
from amygdala_tl.errors import InputError
from amygdala_tl.steering.settings import FEWEST, SETTINGS, SETTINGS_FILE, RunSettings, check_settings, write_settings

if TYPE_CHECKING:
    from amygdala_tl.activations.store import ActivationStore
    from amygdala_tl.corpus.record import Corpus
    from amygdala_tl.readout.record import Readout
    from amygdala_tl.steering.results import SteeringRun

_DOES = {"reads only": "is only read", "neither": "does not steer"}


def run_settings(
    settings: RunSettings,
    out: Path,
    *,
    seed: int | None = None,
    config: Path | None = None,
    as_json: bool = False,
) -> "SteeringRun":
    """Run a check, write its folder, and show what it found.

    Args:
        settings: with absolute paths, or paths from here.
        out: results folder.
        seed: the only one, with its report in the folder itself; the settings' seeds if None.
        config: the file that the settings come from; it is not written again.
        as_json: print one JSON document instead of tables.
    """
    from amygdala_tl.steering.words import read_words

    steering, source = settings.steering, settings.readout
    _check_outputs(settings, out, [""] if seed is not None else [f"seed-{each}" for each in steering.seeds])
    check_settings(settings, out)
    words = None if steering.words is None else read_words(Path(steering.words))
    console = notes(error=as_json)
    file = Path(source.file) if source.file is not None else _trained(console, settings, out)
    from amygdala_tl.readout.record import load_readout

    readout = load_readout(file)
    _check_plan(readout, settings)
    corpus = store = None
    if source.corpus is not None:
        corpus, store = _training_data(console, readout, file, settings, out, again=config is not None)
    from amygdala_tl.api.models import lens_of
    from amygdala_tl.api.steer import steer as run
    from amygdala_tl.cli.archive import archived
    from amygdala_tl.files import make_folder, same_file
    from amygdala_tl.report.page import write_steering_page
    from amygdala_tl.report.progress import steering_progress
    from amygdala_tl.report.summaries import file_list

    lens = lens_of(readout, settings.model)
    make_folder(out, private=True)
    if config is None or not same_file(config, out / SETTINGS_FILE):
        write_settings(archived(settings, corpus, out), out)
    with steering_progress(notes(error=True)) as progress:
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
    if as_json:
        print_json(run_document(found, _files(out)))
    else:
        _show(printer(), found)
        notes().print(file_list(_files(out)))
    return found


def _training_data(
    console: Console, readout: "Readout", file: Path, settings: RunSettings, out: Path, *, again: bool
) -> "tuple[Corpus, ActivationStore]":
    """Read the corpus and open its activations; where a settings file names some that are not here, compute them `again`."""
    source = settings.readout
    assert source.corpus is not None
    kept = source.activations
    if not again or kept is None or "://" in kept or Path(kept).exists():
        return training_data(readout, file, Path(source.corpus), kept)
    from amygdala_tl.api.capture import capture_again
    from amygdala_tl.api.inputs import corpus_of
    from amygdala_tl.api.models import lens_of
    from amygdala_tl.report.progress import capture_progress
    from amygdala_tl.report.summaries import capture_line

    corpus = corpus_of(readout, source.corpus)
    console.print(Rule("capture", align="left"))
    with capture_progress(notes(error=True)) as progress:
        store, summary = capture_again(readout, corpus, lens_of(readout, settings.model), out / "activations", progress)
    console.print(capture_line(summary))
    return corpus, store


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


def gate(settings: RunSettings, run: "SteeringRun") -> None:
    """End with 1 if a concept that must steer does not."""
    failed = () if settings.check is None else run.failed(settings.check.concepts)
    if failed:
        print_error(", ".join(f"{found.concept} {_DOES[found.verdict]}" for found in failed), what="check")
        raise typer.Exit(1)


def _show(console: Console, run: "SteeringRun") -> None:
    from amygdala_tl.report.erasures import erasure_table
    from amygdala_tl.report.runs import summary_table
    from amygdala_tl.report.steering import heard_table, steering_table, words_table

    several = len(run.reports) > 1
    for report in run.reports:
        if several:
            console.print(Rule(f"seed {report.plan.seed}", align="left"))
        console.print(steering_table(report, wide=console.width >= 110))
        if (erasures := erasure_table(report)) is not None:
            console.print(erasures)
        if (heard := heard_table(report)) is not None:
            console.print(heard)
    if several:
        console.print(Rule("all seeds", align="left"))
        console.print(summary_table(run.reports))
    console.print(words_table(run))


def _files(out: Path) -> dict[str, Path]:
    """Files of the results that are there."""
    files = ("report.json", "samples.jsonl", "config.toml", "summary.tsv", "results.jsonl", "report.html")
    names = ("numbers", "samples", "settings", "summary", "results", "report")
    return {name: out / file for name, file in zip(names, files, strict=True) if (out / file).exists()}


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
