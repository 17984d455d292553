"""The commands of `amygdala-tl`, and the checks that every argument passes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from amygdala_tl.cli.compare import compare
from amygdala_tl.cli.config import CURRENT, FILE, GIVEN, VARIABLE, config, read_config
from amygdala_tl.cli.dashboard import dashboard
from amygdala_tl.cli.demo import demo
from amygdala_tl.cli.diagnose import crosstalk, evaluate, layers, quality, report
from amygdala_tl.cli.doctor import doctor
from amygdala_tl.cli.extract import extract
from amygdala_tl.cli.hub import pull, push
from amygdala_tl.cli.inspect import inspect
from amygdala_tl.cli.printer import notes, print_error, printer, set_up, set_volume
from amygdala_tl.cli.read import read
from amygdala_tl.cli.serve import serve
from amygdala_tl.cli.steer import ablation_run, steer
from amygdala_tl.cli.thresholds import thresholds
from amygdala_tl.cli.train import capture, export, fit, train
from amygdala_tl.cli.verify import verify
from amygdala_tl.cli.watch import watch
from amygdala_tl.errors import InputError
from amygdala_tl.settings import LARGEST_SEED
from amygdala_tl.show import shortened

PROGRAM = "amygdala-tl"

UsageError = typer.BadParameter.mro()[1]  # typer keeps its class of usage errors in a private module


class Command(TyperCommand):
    """A command that checks its arguments for what no stage can take, once they are parsed."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, and refuse numbers that are too large and texts that are not UTF-8."""
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            value = ctx.params.get(parameter.name)
            for each in value if isinstance(value, list | tuple) else [value]:
                _check(parameter.opts[0], each)
        GIVEN.set(frozenset(each.name for each in self.params if _source(ctx, each) == "COMMANDLINE"))
        if taken := [each.opts[0] for each in self.params if _source(ctx, each) == "DEFAULT_MAP"]:
            notes(error=True).print(f"from {CURRENT.get().path}: {', '.join(taken)}", soft_wrap=True)
        return rest


class Program(TyperGroup):
    """All commands, with defaults of their options from a settings file."""

    def invoke(self, ctx: Any) -> Any:
        """Read the settings file, then run the command."""
        set_volume(quiet=ctx.params["quiet"], verbose=ctx.params["verbose"])
        found = read_config(ctx.params["config_file"], self.commands)
        ctx.default_map = dict(found.values)
        CURRENT.set(found)
        return super().invoke(ctx)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands with what they do, on as many lines as that takes."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(limit=500)) for name, each in self.commands.items()])


app = typer.Typer(
    cls=Program,
    help="Emotion readouts from a model's own notes: memory graph -> corpus -> activations -> directions -> readout.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    extract, train, read, inspect, report, quality, evaluate, crosstalk, layers, steer, ablation_run, compare, verify,
    serve, watch, thresholds, dashboard, capture, fit, export, push, pull, demo, doctor, config,
):  # fmt: skip
    app.command(cls=Command)(command)


def _show_versions(wanted: bool) -> bool:
    if wanted:
        import platform
        from importlib import metadata

        found = [f"{name} {metadata.version(name)}" for name in (PROGRAM, "transformer-lens", "torch")]
        printer().print(", ".join([*found, f"Python {platform.python_version()}"]))
        raise typer.Exit
    return wanted


@app.callback()
def _program(
    config_file: Annotated[
        Path | None,
        typer.Option(
            help="TOML file with defaults of options; see `config`.",
            envvar=VARIABLE,
            show_default=f"{FILE}, if it is there",
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print results and errors only: no progress, no notes, no warnings.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print what libraries log and warn of, too.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show versions and exit.", is_eager=True, callback=_show_versions),
    ] = False,
) -> None:
    pass


def _source(context: Any, parameter: Any) -> str:
    """Return where a parameter's value is from: COMMANDLINE, DEFAULT_MAP (the settings file) or another name."""
    source = context.get_parameter_source(parameter.name)
    return "" if source is None else str(source.name)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; without arguments, show the help and return 2."""
    set_up()
    try:
        ended = app(list(arguments) or ["--help"], prog_name=PROGRAM, standalone_mode=False)
    except Exception as error:
        if not isinstance(error, UsageError):
            raise
        context = getattr(error, "ctx", None)
        path = PROGRAM if context is None else context.command_path
        said = shortened(error.format_message())  # type: ignore[attr-defined]  # a UsageError of click
        parameter = getattr(error, "param", None)
        if context is not None and parameter is not None and _source(context, parameter) == "DEFAULT_MAP":
            said = f"{CURRENT.get().path}: {said}"
        print_error(f"{said.rstrip('.')}. See `{path} --help`.")
        return 2
    if not arguments:
        return 2
    return ended if isinstance(ended, int) else 0


def _check(name: str, value: object) -> None:
    if isinstance(value, int) and abs(value) > LARGEST_SEED:
        what, need = "the number is too large", f"at most {LARGEST_SEED}"
        raise InputError(what, label=name, got=shortened(value, 40), need=need, remedy="choose a smaller one")
    if isinstance(value, str | Path) and "\0" in str(value):
        raise InputError("holds a NUL character", label=name, got=repr(str(value)), remedy="take it out")
    try:
        str("" if isinstance(value, Path) else value).encode()
    except UnicodeEncodeError as cause:
        raise InputError("is not UTF-8", label=name, got=value, remedy="write it in UTF-8") from cause
