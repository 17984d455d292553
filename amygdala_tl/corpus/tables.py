"""Files of texts: CSV, TSV, JSON, JSON lines and plain text -> a `Source`.

texts.csv, texts.tsv    with a header that names a column of texts (`rows.TEXT_FIELDS`), or text and labels in this order. A row
                        with more cells than the others is an error: its text has a separator outside quotes
texts.jsonl, .json      a row a line; a list of rows; an object with one list of rows (`data`); columns of a table
anything else           many texts without labels (`plain.split_texts`)
"""

import csv
import io
import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from amygdala_tl.corpus.plain import read_text, split_texts
from amygdala_tl.corpus.reasons import Tally, shortened
from amygdala_tl.corpus.rows import FIELDS, LABEL_FIELDS, SEE, TEXT_FIELDS, indicator_columns, sightings_of
from amygdala_tl.corpus.sighting import Sighting, Source
from amygdala_tl.decode import decode_records
from amygdala_tl.errors import CorpusError

_SAID = re.compile(r"sep=([,;|\t])\n")

Rows = list[tuple[str, Mapping[str, Any]]]


def read_table(path: Path) -> Source:
    """Read a file of texts.

    Raises:
        InputError: there is no such file.
        CorpusError: the file is not UTF-8, is damaged, or has no text; the error says where.
    """
    content = read_text(path)
    reader = READERS.get(path.suffix.casefold())
    if reader is None:
        texts, notice = split_texts(content, path.name)
        sightings = [Sighting(text, f"{path}, text {number}") for number, text in enumerate(texts, start=1)]
        return _checked(Source(sightings, frozenset(), ("text file",), notices=(notice,) if notice else ()), path, [])
    tally, rows = Tally(), reader(path, content)
    names = path.parent / "labels.txt"
    labels = [line.strip() for line in read_text(names).split("\n") if line.strip()] if names.is_file() else []
    sightings = list(sightings_of(rows, labels, tally))
    concepts = frozenset(label for each in sightings for label in (*each.positive, *each.negative))
    columns = tuple(dict.fromkeys(str(name) for _, row in rows[:100] for name in row))
    notices: tuple[str, ...] = ()
    if found := indicator_columns([row for _, row in rows]):
        notices = (f"labels are the columns of zeros and ones: {shortened(', '.join(found))}",)
    source = Source(sightings, concepts, (path.suffix.casefold()[1:],), tally, notices, columns)
    return _checked(source, path, columns)


def _checked(source: Source, path: Path, columns: Sequence[str]) -> Source:
    if source.sightings:
        return source
    need = f"a column {', '.join(TEXT_FIELDS)}, or messages" if columns else None
    got = shortened(f"the columns {', '.join(columns)}") if columns else "an empty file"
    raise CorpusError("has no text", label=path, got=got, need=need, remedy=SEE)


def _json(path: Path, content: str) -> Rows:
    rows: Rows = []
    for place, value in decode_records(content.encode(), label=str(path), error=CorpusError, remedy=SEE):
        listed = _listed(value)
        for number, row in enumerate(listed, start=1):
            where = place if listed == [value] else f"{place}, row {number}"
            if isinstance(row, str) and len(listed) > 1:
                row = {"text": row}
            if not isinstance(row, dict):
                got = type(row).__name__
                raise CorpusError("not a row", label=where, got=got, need="an object with a text", remedy=SEE)
            rows.append((where, row))
    return rows


