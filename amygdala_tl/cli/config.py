"""`amygdala.toml`: defaults of options, for all commands and for each; and `config`, which shows them.

    model = "Qwen/Qwen3-4B"
    training_data_dir = "corpus"
    readout = "readout.safetensors"

    [train]
    output = "readout.safetensors"
    target_layers = [10, 14, 18]

A key is called like its option, with `_` for `-`. Keys in front hold for every command that has the option, those of a table for
the command that it is called like. What the command line says comes first. Paths are relative to the file.
"""

import os
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
import typer

from amygdala_tl.cli import options
from amygdala_tl.cli.printer import print_json, printer
from amygdala_tl.decode import convert, decode
from amygdala_tl.errors import InputError
from amygdala_tl.files import read_file
from amygdala_tl.report.grid import UNKNOWN, grid

FILE = "amygdala.toml"
VARIABLE = "AMYGDALA_TL_CONFIG"

SHARED = (
    "activations_dir", "chat_template", "dtype", "max_tokens", "min_examples", "model", "read_position", "readout", "revision",
    "seed", "shared", "target_layers", "training_data_dir",
)  # fmt: skip
"""Options that mean the same in every command that has them."""

_OWN = {"export": ("model",)}  # it takes a model for a control vector only
_COMMAND_LINE_ONLY = ("trust_remote_code",)  # a folder from elsewhere must not be able to run code
_REMEDY = "correct the file"

Words = str | int | float | list[str | int | float]


@dataclass(frozen=True, slots=True)
class Config:
    """A settings file, read.

    Attributes:
        path: of the file; None if there is none.
        values: command -> parameter -> value, as the command line would have it.
        commands: command of typer, by its name.
    """

    path: Path | None = None
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    commands: Mapping[str, Any] = field(default_factory=dict)


CURRENT: ContextVar[Config] = ContextVar("CURRENT", default=Config())  # noqa: B039  # it never changes
"""The settings file of the command that runs."""

GIVEN: ContextVar[frozenset[str]] = ContextVar("GIVEN", default=frozenset())
"""Parameters of this command that its user gave on the command line."""


def read_config(named: Path | None, commands: Mapping[str, Any]) -> Config:
    """Read a settings file: the one that is named, else `amygdala.toml` of the working folder if it is there.

    Args:
        named: path of the file.
        commands: command of typer, by its name.

    Raises:
        InputError: the file cannot be read, a key or a table is unknown, or a value does not fit.
    """
    path = Path(FILE) if named is None else named
    if named is None and not path.exists():
        return Config(commands=commands)
    data = read_file(path, remedy="check --config-file", most=16 << 20)
    said = decode(data, dict[str, Any], label=str(path), remedy=_REMEDY, format="toml")
    tables = {name: value for name, value in said.items() if isinstance(value, dict)}
    shared = {name.replace("-", "_"): value for name, value in said.items() if name not in tables}
    keys = {name: _keys(command) for name, command in commands.items()}
    if named is None:
        for table in (said, *tables.values()):
            _check_addresses(table)
    for key in shared:
        if key not in SHARED and (of := [f"[{name}]" for name, own in keys.items() if key in own]):
            what, remedy = "the key belongs in the table of a command", f"write it under {' or '.join(of)}"
            raise InputError(what, label=str(path), got=key, remedy=remedy)
    _check_known(path, "", shared, SHARED, [*SHARED, *commands])
    _check_known(path, "", tables, commands, [*SHARED, *commands])
    values = {}
    for name, own in keys.items():
        table = {key.replace("-", "_"): value for key, value in tables.get(name, {}).items()}
        _check_known(path, name, table, own, list(own))
        usual = {key: shared[key] for key in shared if key in own and key not in _OWN.get(name, ())}
        values[name] = _of_command(path, "", usual, own) | _of_command(path, name, table, own)
    return Config(path, values, commands)


