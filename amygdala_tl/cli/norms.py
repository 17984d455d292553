"""Affective norms of words, from a CSV file."""

import csv
import io
import math
from pathlib import Path

from amygdala_tl.errors import InputError
from amygdala_tl.files import read_text


def read_norms(path: Path) -> dict[str, dict[str, float]]:
    """Read name of a norm -> word -> value from a CSV file with a column `word`.

    Raises:
        InputError: the file cannot be read, a row has no word, or a value is not a finite number.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path, remedy="check --norms"), newline="")))
    except csv.Error as cause:
        raise InputError("cannot be read", label=str(path), got=str(cause), remedy="check --norms") from cause
    if not rows or "word" not in rows[0] or len(rows[0]) < 2:
        raise InputError("has no norms", label=str(path), need="columns word, valence, arousal", remedy="check --norms")
    if not all(row["word"] for row in rows):
        raise InputError("a row has no word", label=str(path), need="a word in every row", remedy="check --norms")
    norms: dict[str, dict[str, float]] = {name: {} for name in rows[0] if name not in ("word", None)}
    for name, values in norms.items():
        for row in rows:
            if row[name] in (None, ""):
                continue
            try:
                values[row["word"]] = float(row[name])
            except (ValueError, TypeError) as cause:
                raise _no_number(path, name, row) from cause
            if not math.isfinite(values[row["word"]]):  # float() reads `nan` and `inf`
                raise _no_number(path, name, row)
    return norms


def _no_number(path: Path, name: str, row: dict[str, str]) -> InputError:
    return InputError(
        "a norm is not a number", label=str(path), got=f"{name} {row[name]} of {row['word']}", remedy="check --norms"
    )