def _listed(value: Any) -> list[Any]:
    """Return the rows of a document: a list, a list in an object, or the columns of a table."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        names = {str(name).casefold(): name for name in value}
        columns = [names[name] for name in FIELDS if name in names and isinstance(value[names[name]], list)]
        text = next((names[name] for name in TEXT_FIELDS if name in names), None)
        if text in columns and len({len(value[name]) for name in columns}) == 1 and all(
            isinstance(each, str) for each in value[text]
        ):  # fmt: skip
            return [
                dict(zip(columns, row, strict=True)) for row in zip(*(value[name] for name in columns), strict=True)
            ]
        lists = [each for each in value.values() if isinstance(each, list)]
        if FIELDS.isdisjoint(names) and len(lists) == 1:
            return lists[0]
    return [value]


def _csv(path: Path, content: str) -> Rows:
    """Read CSV with the delimiter that gives a column of texts, or else the first that gives two columns.

    `sep=;` in the first line, as spreadsheets write it, names the delimiter.
    """
    readings, failures = [], []
    said = _SAID.match(content)
    content = content if said is None else "\n" + content[said.end() :]  # lines keep their numbers
    for delimiter in said[1] if said else ",;\t|":
        try:
            rows = _cells(path, content, delimiter, csv.QUOTE_MINIMAL)
            if delimiter != "|" or said or (rows and _header(rows[0][1])):  # without a header a bar may be prose
                readings.append(rows)
        except CorpusError as error:
            failures.append(error)
    if not readings:
        raise failures[0]
    several = [rows for rows in readings if rows and len(rows[0][1]) > 1] or readings[:1]
    return _with_header(path, next((rows for rows in several if rows and _header(rows[0][1])), several[0]))


def _tsv(path: Path, content: str) -> Rows:
    """Read TSV without quotes, unless only quotes give every row the same number of cells."""
    bare = _cells(path, content, "\t", csv.QUOTE_NONE)
    if len({len(cells) for _, cells in bare}) > 1 and '"' in content:
        try:
            quoted = _cells(path, content, "\t", csv.QUOTE_MINIMAL)
        except CorpusError:
            quoted = []
        if len({len(cells) for _, cells in quoted}) == 1 and len(quoted[0][1]) > 1:
            return _with_header(path, quoted)
    return _with_header(path, bare, least=2)  # the first text may have no label


READERS: Mapping[str, Callable[[Path, str], Rows]] = {
    ".json": _json, ".jsonl": _json, ".ndjson": _json, ".csv": _csv, ".tsv": _tsv, ".tab": _tsv
}  # fmt: skip


def _cells(path: Path, content: str, delimiter: str, quoting: int) -> list[tuple[int, list[str]]]:
    """Return the rows that are not blank, with the numbers of their first lines."""
    if quoting == csv.QUOTE_NONE:  # the csv module would also end a line at a carriage return
        lines = enumerate(content.split("\n"), start=1)
        return [(number, line.split(delimiter)) for number, line in lines if line.strip()]
    rows = []
    limit = csv.field_size_limit(max(csv.field_size_limit(), len(content) + 1))
    try:
        reader = csv.reader(
            io.StringIO(content, newline=""), delimiter=delimiter, quoting=csv.QUOTE_MINIMAL, strict=True
        )
        number = 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((number, cells))
            number = reader.line_num + 1
    except csv.Error as error:
        label = f"{path}, line {reader.line_num}"
        raise CorpusError("not valid CSV", label=label, got=str(error), remedy="check the quotes") from error
    finally:
        csv.field_size_limit(limit)
    return rows


def _header(cells: Sequence[str]) -> bool:
    return any(cell.strip().casefold() in TEXT_FIELDS for cell in cells)


def _fault_without_header(rows: Sequence[Sequence[str]]) -> str:
    """Say what speaks against text and labels in this order.

    Either the first row names columns: single words, above texts of several words, with a label that never returns. Or the
    labels come first: single words that return, before texts of several words.
    """
    if len(rows) < 4 or any(len(row) < 2 for row in rows):
        return ""
    first, second = (sorted(len(row[column].split()) for row in rows[1:]) for column in (0, 1))
    if all(len(cell.split()) == 1 for cell in rows[0]) and first[len(first) // 2] > 2:
        return "" if any(rows[0][1] == row[1] for row in rows[1:]) else f"the columns {', '.join(rows[0])}"
    labels = {
        len(part.split()) for row in rows for part in re.split(r"[,;|]", row[1])
    }  # not text, if all are single words
    returns = len({row[0] for row in rows}) <= len(rows) // 2
    before = first[-1] == 1 and returns and second[len(second) // 2] > 2 and max(labels) > 1
    return "labels before texts" if before else ""


def _with_header(path: Path, rows: list[tuple[int, list[str]]], *, least: int = 1) -> Rows:
    """Name the cells. Without a header a row may have as many as most rows have, or `least`."""
    return list(_named_cells(path, rows, least))


def _named_cells(path: Path, rows: list[tuple[int, list[str]]], least: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    header: Sequence[str] = ("text", "labels")
    sizes = [len(cells) for _, cells in rows]
    width = max(statistics.mode(sizes), least) if rows else 0
    if rows and _header(rows[0][1]):
        header = [cell.strip().casefold() for cell in rows[0][1]]
        rows = rows[1:]
        if sizes[1:] and set(sizes[1:]) == {sizes[0] + 1}:  # an index without a name, whose leading tab was stripped
            header = ["", *header]
        width = len(header)
        named = [name for name in header if name in FIELDS]
        if len(set(named)) < len(named):
            got = ", ".join(name for name in LABEL_FIELDS + TEXT_FIELDS if named.count(name) > 1)
            raise CorpusError("two columns have one name", label=path, got=got, remedy="rename one of them")
    elif got := _fault_without_header([cells for _, cells in rows]):
        need = f"a header with one of {', '.join(TEXT_FIELDS)}"
        raise CorpusError("no column of texts", label=path, got=shortened(got), need=need, remedy=SEE)
    for number, cells in rows:
        if any(cell.strip() for cell in cells[width:]):
            got, need = f"{len(cells)} cells", f"at most {width}"
            remedy = "put a text with separators in quotes"
            raise CorpusError(
                "more cells than columns", label=f"{path}, line {number}", got=got, need=need, remedy=remedy
            )
        yield f"{path}, line {number}", dict(zip(header, cells, strict=False))
