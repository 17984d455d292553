"""`layers`, `evaluate`, `crosstalk`, `quality`, `report`: what can be believed of a readout."""

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from amygdala_tl.cli import options
from amygdala_tl.cli.inputs import corpus_of, store_of
from amygdala_tl.corpus.folders import read_training_data
from amygdala_tl.errors import CorpusError, InputError
from amygdala_tl.files import make_folder
from amygdala_tl.records import Corpus

if TYPE_CHECKING:
    from amygdala_tl.activations.store import ActivationStore
    from amygdala_tl.diagnostics.records import Diagnosis
    from amygdala_tl.lens.model import Lens
    from amygdala_tl.records import Fit
    from amygdala_tl.steering.stored import StoredRun

Norms = Annotated[Path | None, typer.Option(help="CSV with columns word, valence, arousal (or any other numbers).")]


def layers(
    training_data_dir: options.TrainingData,
    activations_dir: Annotated[Path, typer.Option(help="From `capture` or `train`.")],
    target_layers: Annotated[
        str | None, typer.Option(help="As in `capture`.", show_default="all layers captured")
    ] = None,
    slots: Annotated[int, typer.Option(min=1, help="How many layers to choose.")] = options.LAYER_SLOTS,
    aggregator: options.Aggregator = "auto",
    denoise: options.Denoise = "",
    read_position: options.ReadPositionOption = "pooled",
    min_examples: options.MinExamples = options.MIN_EXAMPLES,
) -> None:
    """Compare captured layers on folds of the training texts, and choose the best few."""
    from amygdala_tl.activations.store import ActivationStore
    from amygdala_tl.diagnostics.separation import best_layers
    from amygdala_tl.pipeline.layers import compare_layers
    from amygdala_tl.report.tables import layer_table

    separation = compare_layers(
        read_training_data(training_data_dir, min_examples=min_examples),
        ActivationStore.find(activations_dir),
        layers=target_layers,
        aggregator=aggregator,
        denoise=denoise,
        read_position=read_position,
        min_examples=min_examples,
    )
    chosen = best_layers(separation, slots)
    console = Console(highlight=False)
    console.print(layer_table(separation, chosen))
    console.print(f"--target-layers {','.join(map(str, chosen))}")


def evaluate(
    data: Annotated[
        Path, typer.Option(help="Texts: a folder, or a .jsonl, .tsv or .txt file (see README, 'Other texts').")
    ],
    readout: options.ReadoutFile = Path("readout.safetensors"),
    training_data_dir: Annotated[
        Path | None, typer.Option(help="The training corpus: adds the bag of words, trained on it.")
    ] = None,
    activations_dir: options.ActivationsDir = None,
    passages: Annotated[int, typer.Option(min=1, help="For unlabelled texts: show this many a side.")] = 3,
    model: options.ModelOption = None,
) -> None:
    """Judge a readout on other texts, or on the held-out ones of its own corpus: AUROC with intervals and nulls, or the strongest
    and weakest passages."""
    from amygdala_tl.corpus.evaluation_data import of_corpus, read_evaluation_data

    texts = read_evaluation_data(data)
    fit = _fit(readout)
    if data.is_dir() and (own := _own_corpus(data, fit)) is not None:
        texts = of_corpus(own, "heldout")
    loaded = _fit_and_model(readout, model)[1]
    from amygdala_tl.pipeline.other_texts import evaluate_texts, extreme_passages
    from amygdala_tl.report.tables import evaluation_table, passages_table

    console = Console(highlight=False)
    if not texts.labels:
        console.print(passages_table(extreme_passages(texts, fit, loaded, passages)))
        return
    trained_on = None
    if training_data_dir is not None:
        corpus = corpus_of(training_data_dir, fit)
        trained_on = (corpus, store_of(activations_dir, readout, fit))
    console.print(evaluation_table(evaluate_texts(texts, fit, loaded, trained_on=trained_on)))


def crosstalk(
    training_data_dir: options.TrainingData,
    readout: options.ReadoutFile = Path("readout.safetensors"),
    activations_dir: options.ActivationsDir = None,
    layer: Annotated[int | None, typer.Option(help="One layer.", show_default="all of the readout's")] = None,
    warnings: Annotated[int, typer.Option(min=0, help="Show at most this many entangled pairs a layer.")] = 10,
) -> None:
    """Show how much each readout answers to other concepts, and which pairs are no independent axes."""
    from amygdala_tl.pipeline.diagnose import Diagnoser
    from amygdala_tl.pipeline.select import fit_of
    from amygdala_tl.readout.bundle import load_readout
    from amygdala_tl.report.tables import crosstalk_table

    fit = fit_of(load_readout(readout))
    if layer is not None and layer not in fit.layers:
        raise InputError(
            "the bundle does not have the layer",
            got=layer,
            need=", ".join(map(str, fit.layers)),
            remedy="change --layer",
        )
    diagnoser = Diagnoser(corpus_of(training_data_dir, fit), store_of(activations_dir, readout, fit), fit)
    console = Console(highlight=False)
    for column, index in enumerate(fit.layers):
        if layer in (None, index):
            console.print(crosstalk_table(diagnoser.crosstalk(column), warnings))


