"""A folder of training data -> a corpus: our own corpus folder, or texts in the layouts people already have."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from amygdala_tl.corpus.assemble import assemble
from amygdala_tl.corpus.build import NO_EXAMPLE
from amygdala_tl.corpus.concepts import ExampleCount, keep_sufficient
from amygdala_tl.corpus.grouping import split_of
from amygdala_tl.corpus.hashing import text_id
from amygdala_tl.corpus.io import HEAD_FILE, TEXTS_FILE, read_corpus
from amygdala_tl.corpus.labels import POLARITIES, Polarity, check_split_rules
from amygdala_tl.corpus.layouts import FoundTexts, Sighting, read_layouts
from amygdala_tl.errors import CorpusError
from amygdala_tl.records import Corpus, CorpusText

_Labels = Mapping[Polarity, Mapping[str, Path]]


def read_training_data(
    directory: str | os.PathLike[str], *, min_examples: int = 5, heldout_fraction: float = 0.2, seed: int = 0
) -> Corpus:
    """Read training data from a folder, whichever of the known kinds it is.

    A corpus folder comes back as it was written, its own split and concepts included. From the other layouts (see
    `layouts.py`) a corpus is made: each unique text once with all its labels, in the group of its scenario, else of the
    day in its file's name, else its own.

    Args:
        directory: the folder.
        min_examples: concepts with fewer positive or negative training texts are left out; not for corpus folders.
        heldout_fraction: expected share of groups that are held out; not for corpus folders.
        seed: of the split; not for corpus folders.

    Raises:
        InputError: the folder is not there, or a value is out of its range.
        CorpusError: nothing known is in it, a file is damaged or not UTF-8, a text is both positive and negative of one
            concept, or no concept has enough examples.
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
    more = f"add texts to {root}"
    concepts, left_out = keep_sufficient(
        _training_counts(texts, found.concepts), min_examples=min_examples, more_positives=more, more_negatives=more
    )
    kept = [_only(text, concepts) for text in texts]
    # A text whose every concept was left out would pass for neutral, and it is not.
    entering = [new for old, new in zip(texts, kept, strict=True) if old.neutral or not new.neutral]
    return assemble(
        concepts,
        entering,
        parameters={
            "layouts": list(found.layouts),
            "min_examples": min_examples,
            "heldout_fraction": heldout_fraction,
            "seed": seed,
        },
        dropped=found.skipped + Counter({NO_EXAMPLE: len(kept) - len(entering)}),
        left_out=left_out,
    )


def _labelled(sightings: Sequence[Sighting], found: FoundTexts, heldout_fraction: float, seed: int) -> CorpusText:
    """Merge all sightings of one text into one row."""
    labels = _labels(sightings, found)
    for concept in sorted(labels["positive"].keys() & labels["negative"].keys()):
        raise CorpusError(
            f"the same text is a positive and a negative of {concept}",
            label=labels["positive"][concept],
            got=f"the negative is {labels['negative'][concept]}",
            remedy="remove one of the two",
        )
    text = sightings[0].text
    identity = text_id(text)
    group = min((sighting.group for sighting in sightings if sighting.group is not None), default=identity)
    split = split_of(group, heldout_fraction=heldout_fraction, seed=seed)
    positive, negative = (tuple(sorted(labels[side])) for side in POLARITIES)
    return CorpusText(identity, text, group, split, {}, positive, negative)


def _labels(sightings: Sequence[Sighting], found: FoundTexts) -> _Labels:
    """Polarity -> concept -> the first file that says so."""
    labels: dict[Polarity, dict[str, Path]] = {"positive": {}, "negative": {}}
    for sighting in sightings:
        if sighting.polarity is not None:
            # Only a baseline has a polarity and no concept: it is a negative of all.
            for concept in found.concepts if sighting.concept is None else (sighting.concept,):
                labels[sighting.polarity].setdefault(concept, sighting.path)
    if found.shared and labels["positive"]:
        path = next(iter(labels["positive"].values()))
        for concept in found.concepts:
            if concept not in labels["positive"]:
                labels["negative"].setdefault(concept, path)
    return labels


def _training_counts(texts: Iterable[CorpusText], concepts: Sequence[str]) -> dict[str, ExampleCount]:
    training = [text for text in texts if text.split == "train"]
    positive = Counter(concept for text in training for concept in text.positive)
    negative = Counter(concept for text in training for concept in text.negative)
    return {concept: ExampleCount(positive[concept], negative[concept]) for concept in concepts}


def _only(text: CorpusText, concepts: Iterable[str]) -> CorpusText:
    chosen = frozenset(concepts)
    positive, negative = (tuple(name for name in names if name in chosen) for names in (text.positive, text.negative))
    return CorpusText(text.id, text.text, text.group, text.split, text.scores, positive, negative)
