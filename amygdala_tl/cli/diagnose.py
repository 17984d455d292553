"""`layers`, `evaluate`, `crosstalk`, `quality`, `report`: how far to trust a readout."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from amygdala_tl.cli import options
from amygdala_tl.cli.documents import diagnosis_document
from amygdala_tl.cli.inputs import training_data
from amygdala_tl.cli.norms import read_norms
from amygdala_tl.cli.printer import notes, print_json, printer
from amygdala_tl.corpus.loader import read_training_data
from amygdala_tl.files import check_outputs, make_folder
from amygdala_tl.names import named_concepts
from amygdala_tl.report.progress import judging_progress, reading_progress
from amygdala_tl.report.summaries import corpus_notices, file_list
from amygdala_tl.settings import FIT, LAYERS, OUTPUT
from amygdala_tl.table_files import stacked, table_writer


@options.of(FIT, without=["labels"])
def layers(
    training_data_dir: options.TrainingData,
    activations_dir: Annotated[str, typer.Option(help="From `capture` or `train`.")],
    target_layers: options.CapturedLayers = None,
    slots: Annotated[int, typer.Option(min=1, help="Number of layers to choose.")] = LAYERS.slots,
    as_json: options.Json = False,
    **settings: Any,
) -> None:
    """Compare captured layers on folds of the training texts, and choose the best few."""
    from amygdala_tl.activations.store import ActivationStore
    from amygdala_tl.api.layers import compare_layers
    from amygdala_tl.diagnostics.separation import best_layers
    from amygdala_tl.report.tables import layer_table

    corpus = read_training_data(training_data_dir, min_examples=settings["min_examples"])
    separation = compare_layers(corpus, ActivationStore.find(activations_dir), layers=target_layers, **settings)
    chosen = best_layers(separation, slots)
    if as_json:
        print_json({"chosen": chosen, "separation": separation})
        return
    printer().print(layer_table(separation, chosen))
    printer().print(f"--target-layers {','.join(map(str, chosen))}")


def evaluate(
    data: Annotated[Path, typer.Option(help="Texts: a folder, or a .csv, .tsv, .jsonl, .json or .txt file.")],
    readout: options.ReadoutFile = options.READOUT,
    training_data_dir: Annotated[
        Path | None, typer.Option(help="Training corpus: adds a bag of words that is trained on it.")
    ] = None,
    activations_dir: options.ActivationsDir = None,
    passages: Annotated[
        int,
        typer.Option(min=1, help="For unlabelled texts, show this many of the strongest and of the weakest passages."),
    ] = 3,
    model: options.ModelOption = None,
    as_json: options.Json = False,
) -> None:
    """Judge a readout on other texts, or on the held-out ones of its own corpus.

    Labelled texts give AUROC with intervals and nulls, unlabelled ones the strongest and weakest passages.
    """
    from amygdala_tl.api import evaluate as verb
    from amygdala_tl.api.models import lens_of
    from amygdala_tl.readout.record import load_readout
    from amygdala_tl.report.tables import evaluation_table, passages_table

    bundle = load_readout(readout)
    texts = verb.evaluation_data(data, bundle)
    corpus, store = None, None
    if texts.sha256 != bundle.provenance.corpus_sha256:
        for line in corpus_notices(texts):
            notes(error=as_json).print(line)
    if not texts.concepts:
        bundle.calibration("texts")  # mistakes come before the model, which takes long
    if training_data_dir is not None:
        corpus, store = training_data(bundle, readout, training_data_dir, activations_dir)
    lens = lens_of(bundle, model)
    with reading_progress(notes(error=True), "evaluate") as progress:
        if texts.concepts:
            found = verb.evaluate(bundle, texts, lens, corpus=corpus, store=store, progress=progress)
            table: RenderableType = evaluation_table(found)
            document: dict[str, object] = {"evaluation": found}
        else:
            strongest = verb.passages(bundle, texts, lens, most=passages, progress=progress)
            table, document = passages_table(strongest), {"passages": strongest}
    if as_json:
        print_json(document)
    else:
        printer().print(table)


def crosstalk(
    training_data_dir: options.TrainingData,
    readout: options.ReadoutFile = options.READOUT,
    activations_dir: options.ActivationsDir = None,
    layer: Annotated[
        int | None, typer.Option(help="Show this layer only.", show_default="all layers of the readout")
    ] = None,
    warnings: Annotated[int, typer.Option(min=0, help="Show at most this many entangled pairs per layer.")] = 10,
    as_json: options.Json = False,
    output: options.Table = None,
) -> None:
    """Show how much each readout responds to other concepts, and which pairs are not independent axes."""
    from amygdala_tl.api.cross_talk import cross_talks
    from amygdala_tl.diagnostics.records import CrossTalk
    from amygdala_tl.readout.record import load_readout
    from amygdala_tl.report.tables import crosstalk_table

    write = table_writer(output, "a table of cross-talk", CrossTalk.KEYS, [readout, readout.with_suffix(".json")])
    bundle = load_readout(readout)
    wanted = bundle.layers if layer is None else [bundle.layers[bundle.column(layer)]]
    corpus, store = training_data(bundle, readout, training_data_dir, activations_dir)
    found = cross_talks(bundle, store, corpus, wanted)
    if write is not None:
        write(stacked(each.columns() for each in found))
    if as_json:
        print_json(found)
        return
    for each in found:
        printer().print(crosstalk_table(each, warnings))


def quality(
    training_data_dir: options.TrainingData,
    readout: options.ReadoutFile = options.READOUT,
    activations_dir: options.ActivationsDir = None,
    concepts: Annotated[str | None, typer.Option(help="Show all details of these comma-separated concepts.")] = None,
    model: options.ModelOption = None,
    as_json: options.Json = False,
    output: options.Table = None,
) -> None:
    """Judge each concept on texts that its directions were not fitted on; with --concepts, show outliers, neurons and tokens."""
    from amygdala_tl.readout.record import load_readout

    write = table_writer(output, "a table of verdicts", ["concept", "verdict"], [readout, readout.with_suffix(".json")])
    bundle = load_readout(readout)
    wanted = named_concepts((concepts or "").split(","), bundle.concepts)
    corpus, store = training_data(bundle, readout, training_data_dir, activations_dir)
    from amygdala_tl.api.judge import judge
    from amygdala_tl.api.models import lens_of
    from amygdala_tl.diagnostics.diagnose import verdicts_of
    from amygdala_tl.readout.provenance import Verdicts
    from amygdala_tl.report.diagnosis import diagnosis_summary
    from amygdala_tl.report.tables import concept_details

    lens = lens_of(bundle, model) if wanted else None
    with judging_progress(notes(error=True)) as progress:
        found = judge(bundle, corpus, store, lens, progress=progress)
    if write is not None:
        write(Verdicts(verdicts_of(found)).columns())
    if as_json:
        print_json(diagnosis_document(found, wanted))
        return
    if not wanted:
        printer().print(diagnosis_summary(found))
    for each in found.quality:
        if each.concept in wanted:
            printer().print(concept_details(each))


@options.of(OUTPUT)
def report(
    training_data_dir: options.TrainingData,
    readout: options.ReadoutFile = options.READOUT,
    activations_dir: options.ActivationsDir = None,
    out: Annotated[Path, typer.Option(help="Path of the page.")] = Path("report.html"),
    norms: Annotated[
        Path | None, typer.Option(help="CSV file with columns word, valence, arousal (or any other numbers).")
    ] = None,
    steering: Annotated[Path | None, typer.Option(help="Results folder of `steer`: adds the causal check.")] = None,
    plots: Annotated[
        Path | None,
        typer.Option(help="Folder for SVG files of verdicts, layers, cross-talk, lengths and --steering's."),
    ] = None,
    model: options.ModelOption = None,
    as_json: options.Json = False,
) -> None:
    """Write one self-contained HTML page with all diagnostics, and print a summary."""
    from amygdala_tl.report.page import PAGE, write_report

    read = [readout, readout.with_suffix(".json"), norms]
    check_outputs({out: PAGE}, read)
    words = None if norms is None else read_norms(norms)
    from amygdala_tl.readout.record import load_readout
    from amygdala_tl.steering.results import read_run

    run = None if steering is None else read_run(steering)
    bundle = load_readout(readout)
    files = {"report": out}
    if plots is not None:
        from amygdala_tl.report.plots import plot_files, write_plots
        from amygdala_tl.report.svg import FIGURE

        drawn = plot_files(bundle, plots, run)
        files |= drawn
        check_outputs(dict.fromkeys(drawn.values(), FIGURE), read)
    corpus, store = training_data(bundle, readout, training_data_dir, activations_dir)
    make_folder(out.parent)
    from amygdala_tl.api.judge import judge
    from amygdala_tl.api.models import lens_of
    from amygdala_tl.report.diagnosis import diagnosis_summary

    lens = lens_of(bundle, model)
    with judging_progress(notes(error=True)) as progress:
        found = judge(bundle, corpus, store, lens, norms=words, progress=progress)
    with notes(error=as_json).status("drawing"):
        write_report(found, out, run)
        if plots is not None:
            write_plots(found, plots, run)
    if as_json:
        print_json({**files, **diagnosis_document(found)})
    else:
        notes().print(file_list(files))
        printer().print(diagnosis_summary(found))