def config(
    command: Annotated[
        str | None, typer.Argument(help="Show all options of this command.", show_default="what the file sets")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Show which settings hold without options on the command line, and where they come from."""
    found = CURRENT.get()
    commands = found.commands
    if command is not None and command not in commands:
        raise _unknown("no such command", command, None, list(commands), "name a command")
    rows = []
    for name in commands if command is None else [command]:
        for parameter in _parameters(commands[name]).values():
            value, source = found.values.get(name, {}).get(parameter.name), str(found.path)
            if value is None:
                value, source = _default(parameter), "default"
            if command is not None or source != "default":
                rows.append((name, parameter.opts[0], value, source))
    if as_json:
        keys = ("command", "option", "value", "from")
        print_json({"file": found.path, "options": [dict(zip(keys, row, strict=True)) for row in rows]})
        return
    if not rows:
        printer().print(f"{found.path} sets no option" if found.path else f"there is no {FILE} here", soft_wrap=True)
        return
    table = grid(["command", "option", "value", "from"])
    for name, option, value, source in rows:
        table.add_row(name, option, _shown(value), source)
    printer().print(table)


def _parameters(command: Any) -> dict[str, Any]:
    """Return the parameters that a settings file may set, by their keys."""
    found = {each.opts[0].lstrip("-").replace("-", "_"): each for each in command.params}
    return {key: each for key, each in found.items() if key not in ("help", *_COMMAND_LINE_ONLY)}


def _keys(command: Any) -> dict[str, tuple[str, Any]]:
    """Key -> name of the parameter, and its type in Python."""
    types = signature(command.callback).parameters
    return {
        key: (each.name, _plain(types[each.name].annotation))
        for key, each in _parameters(command).items()
        if each.name in types
    }


def _plain(annotation: Any) -> Any:
    """Take help and the None of a default off an annotation."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if isinstance(annotation, UnionType):
        (annotation,) = (each for each in get_args(annotation) if each is not type(None))
    return annotation


def _of_command(path: Path, table: str, said: Mapping[str, Any], keys: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
    """Check the types of values, and return parameter -> value with paths that lead there from here."""
    types: list[tuple[str, Any, Any]] = [(key, _in_file(keys[key][1]), msgspec.UNSET) for key in said]
    label = f"{path}, [{table}]" if table else str(path)
    made = convert(said, msgspec.defstruct("Table", types), label=label, remedy=_REMEDY)
    return {keys[key][0]: _as_given(path, key, getattr(made, key), keys[key][1]) for key in said}


def _in_file(kind: Any) -> Any:
    """Type in the file of an option's type."""
    if kind in (bool, int, float) or get_origin(kind) is Literal:
        return kind
    if kind is Path:
        return str
    return str | list[str] if get_origin(kind) is list else Words


def _as_given(path: Path, key: str, value: Any, kind: Any) -> Any:
    """Return a value as the command line would have it."""
    if get_origin(kind) is list:
        (of,) = get_args(kind)
        return [_as_given(path, key, each, of) for each in ([value] if isinstance(value, str) else value)]
    if kind is Path or (key == "activations_dir" and "://" not in str(value)):
        return _from_here(path, str(value))
    if key == "model" and value != "embedded":
        there = _from_here(path, str(value))
        return there if os.path.exists(there) else str(value)
    if kind is str:
        return ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return value


def _from_here(path: Path, place: str) -> str:
    """Return a path that is relative to the file's folder as one that leads there from the working folder."""
    folder, place = os.path.dirname(path), place if place == "-" else os.path.expanduser(place)
    return place if not folder or place == "-" else os.path.normpath(os.path.join(folder, place))


def _check_known(path: Path, table: str, said: Mapping[str, Any], known: Any, near: list[str]) -> None:
    for key in said:
        if key in known:
            continue
        if key in _COMMAND_LINE_ONLY:
            raise InputError("a file cannot set this", label=str(path), got=key, remedy="give it on the command line")
        where = f"{path}, [{table}]" if table else str(path)
        raise _unknown("unknown key", key, where, near, _REMEDY)


def _check_addresses(said: Mapping[str, Any]) -> None:
    """Refuse addresses, where notes and tokens of the environment go, in a file that may have come with the folder."""
    for key, value in said.items():
        values = value if isinstance(value, list) else [value]
        if key == "ray" or any(isinstance(each, str) and "://" in each for each in values):
            what, remedy = "a file that nobody named cannot set an address", f"run with --config-file {FILE}"
            raise InputError(what, label=FILE, got=key, remedy=f"{remedy}, or give it on the command line")


def _unknown(what: str, got: str, label: str | None, known: list[str], remedy: str) -> InputError:
    near = get_close_matches(got, known, 1)
    return InputError(what, label=label, got=got, need=near[0] if near else ", ".join(sorted(known)), remedy=remedy)


def _default(parameter: Any) -> Any:
    """Return what holds without the option; a word for it where it is not a plain value."""
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    value = parameter.default
    return str(value) if isinstance(value, Path) else value


def _shown(value: Any) -> str:
    if value is None or value == "":
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
