"""`steer`: does adding a direction move what the model says, and does taking it out?"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from amygdala_tl.cli import options
from amygdala_tl.cli.inputs import training_data
from amygdala_tl.errors import InputError

if TYPE_CHECKING:
    from amygdala_tl.steering.check import SteeringCheck
    from amygdala_tl.steering.records import AblationPlace, SteeringReport


def steer(
    readout: options.ReadoutFile = Path("readout.safetensors"),
    concepts: Annotated[str | None, typer.Option(help="Comma-separated.", show_default="all of the readout's")] = None,
    layers: Annotated[
        str | None, typer.Option(help="Where to add: layers of the readout.", show_default="all of the readout's")
    ] = None,
    doses: Annotated[
        str, typer.Option(help="In units of the mean residual norm, comma-separated.")
    ] = "0,0.05,0.1,0.2,0.4",
    random: Annotated[int, typer.Option(min=3, help="Random directions of each of two kinds.")] = 20,
    samples: Annotated[int, typer.Option(min=0, help="Generations a concept, prompt and dose.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder of results; what is there is not computed again.")] = Path(
        "steering"
    ),
    ablate: Annotated[
        str,
        typer.Option(
            help="Where directions are taken out of texts that carry their concept: at each layer, at all of them together, "
            "everywhere in the model. Comma-separated; needs the training corpus."
        ),
    ] = "each,together,everywhere",
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if one of the concepts does not steer.")] = False,
    training_data_dir: Annotated[
        Path | None,
        typer.Option(help="The training corpus: adds shuffled labels, readouts of other texts, and ablation."),
    ] = None,
    activations_dir: options.ActivationsDir = None,
    words: Annotated[
        Path | None, typer.Option(help="JSON: concept -> list of its words, instead of those in the package.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of random directions, folds, intervals and generations.")] = 0,
    model: options.ModelOption = None,
) -> None:
    """Check what each direction causes: add it, take it out, beside random directions of the same length."""
    wanted = [name for name in (concepts or "").split(",") if name.strip()]
    amounts, own_words, places = _doses(doses), None if words is None else read_words(words), _places(ablate)
    from amygdala_tl.readout.bundle import load_readout

    bundle = load_readout(readout)
    fit, corpus, store = bundle, None, None
    if training_data_dir is not None:
        corpus, store = training_data(bundle, readout, training_data_dir, activations_dir)
    from amygdala_tl.api.models import lens_of
    from amygdala_tl.files import make_folder
    from amygdala_tl.pipeline.runs import REPORT_FILE, about_run, write_run
    from amygdala_tl.pipeline.steer import make_plan, prepare_check
    from amygdala_tl.steering.journal import Journal

    make_plan(fit, concepts=wanted, layers=layers, doses=amounts, random=random)  # mistakes come before the model
    make_folder(out)
    prepared = prepare_check(
        fit,
        lens_of(bundle, model),
        corpus=corpus,
        store=store,
        concepts=wanted,
        layers=layers,
        doses=amounts,
        random=random,
        ablate=places,
        words=own_words,
        journal=Journal(out / "blocks.jsonl"),
        seed=seed,
    )
    console = Console(highlight=False)
    report = run_steering(console, prepared, samples, out)
    write_run(out, "steer", about_run(prepared, bundle, corpus), {seed: REPORT_FILE})
    if check and any(found.verdict != "steers" for found in report.concepts):
        raise typer.Exit(1)


def run_steering(console: Console, prepared: "SteeringCheck", samples: int, out: Path) -> "SteeringReport":
    """Run a check with a progress bar, write its results into a folder, and show them."""
    from amygdala_tl.files import atomic_write_text
    from amygdala_tl.pipeline.steer import sample_report
    from amygdala_tl.report.progress import steering_progress
    from amygdala_tl.report.steering import steering_table
    from amygdala_tl.report.summaries import file_list

    with steering_progress(console) as progress:
        report = prepared.run(progress)
    atomic_write_text(out / "report.json", json.dumps(report.as_json(), indent=2) + "\n")
    console.print(steering_table(report, wide=console.width >= 110))
    files = {"report": out / "report.json"}
    if samples:
        with console.status("generating"):
            rows = sample_report(prepared, report, samples)
        lines = [json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows]
        atomic_write_text(out / "samples.jsonl", "".join(lines))
        files["samples"] = out / "samples.jsonl"
    console.print(file_list(files))
    return report


def read_words(path: Path) -> Mapping[str, list[str]]:
    """Concept -> its words, of a JSON file.

    Raises:
        InputError: it cannot be read, or is something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise InputError("cannot be read", label=str(path), got=str(cause), remedy="check --words") from cause
    fine = isinstance(found, dict) and all(
        isinstance(some, list) and some and all(isinstance(word, str) and word.strip() for word in some)
        for some in found.values()
    )
    if not fine:
        raise InputError(
            "is no word list", label=str(path), need='{"joy": ["happy", "joy"], ...}', remedy="check --words"
        )
    return {concept: [word.strip() for word in some] for concept, some in found.items()}


def _places(text: str) -> "list[AblationPlace]":
    from amygdala_tl.steering.records import ABLATION_PLACES

    named = [part.strip() for part in text.split(",") if part.strip()]
    if unknown := [name for name in named if name not in ABLATION_PLACES]:
        raise InputError("no such place", got=unknown[0], need=", ".join(ABLATION_PLACES), remedy="change --ablate")
    return [place for place in ABLATION_PLACES if place in named]


def _doses(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError as cause:
        raise InputError(
            "a dose is no number", got=text, need="for example 0,0.1,0.4", remedy="change --doses"
        ) from cause
