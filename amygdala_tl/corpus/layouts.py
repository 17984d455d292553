"""The folder layouts that people already have -> a `Source`.

    <label>/*.txt                                             one file, one text
    <label>.txt                                               many texts a file
    <concept>/positive/*.txt and <concept>/negative/*.txt     one file, one text; the labels are the folders'
    stories/<concept>.txt, direct/<concept>.txt               many texts a file
    paired/<scenario>/<concept>.txt with baseline.txt         many texts a file; a scenario is a group

The rule behind them: a file in the folder of a label is one text, and a file that is named for a label holds many
(`plain.split_texts`). `stories`, `paired` and `direct` may be combined in one folder. A text is positive for the concept of its
file and negative for all others, except in the folders `positive` and `negative`, which speak of their own concept only; a
baseline is negative for all. Files named `_*.txt` are neutral. Names with a leading dot are skipped, and capitals do not matter.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from amygdala_tl.corpus.grouping import day_or_week
from amygdala_tl.corpus.labels import POLARITIES
from amygdala_tl.corpus.plain import read_text, split_texts
from amygdala_tl.corpus.reasons import Tally
from amygdala_tl.corpus.sighting import Sighting, Source
from amygdala_tl.corpus.tables import READERS, read_table
from amygdala_tl.errors import CorpusError
from amygdala_tl.names import fold_name

CONCEPT_FOLDERS, LABEL_FOLDERS, LABEL_FILES = "concept folders", "label folders", "label files"
SHARED_LAYOUTS = ("stories", "paired", "direct")
BASELINE = "baseline"
EMPTY_FILE = "empty file"
NOT_IN_LAYOUT = "in no layout (ignored)"
_ABOUT = frozenset({"readme", "license", "licence", "changelog", "labels", "notice", "citation"})

_DESCRIPTION = (
    "<label>/*.txt, <label>.txt, <concept>/positive/*.txt with negative/, stories/<concept>.txt,"
    " paired/<scenario>/<concept>.txt, direct/<concept>.txt, texts.jsonl with corpus.json, or one table"
)


def read_folder(root: Path) -> Source:
    """Read a folder of texts in all its layouts.

    Raises:
        CorpusError: the folder has no known layout or contradictory ones, or a file is not UTF-8.
    """
    entries = _entries(root)
    concepts = [entry for entry in entries if any(fold_name(each.name) in POLARITIES for each in _folders(entry))]
    shared = [
        each for each in entries if fold_name(each.name) in SHARED_LAYOUTS and each.is_dir() and each not in concepts
    ]
    folders = [
        each for each in entries if each not in concepts and each not in shared and each.is_dir() and _text_files(each)
    ]
    files = [each for each in _text_files(root) if fold_name(each.stem) not in _ABOUT]
    tables = [each for each in entries if each.suffix.casefold() in READERS and each.is_file()]
    reading = _Reading()
    if concepts and shared:
        raise _two_ways(root, f"{concepts[0].name}/ with positive/ or negative/, beside {shared[0].name}/")
    if concepts:
        return reading.source(entries, concepts, reading.concept_folders(concepts), (CONCEPT_FOLDERS,))
    if shared:
        layouts = tuple(fold_name(folder.name) for folder in shared)
        return reading.source(entries, shared, reading.shared(shared), layouts)
    if folders and sum(not each.name.startswith("_") for each in files) > 1:
        raise _two_ways(root, f"{folders[0].name}/ with texts, beside {files[0].name}")
    if folders:
        return reading.source(entries, folders, reading.label_folders(folders), (LABEL_FOLDERS,))
    if files:
        return reading.source(entries, files, reading.label_files(files), (LABEL_FILES,))
    if len(tables) == 1:
        return read_table(tables[0])
    got = ", ".join(entry.name for entry in (tables or entries)[:5]) or "an empty folder"
    remedy = "give one of these files" if tables else "give the folder that holds one of these"
    raise CorpusError("no training data in a known layout", label=root, got=got, need=_DESCRIPTION, remedy=remedy)


class _Reading:
    """One pass over a folder: the labels it names, and what it leaves out."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.labels: set[str] = set()
        self.notices: list[str] = []

    def source(
        self, entries: list[Path], used: list[Path], found: Iterator[Sighting], layouts: tuple[str, ...]
    ) -> Source:
        """Return everything read; entries that are not used are counted."""
        self._ignored(entries, used)
        sightings = list(found)
        concepts = frozenset(self.labels)
        sightings = [replace(each, negative=concepts) if each.negative == (BASELINE,) else each for each in sightings]
        return Source(sightings, concepts, layouts, self.tally, tuple(self.notices))

    def concept_folders(self, folders: list[Path]) -> Iterator[Sighting]:
        """Read `<concept>/positive` and `<concept>/negative`."""
        for folder in folders:
            sides = [each for each in _folders(folder) if fold_name(each.name) in POLARITIES]
            self._ignored(_entries(folder), sides)
            concept = self._label(folder.name)
            for side in sides:
                for each in self._whole_files(side):
                    here = fold_name(side.name) == "positive"
                    labels = () if _is_neutral(each) else (concept,)
                    yield replace(each, positive=labels if here else (), negative=() if here else labels)

    def label_folders(self, folders: list[Path]) -> Iterator[Sighting]:
        """Read `<label>/*.txt`."""
        for folder in folders:
            label = "" if folder.name.startswith("_") else self._label(folder.name)
            for each in self._whole_files(folder):
                yield each if _is_neutral(each) or not label else replace(each, positive=(label,), complete=True)

    def label_files(self, files: list[Path], group: str | None = None, *, paired: bool = False) -> Iterator[Sighting]:
        """Read `<label>.txt`, in a scenario also its baseline."""
        labels = {path: "" if _is_unlabelled(path, paired) else self._label(path.stem) for path in files}
        for path, label in labels.items():
            texts, notice = split_texts(read_text(path), path.name)
            self.notices += [notice] if notice else []
            if not texts:
                self.tally.add(EMPTY_FILE, path.name)
            for text in texts:
                if label:
                    yield Sighting(text, str(path), group, (label,), complete=True)
                else:
                    yield Sighting(text, str(path), group, negative=() if path.name.startswith("_") else (BASELINE,))

    def shared(self, folders: list[Path]) -> Iterator[Sighting]:
        """Read `stories`, `paired` and `direct`."""
        for folder in folders:
            if fold_name(folder.name) != "paired":
                self._ignored(_entries(folder), _text_files(folder))
                yield from self.label_files(_text_files(folder))
                continue
            self._ignored(_entries(folder), _folders(folder))
            for scenario in _folders(folder):
                self._ignored(_entries(scenario), _text_files(scenario))
                yield from self.label_files(_text_files(scenario), scenario.name, paired=True)

    def _whole_files(self, folder: Path) -> Iterator[Sighting]:
        files = _text_files(folder)
        self._ignored(_entries(folder), files)
        for path in files:
            if text := read_text(path):
                yield Sighting(text, str(path), day_or_week(path.name))
            else:
                self.tally.add(EMPTY_FILE, f"{folder.name}/{path.name}")

    def _label(self, name: str) -> str:
        label = fold_name(name).strip()
        try:
            label.encode("utf-8")
        except UnicodeEncodeError as error:
            raise CorpusError("the name is not UTF-8", label=ascii(name), remedy="rename it") from error
        self.labels.add(label)
        return label

    def _ignored(self, entries: list[Path], used: list[Path]) -> None:
        for entry in entries:
            if entry not in used:
                self.tally.add(NOT_IN_LAYOUT, f"{entry.parent.name}/{entry.name}")


def _is_neutral(sighting: Sighting) -> bool:
    return Path(sighting.place).name.startswith("_")


def _is_unlabelled(path: Path, paired: bool) -> bool:
    return path.name.startswith("_") or (paired and fold_name(path.stem) == BASELINE)


def _two_ways(root: Path, got: str) -> CorpusError:
    what, remedy = "two ways to label texts in one folder", "put them in two folders and train on one of them"
    return CorpusError(what, label=root, got=got, remedy=remedy)


def _text_files(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if entry.suffix.lower() == ".txt" and entry.is_file()]


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if entry.is_dir()] if folder.is_dir() else []


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise CorpusError("cannot be read", label=folder, got=error.strerror, remedy="check its permissions") from error
