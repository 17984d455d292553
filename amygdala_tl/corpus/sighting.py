"""`Sighting`: a text in one place with the labels that it has there; and everything that a source holds."""

from collections.abc import Collection
from dataclasses import dataclass, field

from amygdala_tl.corpus.reasons import Tally


@dataclass(frozen=True, slots=True)
class Sighting:
    """One text in one place, before texts that come twice are merged.

    Attributes:
        text: stripped.
        place: the file, with the line where it has one, or the index in a list.
        group: what dependent texts share (a day, a scene, a conversation), or None.
        positive: its labels, folded.
        negative: labels that it is said not to have.
        complete: whether it lacks every label that `positive` does not name. A text without labels and without this is neutral.
    """

    text: str
    place: str
    group: str | None = None
    positive: Collection[str] = ()
    negative: Collection[str] = ()
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """The texts of a file, a folder or a list.

    Attributes:
        sightings: in the order of the source.
        concepts: names of all labels, also of those without texts.
        layouts: how the source was read.
        tally: what was left out while reading.
        notices: how something with two meanings was read.
        columns: the fields beside the text of a table without labels, for an error message.
    """

    sightings: list[Sighting]
    concepts: frozenset[str]
    layouts: tuple[str, ...]
    tally: Tally = field(default_factory=Tally)
    notices: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
