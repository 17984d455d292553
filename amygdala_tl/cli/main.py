"""The program `amygdala-tl`: its commands and exit codes.

Exit codes: 0 for success; 1 for a check that ran and failed; 2 for invalid input, reported as one error message.
"""

import logging
import os
import sys
import warnings
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.text import Text

from amygdala_tl.cli.demo import demo
from amygdala_tl.cli.diagnose import crosstalk, evaluate, layers, quality, report
from amygdala_tl.cli.extract import extract
from amygdala_tl.cli.inspect import inspect
from amygdala_tl.cli.read import read
from amygdala_tl.cli.steer import ablation_run, compare, steer
from amygdala_tl.cli.train import capture, export, fit, train
from amygdala_tl.cli.verify import verify
from amygdala_tl.cli.watch import watch
from amygdala_tl.errors import AmygdalaError

app = typer.Typer(
    help="Emotion readouts from a model's own notes: memory graph -> corpus -> activations -> directions -> readout.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for command in (
    extract, train, read, inspect, report, quality, evaluate, crosstalk, layers, steer, ablation_run, compare, verify,
    watch, capture, fit, export, demo,
):  # fmt: skip
    app.command()(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an `AmygdalaError` becomes one message and exit code 2.

    Args:
        arguments: what follows `amygdala-tl`; the arguments of the process if None.
    """
    # Users cannot act on deprecations and progress of libraries; our own warnings stay.
    for library in ("transformers", "huggingface_hub"):
        logging.getLogger(library).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        app(arguments)
    except AmygdalaError as error:
        Console(stderr=True, highlight=False).print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
        sys.exit(2)
    except BrokenPipeError:  # the reader of our output, for example `head`, has finished
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    main()
