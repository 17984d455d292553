"""Texts and labels that a program already holds, for a corpus.

    Corpus.from_texts(["The lamp went out.", ...], [["grief"], ...], groups=days)
    Corpus.from_texts(texts, matrix, concepts=["joy", "grief"])      a 0/1 array [text, concept]
    Corpus.from_dataframe(frame, text="body", labels=["joy", "grief"], group="day")

The labels of a text are complete: a text is a positive of its labels and a negative of every other concept that it does
not mention by name. An empty list of labels means that nothing is known, so the text is neutral. A row of zeros in an
array says that no concept applies, so the text is a negative of all.
"""

from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

from amygdala_tl.corpus.labels import LabelRules, check_split_rules
from amygdala_tl.corpus.merge import LabelledCorpusTexts, Merge, merged
from amygdala_tl.corpus.sighting import Sighting, Source
from amygdala_tl.errors import InputError
from amygdala_tl.names import fold_name

_DEFAULTS = LabelRules()
_Positive = frozenset[str] | None
"""The concepts of one text, None if nothing is known."""


def texts_in_hand(
    texts: Iterable[object],
    labels: Any,
    *,
    concepts: Sequence[str] | None = None,
    groups: Iterable[object] | None = None,
    heldout_fraction: float = _DEFAULTS.heldout_fraction,
    min_examples: int = _DEFAULTS.min_examples,
    max_negative_mentions: int = _DEFAULTS.max_negative_mentions,
    seed: int = _DEFAULTS.seed,
) -> LabelledCorpusTexts:
    """Merge texts that come twice, and give every text its split and its negatives.

    A text that comes twice enters once, with the union of its labels and the first of its groups in sorted order. Blank texts
    and texts with lone surrogates are dropped and counted.

    Args:
        texts, labels: see `Corpus.from_texts`; names are compared case-folded.
        concepts: the concepts, by default all labels; required for an array, where they name its columns.
        groups: for each text a value that dependent texts share (a day, a scene, an author), so that the split into training
            and held-out texts never separates them. By default, and for None, a text is its own group.
        heldout_fraction: expected share of groups that are held out, 0 <= f < 1.
        min_examples: concepts with fewer positive or negative training texts are left out.
        max_negative_mentions: a negative names the concept at most this many times.
        seed: seed of the split.

    Raises:
        InputError: lengths differ, a text or label is not a string, a label is not among `concepts`, or a value is out of its
            range; the error names the index.
    """
    check_split_rules(min_examples, heldout_fraction)
    given, rows = _listed(texts), _listed(labels)
    places = [None] * len(given) if groups is None else _listed(groups)
    if not given:
        raise InputError("no texts", label="texts", remedy="give at least one text")
    for name, values in (("labels", rows), ("groups", places)):
        if len(values) != len(given):
            need, remedy = f"{len(given)}, one for each text", "give texts and labels in the same order"
            raise InputError("the lengths differ", label=name, got=len(values), need=need, remedy=remedy)
    names = None if concepts is None else _folded_concepts(concepts)
    known = _of_matrix(rows, names) if _is_matrix(rows) else _of_lists(rows, names)
    wanted = frozenset(names if names is not None else {name for one in known for name in one or ()})
    sightings = []
    for index, (text, positive, group) in enumerate(zip(given, known, places, strict=True)):
        if not isinstance(text, str):
            raise _not_a_string(f"texts[{index}]", text)
        own = None if _missing(group) else str(group)
        sightings.append(Sighting(text.strip(), f"texts[{index}]", own, positive or (), complete=positive is not None))
    source = Source(sightings, wanted, ("texts in hand",))
    entering, notices = merged(source, Merge(heldout_fraction, seed, max_negative_mentions))
    parameters: dict[str, Any] = {"source": "texts in hand", "heldout_fraction": heldout_fraction}
    parameters |= {"max_negative_mentions": max_negative_mentions, "seed": seed}
    return LabelledCorpusTexts(
        sorted(wanted), entering, min_examples, "give more texts", parameters, source.tally, notices
    )


def table_in_hand(
    frame: Any, *, text: str, labels: str | Sequence[str], group: str | None, **options: Any
) -> LabelledCorpusTexts:
    """Read the columns of a table, see `Corpus.from_dataframe`."""
    if isinstance(labels, str):
        rows = _column(frame, labels)
    else:
        options = {"concepts": list(labels), **options}
        rows = [list(row) for row in zip(*(_column(frame, name) for name in labels), strict=True)]
    groups = None if group is None else _column(frame, group)
    return texts_in_hand(_column(frame, text), rows, groups=groups, **options)


def _column(frame: Any, name: str) -> list[Any]:
    columns = list(getattr(frame, "columns", frame))
    if name not in columns:
        got = ", ".join(map(str, columns))
        raise InputError("no such column", label=name, got=got, remedy="name a column of the table")
    return _listed(frame[name])


def _listed(values: Any) -> list[Any]:
    """Return the values of a sequence, an array, a tensor or a column as a list."""
    for name in ("to_list", "tolist"):
        if hasattr(values, name):
            return list(getattr(values, name)())
    return list(values)


def _folded_concepts(concepts: Sequence[str]) -> list[str]:
    folded = [_folded(name, f"concepts[{index}]") for index, name in enumerate(concepts)]
    if not folded or "" in folded or len(set(folded)) < len(folded):
        got, remedy = ", ".join(concepts) or "no names", "give every concept one name"
        raise InputError("cannot be used", label="concepts", got=got, need="different names", remedy=remedy)
    return folded


def _is_matrix(rows: list[Any]) -> bool:
    first = next((row for row in rows if not (isinstance(row, str) or _missing(row))), None)
    return first is not None and any(isinstance(value, Real) for value in _listed(first))


def _of_matrix(rows: list[Any], names: list[str] | None) -> list[_Positive]:
    if names is None:
        raise InputError("an array of labels needs names", label="concepts", remedy="give one name for each column")
    known: list[_Positive] = []
    for index, row in enumerate(rows):
        values = _listed(row)
        if len(values) != len(names) or not all(value in (0, 1) for value in values):
            what, need = "not a row of zeros and ones", f"{len(names)} values, one for each concept"
            raise InputError(what, label=f"labels[{index}]", got=values, need=need, remedy="correct the row")
        known.append(frozenset(name for name, value in zip(names, values, strict=True) if value))
    return known


def _of_lists(rows: list[Any], names: list[str] | None) -> list[_Positive]:
    known: list[_Positive] = []
    for index, row in enumerate(rows):
        label = f"labels[{index}]"
        one = isinstance(row, str) or not (isinstance(row, Iterable) or hasattr(row, "tolist"))
        values = [] if _missing(row) else [row] if one else _listed(row)
        folded = frozenset(_folded(value, label) for value in values) - {""}
        if names is not None and (unknown := sorted(folded - set(names))):
            remedy = "add the label to `concepts`, or take it off the text"
            got, need = ", ".join(unknown), ", ".join(names)
            raise InputError("not among the concepts", label=label, got=got, need=need, remedy=remedy)
        known.append(folded or None)
    return known


def _folded(name: object, label: str) -> str:
    if not isinstance(name, str):
        raise _not_a_string(label, name)
    return fold_name(name).strip()


def _missing(value: object) -> bool:
    """Say whether a cell is empty: None, or NaN, which pandas puts there."""
    return value is None or (isinstance(value, float) and value != value)


def _not_a_string(label: str, got: object) -> InputError:
    return InputError("not a string", label=label, got=type(got).__name__, remedy="give texts and labels as strings")
