"""A folder of training data -> a corpus: our own corpus folder, or texts in the layouts that people already have."""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from amygdala_tl.corpus.in_hand import LabelledCorpusTexts, labelled_text
from amygdala_tl.corpus.io import HEAD_FILE, TEXTS_FILE, read_corpus
from amygdala_tl.corpus.labels import LabelRules, Polarity, check_split_rules
from amygdala_tl.corpus.layouts import CONCEPT_FOLDERS, FoundTexts, Sighting, read_layouts
from amygdala_tl.corpus.record import Corpus, assemble_labelled
from amygdala_tl.decode import convert
from amygdala_tl.errors import CorpusError
from amygdala_tl.records import CorpusText

DEFAULTS = LabelRules()


class _Rules(msgspec.Struct):
    min_examples: int = DEFAULTS.min_examples
    heldout_fraction: float = DEFAULTS.heldout_fraction
    seed: int = DEFAULTS.seed


def read_training_data(
    directory: str | os.PathLike[str],
    *,
    min_examples: int = DEFAULTS.min_examples,
    heldout_fraction: float = DEFAULTS.heldout_fraction,
    seed: int = DEFAULTS.seed,
) -> Corpus:
    """Read training data from a folder of any known kind.

    A corpus folder comes back as it was written, with its own split and concepts. The other layouts (see `layouts.py`)
    become a corpus: each unique text once with all its labels, in the group of its scenario, else of the day in its
    file's name, else its own.

    Args:
        directory: the folder.
        min_examples: concepts with fewer positive or negative training texts are left out; not for corpus folders.
        heldout_fraction: expected share of groups that are held out; not for corpus folders.
        seed: of the split; not for corpus folders.

    Raises:
        InputError: the folder is missing, or a value is out of its range.
        CorpusError: the folder has no known layout, a file is damaged or not UTF-8, a text is both positive and negative
            of one concept, or no concept has enough examples.
    """
    check_split_rules(min_examples, heldout_fraction)
    root = Path(directory)
    if any((root / name).is_file() for name in (TEXTS_FILE, HEAD_FILE)):
        return read_corpus(root)
    found = read_layouts(root)
    seen: dict[str, list[Sighting]] = defaultdict(list)
    for sighting in found.sightings:
        seen[sighting.text].append(sighting)
    texts = [_labelled(sightings, found, heldout_fraction, seed) for _, sightings in sorted(seen.items())]
    parameters = {"layouts": list(found.layouts), "heldout_fraction": heldout_fraction, "seed": seed}
    more = f"add texts to {root}"
    return assemble_labelled(LabelledCorpusTexts(found.concepts, texts, min_examples, more, parameters, found.skipped))


def read_again(directory: str | os.PathLike[str], parameters: Mapping[str, Any]) -> Corpus:
    """Read training data in the same way as before, given the `Corpus.parameters` of that time.

    Raises:
        InputError: as for `read_training_data`, or the parameters have the wrong types.
        CorpusError: as for `read_training_data`.
    """
    rules = convert(parameters, _Rules, label="the corpus parameters", remedy="train the readout again")
    return read_training_data(directory, **msgspec.structs.asdict(rules))


def _labelled(sightings: Sequence[Sighting], found: FoundTexts, heldout_fraction: float, seed: int) -> CorpusText:
    """Merge all sightings of one text into one row."""
    # Polarity and concept -> the first file that says so.
    labels: dict[Polarity, dict[str, Path]] = {"positive": {}, "negative": {}}
    for sighting in sightings:
        if sighting.polarity is not None:
            # Only a baseline has a polarity without a concept: it is a negative of all.
            for concept in found.concepts if sighting.concept is None else (sighting.concept,):
                labels[sighting.polarity].setdefault(concept, sighting.path)
    positive, negative = labels["positive"], labels["negative"]
    if positive and CONCEPT_FOLDERS not in found.layouts:  # then it is a negative of all other concepts
        path = next(iter(positive.values()))
        negative = {concept: path for concept in found.concepts if concept not in positive} | negative
    for concept in sorted(positive.keys() & negative.keys()):
        what, got = f"the same text is a positive and a negative of {concept}", f"the negative is {negative[concept]}"
        raise CorpusError(what, label=positive[concept], got=got, remedy="remove one of the two")
    groups = [sighting.group for sighting in sightings if sighting.group is not None]
    return labelled_text(sightings[0].text, groups, positive, negative, heldout_fraction, seed)
