"""Settings of a causal check, with their defaults, and the TOML file that holds them.

    model = "embedded"
    [readout]
    file = "readout.safetensors"
    corpus = "corpus"
    [steering]
    layers = [14, 19]
    seeds = [0, 1, 2]
    [ablation]
    layers = ["each", "everywhere"]
    [check]
    concepts = ["anxiety"]

Paths are relative to the file's folder.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import tomli_w
from msgspec import Meta, Struct
from msgspec.structs import replace

from amygdala_tl.decode import decode
from amygdala_tl.errors import InputError
from amygdala_tl.files import Kind, atomic_write_text, read_file
from amygdala_tl.kinds import text_with
from amygdala_tl.names import fold_name
from amygdala_tl.settings import CAPTURE, FIT, LARGEST_SEED, Labels

AblationPlace = Literal["each", "together", "everywhere"]
"""Where concepts are taken out: at each layer of the plan alone, at all of them together, or everywhere. For `project` that is
every layer of the model, where one outside the plan takes the directions of the nearest layer in it. For the other methods it is
every layer with activations of the corpus."""

ABLATION_PLACES: tuple[AblationPlace, ...] = ("each", "together", "everywhere")

EraseMethod = Literal["leace", "project", "mean", "flip"]
"""How a concept is taken out (see `erasing`): least-squares erasure, the direction that steers projected out, the difference of
class means projected out, or both classes exchanged."""

ERASE_METHODS: tuple[EraseMethod, ...] = ("leace", "project", "mean", "flip")

Name = Annotated[str, Meta(pattern=r"\S")]
Layers = str | tuple[int | float, ...]
"""As `parse_layers` takes them: `"14,-1,0.5"`, `"all"`, or a list."""

FEWEST = 10
"""Fewest random directions of each kind with which an effect can be significant at 5% (see `significance`)."""

TRAINING = ("target_layers", "aggregator", "denoise", "labels")

REMEDY = "correct the file"

MOST = 1_000_000
"""Most random directions of a kind, and most generations of a prompt."""

SETTINGS = Kind("the settings of a causal check", text_with(r"^\[readout\]", r"^\[steering\]"))
SETTINGS_FILE = "config.toml"


class ReadoutSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A readout, or what to train one from.

    Attributes:
        file: the bundle; without it, a readout is trained on `corpus`.
        corpus: training corpus; beside `file` it adds shuffled labels, readouts of other texts, and ablation.
        activations: of the corpus; beside the readout if None.
        target_layers, aggregator, denoise, labels: as in `train`; not beside `file`.
    """

    file: Name | None = None
    corpus: Name | None = None
    activations: Name | None = None
    target_layers: Layers = CAPTURE.layers
    aggregator: str = FIT.aggregator
    denoise: str = FIT.denoise
    labels: Labels = FIT.labels

    @property
    def training(self) -> tuple[str, ...]:
        """Keys that say how to train, with a value other than the default."""
        default = ReadoutSettings()
        return tuple(key for key in TRAINING if getattr(self, key) != getattr(default, key))


class SteeringSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What is added, where, how much, and beside how many controls.

    Attributes:
        concepts: names; all of the readout if empty.
        layers: where directions are added; all layers of the readout if empty.
        doses: in units of the mean residual norm.
        random: random directions of each of two kinds.
        seeds: the check is repeated with each: other random directions, shuffled labels, halves and generations.
        samples: generations for each concept, prompt and dose.
        words: JSON file, concept -> its words.
    """

    concepts: tuple[Name, ...] = ()
    layers: Layers = ""
    doses: tuple[Annotated[float, Meta(ge=0)], ...] = (0.0, 0.05, 0.1, 0.2, 0.4)
    random: Annotated[int, Meta(ge=3, le=MOST)] = 100
    seeds: Annotated[tuple[Annotated[int, Meta(ge=0, le=LARGEST_SEED)], ...], Meta(min_length=1)] = (0,)
    samples: Annotated[int, Meta(ge=0, le=MOST)] = 0
    words: Name | None = None

    def __post_init__(self) -> None:
        if not any(self.doses) or not all(map(math.isfinite, self.doses)):
            raise ValueError("`doses` must hold finite numbers above 0, for example [0, 0.1, 0.4]")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("`seeds` must differ from each other, for example [0, 1, 2]")


DEFAULTS = SteeringSettings()


class AblationSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How concepts are taken out of the stream, and where.

    Attributes:
        layers: places; nowhere if empty.
        erase: methods, each measured beside the others. All but `project` are fitted on the corpus's activations.
        probe_texts: texts of each class, for each concept, that probes are fitted on and read; no probes if 0.
    """

    layers: tuple[AblationPlace, ...] = ABLATION_PLACES
    erase: Annotated[tuple[EraseMethod, ...], Meta(min_length=1)] = ("leace",)
    probe_texts: Annotated[int, Meta(ge=0, le=MOST)] = 40


ABLATION = AblationSettings()


class CheckSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Concepts that must steer: the command exits with 1 unless they do. All that are tested if empty."""

    concepts: tuple[Name, ...] = ()


class RunSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole causal check, as its TOML file says it.

    Attributes:
        readout, steering, ablation: the tables of the file.
        model: its name; the one in the readout's manifest if None, or `embedded` for a readout that is trained.
        check: what must steer; nothing if None.
    """

    readout: ReadoutSettings
    model: Name | None = None
    steering: SteeringSettings = SteeringSettings()
    ablation: AblationSettings = AblationSettings()
    check: CheckSettings | None = None

    def __post_init__(self) -> None:
        if self.readout.file is None and self.readout.corpus is None:
            raise ValueError("`readout` needs `file`, or `corpus` to train one on")
        if self.readout.file is not None and self.readout.training:
            raise ValueError(f"`readout.{self.readout.training[0]}` cannot be combined with `readout.file`")
        if self.check is not None and self.steering.concepts:
            tested = set(map(fold_name, self.steering.concepts))
            if untested := [name for name in self.check.concepts if fold_name(name) not in tested]:
                raise ValueError(f"`check.concepts` names {untested[0]}, which `steering.concepts` leaves out")


def read_settings(path: Path) -> RunSettings:
    """Read a settings file; its paths become absolute.

    Raises:
        InputError: it cannot be read, a key is unknown, a value does not fit, or a file that it names is missing.
    """
    found = _decoded(path)
    folder = path.resolve().parent
    for key, place in _paths(found):
        if key != "readout.activations" and not (folder / place).exists():  # activations can be computed again
            raise InputError("there is no such file", label=f"{path}: {key}", got=place, remedy=REMEDY)
    if found.model is not None and found.model != "embedded" and (folder / found.model).exists():
        found = replace(found, model=str(folder / found.model))
    return _with_paths(found, lambda place: os.path.normpath(folder / place))


def write_settings(settings: RunSettings, folder: Path) -> Path:
    """Write `config.toml` into `folder`: all settings, defaults included, with paths relative to it, but for the model's.

    Raises:
        StorageError: the disk refused.
    """
    values = msgspec.to_builtins(_relative(settings, folder))
    if settings.readout.file is not None:
        values["readout"] = {key: value for key, value in values["readout"].items() if key not in TRAINING}
    atomic_write_text(folder / SETTINGS_FILE, tomli_w.dumps(_without_none(values)), SETTINGS)
    return folder / SETTINGS_FILE


def check_settings(settings: RunSettings, folder: Path) -> None:
    """Refuse a results folder of other settings; `check` may differ, because it changes no number.

    Raises:
        InputError: `config.toml` in `folder` has other settings, or cannot be read.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return
    kept, wanted = (_flat(replace(each, check=None)) for each in (_decoded(path), _relative(settings, folder)))
    if other := [key for key in kept if kept[key] != wanted[key]]:
        raise InputError(
            "the folder holds the results of other settings", label=str(folder), got=f"another {', '.join(other)}",
            need="the same settings, or a folder of its own for each run", remedy="choose another folder",
        )  # fmt: skip


def _decoded(path: Path) -> RunSettings:
    data = read_file(path, remedy="check the path", most=16 << 20)
    return decode(data, RunSettings, label=str(path), remedy=REMEDY, format="toml")


def _relative(settings: RunSettings, folder: Path) -> RunSettings:
    """The settings with paths relative to `folder`; that of a model is absolute, because a moved folder leaves it behind."""

    def relative(place: str) -> str:
        return os.path.relpath(place, folder.resolve())

    if settings.model is not None and settings.model != "embedded" and os.path.exists(settings.model):
        settings = replace(settings, model=os.path.abspath(settings.model))
    return _with_paths(settings, relative)


def _flat(settings: RunSettings) -> dict[str, Any]:
    """Key as in the file -> value; of a path only whether there is one: hashes say whether files are the same."""
    settings = _with_paths(replace(settings, readout=replace(settings.readout, activations=None)), lambda _: "given")
    values = msgspec.to_builtins(settings)
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    inside = {f"{name}.{key}": value for name, table in tables.items() for key, value in table.items()}
    return {name: value for name, value in values.items() if name not in tables} | inside


def _paths(settings: RunSettings) -> Iterator[tuple[str, str]]:
    """(key, path) of every path that is given."""
    for name, keys in (("readout", ("file", "corpus", "activations")), ("steering", ("words",))):
        for key in keys:
            if (place := getattr(getattr(settings, name), key)) is not None:
                yield f"{name}.{key}", place


def _with_paths(settings: RunSettings, change: Any) -> RunSettings:
    changed: dict[str, dict[str, str]] = {"readout": {}, "steering": {}}
    for full, place in _paths(settings):
        name, key = full.split(".")
        changed[name][key] = change(place)
    return replace(settings, **{name: replace(getattr(settings, name), **keys) for name, keys in changed.items()})


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    """TOML has no null."""
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None
    }
