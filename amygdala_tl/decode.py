"""One decoder for everything that comes from outside: JSON, JSON lines and TOML, decoded into a declared type.

    settings = decode(path.read_bytes(), Settings, label=str(path), remedy="correct the file", format="toml")

The type is a dataclass, a `msgspec.Struct` or a plain annotation such as `dict[str, float]`. Fields that it does not declare are
ignored. Whatever is wrong becomes one `AmygdalaError` that names the place (`doses[2]`), what is there and what is needed. NaN,
infinities and numbers that do not fit are errors in JSON. A lone surrogate (`"\\ud83d"`) becomes U+FFFD, since no file, hash or
tokenizer accepts it.
"""

import re
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec
import msgspec.toml

from amygdala_tl.errors import AmygdalaError, InputError

T = TypeVar("T")
Format = Literal["json", "toml"]
if TYPE_CHECKING:
    Into = type[T]
else:  # the tests' runtime type checker does not accept `list[int]` as a `type`
    Into = T | Any

_ESCAPE = re.compile(rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F]..)|\\.", re.DOTALL)
_PLACE = re.compile(r"(.*?)(?: - at (?:`(key)` in )?`\$?\.?(.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field (`.*`)", re.DOTALL)
_EXPECTED = re.compile(r"Expected (.*?)(?:, got (.*))?", re.DOTALL)


def decode(
    data: bytes | str,
    into: Into[T],
    *,
    label: str,
    remedy: str,
    error: type[AmygdalaError] = InputError,
    format: Format = "json",
) -> T:
    """Decode a document into a value of the type `into`.

    Args:
        data: the document; bytes are UTF-8, with or without a byte order mark.
        into: the type to decode into.
        label: what the error is about (a file, a line, an address).
        remedy: what to do about an error.
        error: the class of the error.
        format: `json` or `toml`.

    Raises:
        AmygdalaError: as the class `error`, if the document is malformed or does not fit the type.
    """

    def read() -> T:
        raw = (data.encode() if isinstance(data, str) else data).removeprefix(b"\xef\xbb\xbf")
        if format == "toml":
            return msgspec.toml.decode(raw, type=into)
        return msgspec.json.decode(_without_lone_surrogates(raw), type=into)

    return _checked(read, label, remedy, error, format.upper())


def decode_lines(
    data: bytes, into: Into[T], *, label: str, remedy: str, error: type[AmygdalaError] = InputError
) -> Iterator[tuple[str, T]]:
    """Decode JSON lines one by one and yield each value after its label, such as `texts.jsonl, line 3`.

    Blank lines are skipped, and lines end at a line feed alone: JSON allows U+2028 inside a string. Raises as `decode`.
    """
    for number, line in enumerate(BytesIO(data.removeprefix(b"\xef\xbb\xbf")), start=1):  # one line at a time, not all
        if line.strip():
            place = f"{label}, line {number}"
            yield place, decode(line.removesuffix(b"\n"), into, label=place, remedy=remedy, error=error)


def decode_records(
    data: bytes, *, label: str, remedy: str, error: type[AmygdalaError] = InputError
) -> Iterator[tuple[str, Any]]:
    """Decode one JSON document, or else JSON lines, and yield each value after its label; raises as `decode_lines`."""
    try:
        value = decode(data, Any, label=label, remedy=remedy, error=error)
    except AmygdalaError:
        yield from decode_lines(data, Any, label=label, remedy=remedy, error=error)
    else:
        yield label, value


def convert(value: object, into: Into[T], *, label: str, remedy: str, error: type[AmygdalaError] = InputError) -> T:
    """Convert decoded JSON (dicts, lists, strings, numbers) to a value of the type `into`; raises as `decode`."""
    return _checked(lambda: msgspec.convert(value, into), label, remedy, error, "JSON")


def _checked(read: Callable[[], T], label: str, remedy: str, error: type[AmygdalaError], language: str) -> T:
    try:
        return read()
    except msgspec.ValidationError as cause:
        what, got, need = _facts(str(cause))
        raise error(what, label=label, got=got, need=need, remedy=remedy) from cause
    except RecursionError as cause:
        raise error(f"not valid {language}", label=label, got="nested too deeply", remedy=remedy) from cause
    except ValueError as cause:  # malformed, invalid UTF-8, or an integer too long for Python
        got = str(cause).removeprefix("JSON is malformed: ")
        raise error(f"not valid {language}", label=label, got=got, remedy=remedy) from cause


def _facts(message: str) -> tuple[str, str | None, str | None]:
    """Split msgspec's message (`Expected `float`, got `str` - at `$.doses[2]``) into problem, got and need."""
    problem, key, place = _PLACE.fullmatch(message).groups()  # type: ignore[union-attr]  # matches every text
    where = f" at `{place}`" if place else ""
    if missing := _MISSING.fullmatch(problem):
        return f"{missing[1]} is missing{where}", None, None
    what = f"unexpected {'key' if key else 'value'}{where}"
    if expected := _EXPECTED.fullmatch(problem):
        return what, expected[2], expected[1]
    return what, problem[:1].lower() + problem[1:], None


def _without_lone_surrogates(raw: bytes) -> bytes:
    if rb"\ud" not in raw and rb"\uD" not in raw:
        return raw
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], raw)
