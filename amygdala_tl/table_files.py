"""Tables in files: CSV, JSON lines or Parquet, as the ending of the name says."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from amygdala_tl.errors import InputError
from amygdala_tl.files import Kind, atomic_write_bytes, check_outputs, make_folder
from amygdala_tl.frames import optional
from amygdala_tl.kinds import json_with, parquet_with, text_with

ENDINGS = (".csv", ".jsonl", ".parquet")

Columns = Mapping[str, Sequence[object]]
"""Columns of equal length, by their names."""


def table_kind(path: Path, name: str, *columns: str) -> Kind:
    """Return the kind of a table, called `name` in messages, that begins with these columns.

    Raises:
        InputError: `path` has none of `ENDINGS`, or it ends in `.parquet` and pyarrow is not installed.
    """
    if path.suffix == ".csv":
        return Kind(name, text_with(rf"\A{','.join(columns)}[,\r\n]"))
    if path.suffix == ".jsonl":
        return Kind(name, json_with(*columns, lines=True))
    if path.suffix != ".parquet":
        need = ", ".join(ENDINGS)
        raise InputError("no format has this ending", label=path, need=need, remedy="choose one of these endings")
    optional("pyarrow.parquet")
    return Kind(name, parquet_with(*columns))


def no_formula(value: object) -> object:
    """Put an apostrophe, which no spreadsheet shows, in front of a text that one would take for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(tuple("=+-@\t\r\n")) else value


def table_writer(
    path: Path | None, name: str, keys: Sequence[str], inputs: Iterable[Path | None]
) -> Callable[[Columns], None] | None:
    """Return what writes a table, after a check that it may be written; to call before the work begins. None without a path.

    Args:
        path: file of the table; its folder is made when it is written.
        name: of the table in messages.
        keys: its first columns.
        inputs: what is read, files and folders; the table may not replace one.

    Raises:
        InputError: see `table_kind`, or the table would replace an input.
        StorageError: another kind of file is in the way.
    """
    if path is None:
        return None
    kind = table_kind(path, name, *keys)
    check_outputs({path: kind}, inputs)

    def write(columns: Columns) -> None:
        make_folder(path.parent)
        write_table(path, columns, kind)

    return write


def stacked(tables: Iterable[Columns]) -> dict[str, list[object]]:
    """Return the rows of several tables as one; all have the columns of the first."""
    first, *others = tables
    return {name: [*column, *chain(*(each[name] for each in others))] for name, column in first.items()}


def write_table(path: Path, columns: Columns, kind: Kind) -> None:
    """Write a table to a file, in the format of its ending; a NaN is an empty cell, or null.

    Raises:
        StorageError: another kind of file is in the way, or the disk refused.
    """
    cells = {name: [None if each != each else each for each in column] for name, column in columns.items()}
    if path.suffix == ".parquet":
        stream = io.BytesIO()
        optional("pyarrow.parquet").write_table(optional("pyarrow").table(cells), stream)
        data = stream.getvalue()
    else:
        text, rows = io.StringIO(newline=""), list(zip(*cells.values(), strict=True))
        if path.suffix == ".csv":
            table = ([no_formula(cell) for cell in row] for row in (tuple(cells), *rows))
            csv.writer(text, lineterminator="\n").writerows(table)
        else:
            text.writelines(f"{json.dumps(dict(zip(cells, row, strict=True)), ensure_ascii=False)}\n" for row in rows)
        data = text.getvalue().encode()
    atomic_write_bytes(path, data, kind)
