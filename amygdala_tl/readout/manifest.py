"""The manifest, `readout.json`, as a checked record: for those who load a bundle and those who ask a server for one.

This module imports no torch. Keys that this version does not know are ignored.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Literal

import msgspec

from amygdala_tl.decode import decode
from amygdala_tl.errors import ReadoutError
from amygdala_tl.readout.provenance import Provenance
from amygdala_tl.records import hook_name

FORMAT_VERSION: Literal[1] = 1

WRITE_ENDING: Literal[".write.safetensors"] = ".write.safetensors"

Positive = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Reach = Annotated[float, msgspec.Meta(ge=1)]
Index = Annotated[int, msgspec.Meta(ge=0)]
Size = Annotated[int, msgspec.Meta(gt=0)]


@dataclass(frozen=True, slots=True)
class CalibrationRows:
    """Mean and standard deviation of every score, [layer][concept], and the number of texts or tokens behind them."""

    mean: list[list[float]]
    std: list[list[Positive]]
    n: int


@dataclass(frozen=True, slots=True)
class LengthRows:
    """How scores of means over n tokens vary, see `records.LengthCalibration`: [layer][concept], and `reach` [layer]."""

    mean: list[list[float]]
    floor: list[list[Share]]
    reach: list[Reach]
    n: int


@dataclass(frozen=True, slots=True)
class Calibrations:
    """The calibrations: of whole texts at the read position, of single tokens, and of means over any number of tokens."""

    texts: CalibrationRows | None = None
    tokens: CalibrationRows | None = None
    lengths: LengthRows | None = None

    def check(self, n_layers: int, n_concepts: int, of: str) -> None:
        """Raise ValueError unless every table is finite and has these sizes."""
        for name, side in self.tables():
            if len(side) != n_layers or any(len(row) != n_concepts for row in side):
                raise ValueError(f"the calibration of {of}{name} has another shape than {n_layers} x {n_concepts}")
            if not all(map(math.isfinite, (value for row in side for value in row))):
                raise ValueError(f"the calibration of {of}{name} is not finite")
        if self.lengths is not None:
            if self.tokens is None:
                raise ValueError(f"the calibration of {of}lengths is relative to that of tokens, which is missing")
            if len(self.lengths.reach) != n_layers or not all(map(math.isfinite, self.lengths.reach)):
                raise ValueError(f"the calibration of {of}lengths has no finite reach for each of {n_layers} layers")

    def tables(self) -> Iterator[tuple[str, list[list[float]]]]:
        """Yield every table [layer][concept] after the name of its calibration."""
        for name, rows in (("texts", self.texts), ("tokens", self.tokens)):
            yield from () if rows is None else ((name, rows.mean), (name, rows.std))
        if self.lengths is not None:
            yield from (("lengths", self.lengths.mean), ("lengths", self.lengths.floor))


@dataclass(frozen=True, slots=True)
class CombinedRows:
    """The score over all layers: sum over layers of weight times raw score, and calibrations of the sum as of one layer.

    Attributes:
        weights: [layer][concept].
        calibration: as of a readout with one layer.
    """

    weights: list[list[float]]
    calibration: Calibrations = field(default_factory=Calibrations)

    def check(self, n_layers: int, n_concepts: int) -> None:
        """Raise ValueError unless weights and calibrations are finite and fit a readout of these sizes."""
        if len(self.weights) != n_layers or any(len(row) != n_concepts for row in self.weights):
            raise ValueError(f"`combined` has weights of another shape than {n_layers} x {n_concepts}")
        if not all(map(math.isfinite, (value for row in self.weights for value in row))):
            raise ValueError("`combined` has weights that are not finite")
        self.calibration.check(1, n_concepts, "combined ")


@dataclass(frozen=True, slots=True)
class WriteFile:
    """The file of the write vectors, beside that of the vectors: the end of its name, and the hash of the whole file."""

    sha256: str
    ending: Literal[".write.safetensors"] = WRITE_ENDING


@dataclass(frozen=True, slots=True)
class About(Provenance):
    """The `amygdala_tl` object of a manifest.

    Attributes:
        format_version: of this object.
        tensors_sha256: of the whole safetensors file.
        calibration: of the scores.
        combined: the score over all layers; None in old bundles.
        write: where the write vectors are; None for a readout without any.
    """

    format_version: Literal[1] | None = None
    tensors_sha256: str | None = None
    calibration: Calibrations = field(default_factory=Calibrations)
    combined: CombinedRows | None = None
    write: WriteFile | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What every reader knows, and what amygdala-tl says about it."""

    concepts: Annotated[list[str], msgspec.Meta(min_length=1)]
    layers: Annotated[list[Index], msgspec.Meta(min_length=1)]
    hidden_size: Size
    dtype: Literal["float16"]
    amygdala_tl: About = field(default_factory=About)

    def __post_init__(self) -> None:
        if len(set(self.concepts)) < len(self.concepts):
            raise ValueError("`concepts` names a concept twice")
        if sorted(set(self.layers)) != self.layers:
            raise ValueError("`layers` is not an ascending list of layer indices")
        shape = len(self.layers), len(self.concepts)
        self.amygdala_tl.calibration.check(*shape, "")
        if self.amygdala_tl.combined is not None:
            self.amygdala_tl.combined.check(*shape)
        golden = self.amygdala_tl.golden
        if golden is not None and len(golden.scores) != 4 * golden.n_tokens * shape[0] * shape[1]:
            raise ValueError(f"`golden` holds no {golden.n_tokens} x {shape[0]} x {shape[1]} scores")
        if golden is not None and len(golden.texts) != len(golden.ids):
            raise ValueError("`golden` has not as many texts as lists of token ids")

    @property
    def provenance(self) -> Provenance:
        """Where the vectors come from; a hook name is filled in for every layer that has none."""
        known = {each.name: getattr(self.amygdala_tl, each.name) for each in fields(Provenance)}
        hooks = {str(layer): hook_name(layer) for layer in self.layers} | dict(known.pop("hooks"))
        return Provenance(hooks=hooks, **known)


def read_manifest(data: bytes, label: str) -> Manifest:
    """Decode and check the bytes of a `readout.json`, called `label` in messages.

    Raises:
        ReadoutError: it does not fit; names the place.
    """
    return decode(data, Manifest, label=label, remedy="export the readout again", error=ReadoutError)


def manifest_json(manifest: Manifest) -> str:
    """Return the text of `readout.json`: the inverse of `read_manifest`."""
    about = asdict(manifest.amygdala_tl)
    head = {key: about.pop(key) for key in ("format_version", "tensors_sha256")}
    said = {**asdict(manifest), "amygdala_tl": {**head, **about}}
    # Verdicts come with NumPy's floats.
    return msgspec.json.format(msgspec.json.encode(said, enc_hook=float), indent=1).decode() + "\n"
