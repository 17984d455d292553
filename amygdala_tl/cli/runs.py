"""`ablation-run`: a whole validation from one file. `compare`: two results folders beside each other."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.rule import Rule

from amygdala_tl.cli.inputs import training_data
from amygdala_tl.cli.steer import read_words, run_steering
from amygdala_tl.corpus.folders import read_training_data
from amygdala_tl.pipeline.run_config import RunConfig, read_run_config, run_config_text
from amygdala_tl.records import Corpus
from amygdala_tl.settings import FIT


def ablation_run(
    config: Annotated[Path, typer.Argument(help="TOML file (see README, 'A validation from one file').")],
    out: Annotated[Path, typer.Option(help="Folder of results; what is there is not computed again.")] = Path(
        "ablation-run"
    ),
) -> None:
    """Repeat a whole validation from one file: train or take a readout, steer and ablate with every seed, sum up, draw."""
    settings = read_run_config(config)
    own_words = None if settings.steering.words is None else read_words(settings.steering.words)
    # A folder of texts is read as `train` does; with a readout it must be the corpus that it was trained on.
    corpus = None if settings.readout.file is not None else _corpus(settings)
    from amygdala_tl.files import atomic_write_text, make_folder
    from amygdala_tl.pipeline.runs import about_run, read_run, result_lines, summary_tsv, write_run
    from amygdala_tl.report.page import write_steering_page
    from amygdala_tl.report.runs import summary_table
    from amygdala_tl.report.summaries import file_list

    console = Console(highlight=False)
    readout = settings.readout.file or _trained(console, settings, corpus, out)
    from amygdala_tl.readout.bundle import load_readout

    bundle = load_readout(readout)
    fit, store = bundle, None
    if settings.readout.corpus is not None:
        corpus, store = training_data(bundle, readout, settings.readout.corpus, settings.readout.activations)
    from amygdala_tl.api.models import lens_of
    from amygdala_tl.pipeline.steer import make_plan, prepare_check
    from amygdala_tl.steering.journal import Journal

    steering = settings.steering
    check: dict[str, Any] = {
        "concepts": steering.concepts, "layers": steering.layers or None, "doses": steering.doses,
        "random": steering.random, "ablate": settings.ablation.layers,
    }  # fmt: skip
    make_plan(fit, **check)  # mistakes come before the model
    loaded = lens_of(bundle, settings.model)
    make_folder(out)
    atomic_write_text(out / "config.toml", run_config_text(settings, out))
    journal, reports = Journal(out / "blocks.jsonl"), []
    for seed in steering.seeds:
        prepared = prepare_check(
            fit, loaded, corpus=corpus, store=store, words=own_words, journal=journal, seed=seed, **check
        )
        folder = make_folder(out / f"seed-{seed}")
        console.print(Rule(f"seed {seed}", align="left"))
        reports.append(run_steering(console, prepared, steering.samples, folder))
    about = about_run(prepared, bundle, corpus)
    write_run(out, "ablation-run", about, {seed: f"seed-{seed}/report.json" for seed in steering.seeds})
    atomic_write_text(out / "results.jsonl", result_lines(reports))
    atomic_write_text(out / "summary.tsv", summary_tsv(reports))
    write_steering_page(read_run(out), out / "report.html")
    console.print(Rule("all seeds", align="left"))
    console.print(summary_table(reports))
    names = {"settings": "config.toml", "summary": "summary.tsv", "results": "results.jsonl", "report": "report.html"}
    console.print(file_list({name: out / file for name, file in names.items()}))


def compare(
    first: Annotated[Path, typer.Argument(help="Results folder of `steer` or `ablation-run`.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
    as_json: Annotated[bool, typer.Option("--json", help="All numbers, for programs.")] = False,
) -> None:
    """Hold two causal checks against each other: verdicts, effects with intervals of their difference, what was set otherwise."""
    from amygdala_tl.pipeline.runs import read_run
    from amygdala_tl.report.runs import comparison_table
    from amygdala_tl.steering.comparing import compare_runs

    found = compare_runs(read_run(first), read_run(second))
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        Console(highlight=False).print(comparison_table(found))


def _corpus(settings: RunConfig) -> Corpus:
    """What a readout is to be trained of, if the settings can be met with it."""
    from amygdala_tl.directions.method import AUTO, parse_method
    from amygdala_tl.names import named_concepts

    source = settings.readout
    assert source.corpus is not None
    corpus = read_training_data(source.corpus, min_examples=FIT.min_examples)
    if source.aggregator != AUTO:
        parse_method(source.aggregator, source.denoise)
    named_concepts(settings.steering.concepts, corpus.concepts)
    return corpus


def _trained(console: Console, settings: RunConfig, corpus: Corpus | None, out: Path) -> Path:
    """A readout in the results folder; texts that have been run are not run again."""
    from amygdala_tl.cli.stages import Stages
    from amygdala_tl.cli.train import run_train
    from amygdala_tl.files import make_folder
    from amygdala_tl.settings import ModelSettings

    source = settings.readout
    assert source.corpus is not None
    make_folder(out)
    console.print(Rule("train", align="left"))
    output = out / "readout.safetensors"
    run_train(
        console,
        Stages(),
        source.corpus,
        output,
        model=ModelSettings(settings.model or "embedded"),
        activations_dir=source.activations or out / "activations",
        layers=source.target_layers,
        aggregator=source.aggregator,
        denoise=source.denoise,
        labels=source.labels,
    )
    return output
