"""The one loader: a corpus folder, a folder of texts or a file of texts -> a corpus, to train on or to judge with."""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from amygdala_tl.corpus.domains import joined
from amygdala_tl.corpus.io import HEAD_FILE, TEXTS_FILE, read_corpus
from amygdala_tl.corpus.labels import LabelRules, check_split_rules
from amygdala_tl.corpus.layouts import read_folder
from amygdala_tl.corpus.merge import LabelledCorpusTexts, Merge, merged
from amygdala_tl.corpus.reasons import shortened
from amygdala_tl.corpus.record import Corpus, assemble, assemble_labelled
from amygdala_tl.corpus.rows import FIELDS, LABEL_FIELDS
from amygdala_tl.corpus.sighting import Source
from amygdala_tl.corpus.tables import read_table
from amygdala_tl.decode import convert
from amygdala_tl.errors import CorpusError, InputError

DEFAULTS = LabelRules()


class _Rules(msgspec.Struct):
    min_examples: int = DEFAULTS.min_examples
    heldout_fraction: float = DEFAULTS.heldout_fraction
    seed: int = DEFAULTS.seed


def read_training_data(
    source: str | os.PathLike[str],
    *,
    min_examples: int = DEFAULTS.min_examples,
    heldout_fraction: float = DEFAULTS.heldout_fraction,
    seed: int = DEFAULTS.seed,
) -> Corpus:
    """Read training data from a folder or a file of any known kind.

    A corpus folder comes back as it was written, with its own split and concepts. The other folders (`layouts.py`) and files
    (`tables.py`) become a corpus: each unique text once with all its labels, in the group that its source gives it.

    Args:
        source: the folder or file.
        min_examples: concepts with fewer positive or negative training texts are left out; not for corpus folders.
        heldout_fraction: expected share of groups that are held out; not for corpus folders.
        seed: of the split; not for corpus folders.

    Raises:
        InputError: nothing is there, or a value is out of its range.
        CorpusError: the source has no known form, is damaged or not UTF-8, has no labels, says two things of one text, or
            has no concept with enough examples.
    """
    check_split_rules(min_examples, heldout_fraction)
    path = Path(source)
    if _is_corpus(path):
        return read_corpus(path)
    found = _read(path)
    if not found.concepts:
        got = f"the columns {', '.join(found.columns)}" if found.columns else "texts only"
        need = f"a column {', '.join(LABEL_FIELDS)}" if found.columns else "folders or files that are named for labels"
        raise CorpusError("has no labels", label=path, got=shortened(got), need=need, remedy="label the texts")
    how = Merge(heldout_fraction, seed)
    texts, notices = merged(found, how)
    parameters = {"layouts": list(found.layouts), "heldout_fraction": heldout_fraction, "seed": seed}
    more = f"add texts to {path}"
    return assemble_labelled(
        LabelledCorpusTexts(sorted(found.concepts), texts, min_examples, more, parameters, found.tally, notices)
    )


def read_several(sources: Sequence[str | os.PathLike[str]], **rules: Any) -> Corpus:
    """Read training data from several sources and join them, each a domain with the name of its folder or file.

    Args:
        sources: as for `read_training_data`; one alone is read as it is.
        rules: as for `read_training_data`, for each of the sources.

    Raises:
        InputError, CorpusError: as for `read_training_data`, or two sources have one name.
    """
    if len(sources) == 1:
        return read_training_data(sources[0], **rules)
    corpora = {Path(source).stem: read_training_data(source, **rules) for source in sources}
    if len(corpora) < len(sources):
        got, remedy = ", ".join(map(str, sources)), "rename one of the folders"
        raise InputError("two corpora have one name", got=got, remedy=remedy)
    return joined(corpora)


def read_again(source: str | os.PathLike[str], parameters: Mapping[str, Any]) -> Corpus:
    """Read training data in the same way as before, given the `Corpus.parameters` of that time.

    Raises:
        InputError: as for `read_training_data`, or the parameters have the wrong types.
        CorpusError: as for `read_training_data`.
    """
    rules = convert(parameters, _Rules, label="the corpus parameters", remedy="train the readout again")
    return read_training_data(source, **msgspec.structs.asdict(rules))


def read_texts(source: str | os.PathLike[str], *, among: Collection[str] | None = None) -> Corpus:
    """Read texts to judge a readout with, labelled or not, in the same forms: all of them, without a split.

    Args:
        source: the folder or file.
        among: the folded names of the readout's concepts, see `merge.merged`.

    Raises:
        InputError: nothing is there.
        CorpusError: the source has no known form, is damaged or not UTF-8, or says two things of one text.
    """
    path = Path(source)
    if _is_corpus(path):
        return read_corpus(path)
    found = _read(path)
    texts, notices = merged(found, Merge(heldout_fraction=0.0, seed=DEFAULTS.seed), among=among)
    if not found.concepts and not FIELDS.issuperset(found.columns):
        columns, need = shortened(", ".join(found.columns)), ", ".join(LABEL_FIELDS)
        notices = (*notices, f"read without labels: none of the columns {columns} is one of {need}")
    parameters = {"layouts": list(found.layouts)}
    concepts = tuple(sorted(found.concepts))
    return assemble(concepts, texts, parameters=parameters, tally=found.tally, left_out={}, notices=notices)


def read_in_order(source: str | os.PathLike[str]) -> tuple[list[str], tuple[str, ...]]:
    """Read the texts of a file as `read_texts` does, but in their order and each as often as it stands there.

    Returns:
        The texts, and notices on how the file was read.

    Raises:
        InputError, CorpusError: as for `read_texts`.
    """
    found = read_table(Path(source))
    return [each.text for each in found.sightings], tuple(found.notices)


def _is_corpus(path: Path) -> bool:
    return any((path / name).is_file() for name in (TEXTS_FILE, HEAD_FILE))


def _read(path: Path) -> Source:
    if path.is_dir():
        return read_folder(path)
    if not path.exists():
        raise InputError("no such file or folder", label=path, remedy="check the path")
    return read_table(path)