def quality(
    training_data_dir: options.TrainingData,
    readout: options.ReadoutFile = Path("readout.safetensors"),
    activations_dir: options.ActivationsDir = None,
    concepts: Annotated[str | None, typer.Option(help="Comma-separated; all details of these.")] = None,
    model: options.ModelOption = None,
) -> None:
    """Judge every concept on held-out groups; with --concepts, say all that is known of some: outliers, neurons, tokens."""
    from amygdala_tl.pipeline.select import named_concepts

    fit = _fit(readout)
    wanted = named_concepts((concepts or "").split(","), fit.concepts)
    from amygdala_tl.pipeline.diagnose import diagnose
    from amygdala_tl.report.diagnosis import diagnosis_summary
    from amygdala_tl.report.tables import concept_details

    corpus, store = corpus_of(training_data_dir, fit), store_of(activations_dir, readout, fit)
    found = diagnose(corpus, store, fit, model=_fit_and_model(readout, model)[1] if wanted else None)
    console = Console(highlight=False)
    if not wanted:
        console.print(diagnosis_summary(found))
    for each in found.quality:
        if each.concept in wanted:
            console.print(concept_details(each))


def report(
    training_data_dir: options.TrainingData,
    readout: options.ReadoutFile = Path("readout.safetensors"),
    activations_dir: options.ActivationsDir = None,
    out: Annotated[Path, typer.Option(help="The page, one file.")] = Path("report.html"),
    norms: Norms = None,
    steering: Annotated[
        Path | None, typer.Option(help="Results folder of `steer` or `ablation-run`: adds what the directions cause.")
    ] = None,
    model: options.ModelOption = None,
) -> None:
    """Write one self-contained HTML page with all diagnostics, and their short form here."""
    words = None if norms is None else read_norms(norms)
    run = None if steering is None else _run(steering)
    fit = _fit(readout)
    corpus, store = corpus_of(training_data_dir, fit), store_of(activations_dir, readout, fit)
    make_folder(out.parent)
    loaded = _fit_and_model(readout, model)[1]
    from amygdala_tl.report.diagnosis import diagnosis_summary

    console = Console(highlight=False)
    console.print(diagnosis_summary(run_report(console, corpus, store, fit, loaded, out, words, run)))


def run_report(
    console: Console,
    corpus: Corpus,
    store: "ActivationStore",
    fit: "Fit",
    loaded: "Lens",
    out: Path,
    norms: dict[str, dict[str, float]] | None = None,
    steering: "StoredRun | None" = None,
) -> "Diagnosis":
    """Diagnose, write the page, and say where it is."""
    from amygdala_tl.pipeline.diagnose import diagnose
    from amygdala_tl.report.page import write_report
    from amygdala_tl.report.summaries import file_list

    with console.status("diagnosing"):
        found = diagnose(corpus, store, fit, model=loaded, norms=norms)
        write_report(found, out, steering)
    console.print(file_list({"report": out}))
    return found


def read_norms(path: Path) -> dict[str, dict[str, float]]:
    """Name of a norm -> word -> value, of a CSV file whose first column is the word.

    Raises:
        InputError: the file cannot be read, or a value is no number.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as cause:
        raise InputError("cannot be read", label=str(path), got=str(cause), remedy="check --norms") from cause
    if not rows or "word" not in rows[0] or len(rows[0]) < 2:
        raise InputError("has no norms", label=str(path), need="columns word, valence, arousal", remedy="check --norms")
    try:
        norms = {
            name: {row["word"]: float(row[name]) for row in rows if row[name] not in (None, "")}
            for name in rows[0]
            if name not in ("word", None)
        }
    except (ValueError, TypeError) as cause:
        raise InputError("a norm is no number", label=str(path), got=str(cause), remedy="check --norms") from cause
    for name, values in norms.items():
        for word, value in values.items():
            if not math.isfinite(value):  # float() reads `nan` and `inf`
                raise InputError(
                    "a norm is no number", label=str(path), got=f"{name} {value} of {word}", remedy="check --norms"
                )
    return norms


def _run(folder: Path) -> "StoredRun":
    from amygdala_tl.pipeline.runs import read_run

    return read_run(folder)


def _fit(readout: Path) -> "Fit":
    from amygdala_tl.pipeline.select import fit_of
    from amygdala_tl.readout.bundle import load_readout

    return fit_of(load_readout(readout))


def _own_corpus(data: Path, fit: "Fit") -> Corpus | None:
    """The corpus in `data`, if it is the one that the readout was trained on."""
    try:
        return corpus_of(data, fit)
    except (CorpusError, InputError):
        return None


def _fit_and_model(readout: Path, model: str | None) -> "tuple[Fit, Lens]":
    from amygdala_tl.pipeline.select import fit_of
    from amygdala_tl.readout.bundle import load_readout

    bundle = load_readout(readout)
    fit = fit_of(bundle)
    from amygdala_tl.pipeline.score import model_of  # brings the model's libraries: mistakes come first

    return fit, model_of(bundle, model)
