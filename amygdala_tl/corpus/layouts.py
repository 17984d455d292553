"""The folder layouts that people already have, read as sightings: a text, its place, and its label there.

    <concept>/positive/*.txt and <concept>/negative/*.txt     one file, one text; the labels are the folders'
    stories/<concept>.txt                                     one file, one text
    paired/<scenario>/<concept>.txt with baseline.txt         one file, one text; a scenario is a group
    direct/<concept>.txt                                      a text a line, or a block between blank lines

The last three may be combined in one folder. Their texts are positive for the concept of their file and negative for all
others; a baseline is negative for all. In every layout files named `_*.txt` are neutral. Names with a leading dot are skipped.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from amygdala_tl.corpus.grouping import day_or_week
from amygdala_tl.corpus.labels import POLARITIES, Polarity
from amygdala_tl.errors import CorpusError, InputError
from amygdala_tl.names import fold_name

CONCEPT_FOLDERS = "concept folders"
SHARED_LAYOUTS = ("stories", "paired", "direct")
BASELINE = "baseline"

EMPTY_FILE = "empty file"
NOT_IN_LAYOUT = "in no layout (ignored)"
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")

_DESCRIPTION = (
    "texts.jsonl with corpus.json, <concept>/positive/*.txt with negative/, stories/<concept>.txt,"
    " paired/<scenario>/<concept>.txt or direct/<concept>.txt"
)


@dataclass(frozen=True, slots=True)
class Sighting:
    """One text in one place.

    Attributes:
        path: the file.
        text: stripped, not empty.
        group: the scenario or day in its place, or None.
        concept: the concept of its label; None for a baseline and for neutral texts.
        polarity: the polarity of its label; None for neutral texts. A baseline is "negative" with `concept` None.
    """

    path: Path
    text: str
    group: str | None
    concept: str | None
    polarity: Polarity | None


@dataclass(frozen=True, slots=True)
class FoundTexts:
    """Every sighting in a folder, in the order of their paths.

    Attributes:
        layouts: names of the layouts found (`concept folders`, or some of `SHARED_LAYOUTS`).
        concepts: the names of folders and files, alphabetical, even without texts.
        skipped: reason -> files and folders.
    """

    layouts: tuple[str, ...]
    concepts: tuple[str, ...]
    sightings: tuple[Sighting, ...]
    skipped: Counter[str]


def read_layouts(root: Path) -> FoundTexts:
    """Read a folder of texts in all its layouts.

    Raises:
        InputError: the folder is missing.
        CorpusError: the folder has no known layout or contradictory ones, or a file is not UTF-8.
    """
    if not root.is_dir():
        got = "a file" if root.exists() else "nothing there"
        raise InputError("not a folder", label=root, got=got, remedy="give a folder")
    entries = _entries(root)
    concept_folders = [entry for entry in entries if any((entry / side).is_dir() for side in POLARITIES)]
    shared = [
        entry for entry in entries if entry.name in SHARED_LAYOUTS and entry.is_dir() and entry not in concept_folders
    ]
    if not concept_folders and not shared:
        what, remedy = "no training data in a known layout", "give the folder that holds one of these"
        got = ", ".join(entry.name for entry in entries[:5]) or "an empty folder"
        raise CorpusError(what, label=root, got=got, need=_DESCRIPTION, remedy=remedy)
    if concept_folders and shared:
        what, remedy = "two ways to label texts in one folder", "put them in two folders and train on one of them"
        got = f"{concept_folders[0].name}/ with positive/ or negative/, beside {shared[0].name}/"
        raise CorpusError(what, label=root, got=got, remedy=remedy)
    skipped: Counter[str] = Counter()
    skipped[NOT_IN_LAYOUT] += len(entries) - len(concept_folders) - len(shared)
    concepts: set[str] = set()
    sightings: list[Sighting] = []
    for folder in concept_folders:
        concepts.add(_name(folder))
        sightings += _concept_folder(folder, skipped)
    for folder in shared:
        for place in _places(folder, skipped):
            concepts |= {concept for concept in map(_concept_of, _text_files(place, skipped)) if concept is not None}
            sightings += _shared_place(place, folder.name, skipped)
    layouts = (CONCEPT_FOLDERS,) if concept_folders else tuple(folder.name for folder in shared)
    return FoundTexts(layouts, tuple(sorted(concepts)), tuple(sightings), skipped)


def _concept_folder(folder: Path, skipped: Counter[str]) -> Iterator[Sighting]:
    skipped[NOT_IN_LAYOUT] += sum(entry.name not in POLARITIES for entry in _entries(folder))
    for side in POLARITIES:
        for path in _text_files(folder / side, skipped) if (folder / side).is_dir() else ():
            neutral = path.name.startswith("_")
            for text in _texts(path, skipped):
                concept = None if neutral else _name(folder)
                yield Sighting(path, text, day_or_week(path.name), concept, None if neutral else side)


def _places(folder: Path, skipped: Counter[str]) -> list[Path]:
    """Return the folders that hold the text files of a shared layout: the folder itself, or its scenarios."""
    if folder.name != "paired":
        return [folder]
    scenarios = [entry for entry in _entries(folder) if entry.is_dir()]
    skipped[NOT_IN_LAYOUT] += len(_entries(folder)) - len(scenarios)
    return scenarios


def _shared_place(place: Path, layout: str, skipped: Counter[str]) -> Iterator[Sighting]:
    group = place.name if layout == "paired" else None
    for path in _text_files(place, None):
        concept = _concept_of(path)
        polarity: Polarity | None = "positive" if concept is not None else "negative"
        if path.name.startswith("_"):
            polarity = None
        for text in _texts(path, skipped, many=layout == "direct"):
            yield Sighting(path, text, group, concept, polarity)


def _concept_of(path: Path) -> str | None:
    """Return the concept in the name of a file of a shared layout; None for neutral files and baselines of `paired`."""
    is_baseline = _name(path) == BASELINE and path.parent.parent.name == "paired"
    return None if is_baseline or path.name.startswith("_") else _name(path)


def _texts(path: Path, skipped: Counter[str], *, many: bool = False) -> list[str]:
    content = _content(path)
    if not content:
        skipped[EMPTY_FILE] += 1
    blocks = [content]
    if many:  # at blank lines between texts, or else at every line end
        blocks = _BLANK_LINE.split(content) if _BLANK_LINE.search(content) else content.split("\n")
    return [block.strip() for block in blocks if block.strip()]


def _content(path: Path) -> str:
    r"""Return the text of a UTF-8 file, outer white space and byte order mark stripped and line ends as `\n`."""
    what, remedy = "not a UTF-8 text", "save the file as UTF-8"
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        got = f"byte 0x{error.object[error.start]:02x} at offset {error.start}"
        raise CorpusError(what, label=path, got=got, remedy=remedy) from error
    except OSError as error:
        raise CorpusError("cannot be read", label=path, got=error.strerror, remedy="check its permissions") from error
    if "\0" in text:  # UTF-16 without a byte order mark decodes as UTF-8 with a NUL after every letter
        raise CorpusError(what, label=path, got="NUL characters", remedy=remedy)
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _text_files(folder: Path, skipped: Counter[str] | None) -> list[Path]:
    entries = _entries(folder)
    files = [entry for entry in entries if entry.suffix.lower() == ".txt" and entry.is_file()]
    if skipped is not None:
        skipped[NOT_IN_LAYOUT] += len(entries) - len(files)
    return files


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise CorpusError("cannot be read", label=folder, got=error.strerror, remedy="check its permissions") from error


def _name(path: Path) -> str:
    name = fold_name(path.stem if path.suffix.lower() == ".txt" else path.name).strip()
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise CorpusError("the name is not UTF-8", label=ascii(str(path)), remedy="rename it") from error
    return name
