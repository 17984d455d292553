"""The file that a validation run is repeated from: TOML to checked settings, and settings back to TOML.

Everything that can be wrong in the file is found here, before a model is loaded. Paths in it are relative to its folder.
"""

import json
import math
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from amygdala_tl.errors import InputError

Labels = Literal["classes", "graded"]

AblationPlaces = ("each", "together", "everywhere")

TRAINING = ("target_layers", "aggregator", "denoise", "labels")
"""Keys of [readout] that say how one is trained: not beside `file`."""


@dataclass(frozen=True, slots=True)
class ReadoutSource:
    """An existing bundle, or what to train one from.

    Attributes:
        file: the bundle; None: one is trained of `corpus`.
        corpus: training corpus; with a bundle it adds shuffled labels, readouts of other texts, and ablation.
        activations: of the corpus; None: beside the bundle.
        target_layers, aggregator, denoise, labels: as in `train`.
    """

    file: Path | None = None
    corpus: Path | None = None
    activations: Path | None = None
    target_layers: str = "0.35,0.5,0.65,0.8"
    aggregator: str = "auto"
    denoise: str = ""
    labels: Labels = "classes"


@dataclass(frozen=True, slots=True)
class SteeringSettings:
    """What is added, where, how much, and beside how many controls.

    Attributes:
        concepts: names; all of the readout's if empty.
        layers: as in `steer --layers`; all of the readout's if empty.
        doses: in units of the mean residual norm.
        random: random directions of each of two kinds.
        seeds: the check is repeated with each: other random directions, shuffled labels, halves and generations.
        samples: generations a concept, prompt and dose.
        words: JSON file, concept -> its words.
    """

    concepts: tuple[str, ...] = ()
    layers: str = ""
    doses: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.4)
    random: int = 20
    seeds: tuple[int, ...] = (0,)
    samples: int = 0
    words: Path | None = None


@dataclass(frozen=True, slots=True)
class AblationSettings:
    """Where directions are taken out of texts that carry their concept.

    Attributes:
        layers: `each` alone, all of them `together`, `everywhere` in the model; nowhere if empty.
    """

    layers: tuple[str, ...] = AblationPlaces


@dataclass(frozen=True, slots=True)
class RunConfig:
    """A whole validation.

    Attributes:
        model: what names it; None: as the readout's manifest says, or `embedded` for one that is trained.
        readout, steering, ablation: the tables of the file.
    """

    model: str | None = None
    readout: ReadoutSource = field(default_factory=ReadoutSource)
    steering: SteeringSettings = field(default_factory=SteeringSettings)
    ablation: AblationSettings = field(default_factory=AblationSettings)


def read_run_config(path: Path) -> RunConfig:
    """Settings of a file, with all paths absolute.

    Raises:
        InputError: it cannot be read, a key is unknown, a value of the wrong type, or a file that it names is missing.
    """
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as cause:
        raise InputError("cannot be read", label=str(path), got=str(cause), remedy="check the file") from cause
    checked = _Checked(path)
    model = checked.value("model", read.pop("model", None), _text, None)
    readout = checked.table("readout", read.pop("readout", {}), _READOUT)
    steering = checked.table("steering", read.pop("steering", {}), _STEERING)
    ablation = checked.table("ablation", read.pop("ablation", {}), _ABLATION)
    if read:
        raise checked.wrong("no such key", next(iter(read)), need="model, [readout], [steering], [ablation]")
    config = RunConfig(model, ReadoutSource(**readout), SteeringSettings(**steering), AblationSettings(**ablation))
    if config.readout.file is None and config.readout.corpus is None:
        raise checked.wrong("no readout", "readout", need="`file`, or `corpus` to train one from")
    if config.readout.file is not None and (given := [key for key in TRAINING if key in readout]):
        raise checked.wrong(
            "says how to train, beside a readout that is trained", f"readout.{given[0]}", need="no `file`"
        )
    return config


def run_config_text(config: RunConfig, folder: Path) -> str:
    """The settings as TOML, defaults spelled out, with paths relative to `folder`, so that it can be run from there."""

    def written(value: Any) -> str:
        if isinstance(value, Path):
            return _quoted(os.path.relpath(value, folder.resolve()))
        if isinstance(value, tuple):
            return f"[{', '.join(map(written, value))}]"
        return _quoted(value) if isinstance(value, str) else repr(value)

    lines = [] if config.model is None else [f"model = {_model_text(config.model, folder)}"]
    for name, table in (("readout", config.readout), ("steering", config.steering), ("ablation", config.ablation)):
        without = TRAINING if name == "readout" and config.readout.file is not None else ()
        rows = {part.name: getattr(table, part.name) for part in fields(table) if part.name not in without}
        lines += ["", f"[{name}]", *(f"{key} = {written(value)}" for key, value in rows.items() if value is not None)]
    return "\n".join(lines).lstrip("\n") + "\n"


