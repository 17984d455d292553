"""Rules of alerts: a concept, a threshold and a window, written as text or in an `alerts.toml`.

    grief>3@window=64            z of the last 64 tokens' mean, over all layers, above 3
    grief>3@window=64@layer=14   the same at layer 14

    [[alert]]
    concept = "grief"
    above = 3.0
    window = 64

Both become `Rule` by the same decoder.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from amygdala_tl.decode import convert, decode
from amygdala_tl.errors import InputError, ReadoutError
from amygdala_tl.files import Kind, read_file
from amygdala_tl.kinds import text_with
from amygdala_tl.names import named_concepts
from amygdala_tl.readout.record import Readout
from amygdala_tl.readout.scale import Scale
from amygdala_tl.settings import ALERT

MOST_RULES, WIDEST = 256, 4096
ALERTS = Kind("a file of alerts", text_with(r"^\[\[alert\]\]"), private=False)
_LARGEST = 2**20  # bytes of such a file

_NEED = "CONCEPT>Z[@window=TOKENS][@layer=LAYER], such as grief>3@window=64"
_TEXT = re.compile(r"\s*([^>@]+?)\s*>\s*([^>@]+?)\s*((?:@\s*\w+\s*=[^@=]*)*)")
_REMEDY = "write it as in docs/alerts.md"


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A condition on the running mean of a concept's score.

    Attributes:
        concept: of the readout.
        above: threshold, in z of the mean of the window's tokens.
        window: number of tokens.
        layer: read this layer alone; None for the score over all layers.
    """

    concept: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    above: Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)]
    window: Annotated[int, msgspec.Meta(ge=1, le=WIDEST)] = ALERT.window
    layer: int | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.above):
            raise ValueError("the threshold is not a finite number")

    @property
    def least(self) -> int:
        """Tokens from which on the window counts, while a turn is shorter than it: a quarter of its width.

        A turn of 30 tokens is not missed then, and its first token alone, which varies most, decides nothing.
        """
        return math.ceil(self.window / 4)

    def __str__(self) -> str:
        """Return the rule as text, which `rule_of` reads."""
        above = repr(float(self.above)).removesuffix(".0")
        return f"{self.concept}>{above}@window={self.window}" + ("" if self.layer is None else f"@layer={self.layer}")


class _File(msgspec.Struct, forbid_unknown_fields=True):
    alert: Annotated[list[Rule], msgspec.Meta(min_length=1, max_length=MOST_RULES)]


def rule_of(text: str) -> Rule:
    """Read a rule; raises InputError if the text is none."""
    found = _TEXT.fullmatch(text)
    if found is None:
        raise InputError("not a rule of an alert", got=text, need=_NEED, remedy="write the rule so")
    said: dict[str, object] = {"concept": found[1], "above": _number(found[2])}
    for each in found[3].split("@")[1:]:
        name, value = (side.strip() for side in each.split("="))
        if name in said:
            raise InputError("a rule says the same twice", label=text, got=name, remedy="say it once")
        said[name] = _number(value)
    return convert(said, Rule, label=text, remedy=_REMEDY)


def rules_of_file(path: str | Path) -> tuple[Rule, ...]:
    """Read the rules in a TOML file; raises InputError if the file has none, or a rule is wrong."""
    data = read_file(path, remedy="name a file of alerts", most=_LARGEST)
    return tuple(decode(data, _File, label=str(path), remedy=_REMEDY, format="toml").alert)


def rules_of_text(said: str) -> tuple[Rule, ...]:
    """Read rules that are separated by commas, or the TOML file that `said` names; raises InputError."""
    if said.strip().endswith(".toml"):
        return rules_of_file(said.strip())
    return tuple(rule_of(each) for each in said.split(",") if each.strip())


def checked_rules(rules: Sequence[Rule], readout: Readout) -> tuple[Rule, ...]:
    """Return the rules, each once, with the readout's spelling of concepts.

    Raises:
        InputError: there are too many, or one names a concept or a layer that the readout does not have.
        ReadoutError: the readout has no z of single tokens, or none over all layers and a rule names no layer.
    """
    if len(rules) > MOST_RULES:
        raise InputError("too many alerts", got=len(rules), need=f"at most {MOST_RULES}", remedy="leave some out")
    found = []
    for rule in rules:
        (concept,) = named_concepts([rule.concept], readout.concepts)
        scale_of_rule(rule, readout)
        found.append(msgspec.structs.replace(rule, concept=concept))
    return tuple(dict.fromkeys(found))


def scale_of_rule(rule: Rule, readout: Readout) -> Scale:
    """Return the calibrations that turn a rule's score into z: those of the readout's layers, or of the sum over them.

    Raises:
        InputError: the readout does not have the layer.
        ReadoutError: the calibration is missing.
    """
    if rule.layer is not None:
        readout.column(rule.layer)
        scale = Scale(None, readout.token_calibration, readout.length_calibration)
    elif readout.combined is None:
        what, remedy = "the readout has no score over all layers", "name a layer in the rule (@layer=14)"
        raise ReadoutError(what, label=str(rule), remedy=remedy)
    else:
        scale = readout.combined.scale
    scale.of("tokens")
    return scale


def caution(rules: Sequence[Rule], readout: Readout) -> str | None:
    """Return what to know about thresholds of a readout without a calibration of lengths; None for others."""
    if all(rule.window == 1 or scale_of_rule(rule, readout).lengths is not None for rule in rules):
        return None
    return (
        "the readout does not say how means vary with the number of tokens: alerts measure a window's mean in deviations of "
        "single tokens, which it seldom exceeds; choose thresholds with `amygdala-tl thresholds`"
    )


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