def _model_text(model: str, folder: Path) -> str:
    """A model that is a path is written as one; a hub id or `embedded` as it is."""
    return _quoted(os.path.relpath(model, folder.resolve()) if os.path.isabs(model) else model)


def _quoted(text: str) -> str:
    # A JSON string is a TOML string, but for DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


Reader = Callable[[Any, Path], Any]
"""(value, folder of the file) -> setting; ValueError, with what is needed, if it is none."""


class _Checked:
    """Values of one file, with messages that name it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def value(self, key: str, value: Any, read: Reader, default: Any) -> Any:
        if value is None:
            return default
        try:
            return read(value, self.path.resolve().parent)
        except FileNotFoundError as missing:
            raise self.wrong("there is no such file", key, got=missing.args[0], need="a path from this file") from None
        except ValueError as need:
            raise self.wrong("has a wrong value", key, got=repr(value), need=str(need)) from None

    def table(self, name: str, values: Any, readers: Mapping[str, Reader]) -> dict[str, Any]:
        if not isinstance(values, dict):
            raise self.wrong("has a wrong value", name, got=repr(values), need="a table")
        if unknown := [key for key in values if key not in readers]:
            raise self.wrong("no such key", f"{name}.{unknown[0]}", need=", ".join(readers))
        return {key: self.value(f"{name}.{key}", value, readers[key], None) for key, value in values.items()}

    def wrong(self, what: str, key: str, *, need: str, got: str | None = None) -> InputError:
        return InputError(what, label=f"{self.path}: {key}", got=got, need=need, remedy="change the file")


def _text(value: Any, folder: Path) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text")
    # A checkpoint folder or a .gguf file is found from this file, as all paths are; anything else is a name.
    return str(folder / value) if value != "embedded" and (folder / value).exists() else value


def _plain_text(value: Any, _: Path) -> str:
    if not isinstance(value, str):
        raise ValueError("a text")
    return value


def _file(value: Any, folder: Path) -> Path:
    path = _path(value, folder)
    if not path.is_file():
        raise FileNotFoundError(str(path))
    return path


def _folder(value: Any, folder: Path) -> Path:
    path = _path(value, folder)
    if not path.is_dir():
        raise FileNotFoundError(str(path))
    return path


def _path(value: Any, folder: Path) -> Path:
    if not isinstance(value, str) or not value:
        raise ValueError("a path")
    return Path(os.path.normpath(folder / value))


def _labels(value: Any, _: Path) -> str:
    if value not in get_args(Labels):
        raise ValueError("classes or graded")
    return str(value)


def _names(value: Any, _: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and name.strip() for name in value):
        raise ValueError('a list of names, for example ["joy", "grief"]')
    return tuple(value)


def _layers(value: Any, _: Path) -> str:
    numbers = isinstance(value, list) and all(_is_number(layer) for layer in value)
    if not numbers and not isinstance(value, str):
        raise ValueError("a list of layers, for example [14, 19], or a text as --layers takes it")
    return value if isinstance(value, str) else ",".join(map(str, value))


def _doses(value: Any, _: Path) -> tuple[float, ...]:
    fine = isinstance(value, list) and all(_is_number(dose) and 0 <= dose < math.inf for dose in value)
    if not fine or not any(value):
        raise ValueError("a list of numbers above 0, for example [0, 0.1, 0.4]")
    return tuple(float(dose) for dose in value)


def _seeds(value: Any, folder: Path) -> tuple[int, ...]:
    if not isinstance(value, list) or not value or len(set(map(str, value))) < len(value):
        raise ValueError("a list of different whole numbers, for example [0, 1, 2]")
    return tuple(_count(0)(seed, folder) for seed in value)


def _places(value: Any, _: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(place in AblationPlaces for place in value):
        raise ValueError(f"a list of {', '.join(AblationPlaces)}")
    return tuple(dict.fromkeys(value))


def _count(least: int) -> Reader:
    def read(value: Any, _: Path) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"a whole number from {least} on")
        return value

    return read


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_READOUT: Mapping[str, Reader] = {
    "file": _file,
    "corpus": _folder,
    "activations": _folder,
    "target_layers": _layers,
    "aggregator": _plain_text,
    "denoise": _plain_text,
    "labels": _labels,
}
_STEERING: Mapping[str, Reader] = {
    "concepts": _names,
    "layers": _layers,
    "doses": _doses,
    "random": _count(3),
    "seeds": _seeds,
    "samples": _count(0),
    "words": _file,
}
_ABLATION: Mapping[str, Reader] = {"layers": _places}
