"""The decoder of every edge: a value of the declared type, or one error that names the place."""

import contextlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.decode import convert, decode, decode_lines
from amygdala_tl.errors import AmygdalaError, GraphFileError, InputError


@dataclass(frozen=True, slots=True)
class Run:
    """A small record with the kinds of field that the package's records have."""

    name: str
    doses: tuple[float, ...] = ()
    counts: Mapping[str, int] | None = None
    split: Literal["train", "heldout"] = "train"


def read(data: bytes | str, into: Any = Run, **options: Any) -> Any:
    return decode(data, into, label="run.json", remedy="correct the file", **options)


def refusal(data: bytes | str, into: Any = Run, **options: Any) -> AmygdalaError:
    with pytest.raises(InputError) as caught:
        read(data, into, **options)
    return caught.value


def test_a_frozen_dataclass_is_decoded_from_json_and_from_toml():
    expected = Run("a", (0.1, 2.0), {"joy": 3}, "heldout")
    assert read('{"name": "a", "doses": [0.1, 2], "counts": {"joy": 3}, "split": "heldout", "new": 1}') == expected
    toml = 'name = "a"\ndoses = [0.1, 2]\nsplit = "heldout"\n[counts]\njoy = 3'
    assert read(toml, format="toml") == expected


@pytest.mark.parametrize(
    ("data", "what", "got", "need"),
    [
        ('{"name": "a", "doses": [1, 2, "x"]}', "unexpected value at `doses[2]`", "`str`", "`float`"),
        ('{"name": "a", "counts": {"joy": 1.5}}', "unexpected value at `counts[...]`", "`float`", "`int`"),
        ("[1]", "unexpected value", "`array`", "`object`"),
        ("{}", "`name` is missing", None, None),
        ('{"name": "a", "split": "test"}', "unexpected value at `split`", "invalid enum value 'test'", None),
        ('{"name": "a", "doses": [1e999]}', "unexpected value at `doses[0]`", "number out of range", None),
        ('{"name": "a", "doses": [NaN]}', "not valid JSON", "invalid character (byte 24)", None),
        ('{"name"', "not valid JSON", "Input data was truncated", None),
    ],
)
def test_the_error_names_the_place_and_the_types(data, what, got, need):
    error = refusal(data)
    assert (error.label, error.what, error.got, error.need) == ("run.json", what, got, need)
    assert error.remedy == "correct the file"


def test_a_missing_field_below_the_top_and_a_wrong_key_are_placed():
    assert refusal('[{"name": "a"}, {}]', list[Run]).what == "`name` is missing at `[1]`"
    assert refusal('{"a": {"b": 1}}', dict[str, dict[int, int]]).what == "unexpected key at `[...]`"


@pytest.mark.parametrize("format", ["json", "toml"])
@pytest.mark.parametrize(
    "data",
    [
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"a = " + b"[" * 200_000,
        b"9" * 10_000,
        b"a = " + b"9" * 10_000,
        b'"\xff"',
        b'a = "\xff"',
        b'a = "\\ud83d"',
        b"\xff\xfe{\x00}\x00",
        b"",
        "\ud83d",
    ],
    ids=lambda data: repr(data[:8]),
)
def test_what_kills_decoders_is_one_error(data, format):
    refusal(data, format=format)


@given(st.binary(max_size=40) | st.text(max_size=40), st.sampled_from(["json", "toml"]))
def test_any_input_gives_a_value_or_an_error_of_the_asked_class(data, format):
    with contextlib.suppress(GraphFileError):
        decode(data, dict[str, Any], label="x", remedy="y", error=GraphFileError, format=format)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3),
)  # fmt: skip


@given(JSON, st.booleans(), st.sampled_from([b"", b"\xef\xbb\xbf"]))
def test_json_reads_as_the_standard_library_reads_it(value, ascii_only, mark):
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert decode(mark + text.encode(), object, label="", remedy="") == value
    assert convert(value, object, label="", remedy="") == value


@given(st.text(st.characters() | st.characters(categories=["Cs"])))
def test_a_lone_surrogate_becomes_the_replacement_character(text):
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert read(json.dumps(text), str) == joined
    assert read(json.dumps({text: 1}), dict[str, int]) == {joined: 1}


def test_an_escaped_backslash_before_u_is_no_surrogate():
    assert read(rb'"\\ud83d \\\ud83d \\\\ud83d"', str) == "\\ud83d \\\ufffd \\\\ud83d"


def test_toml_may_say_nan_and_json_may_not():
    assert math.isnan(read("name = 'a'\ndoses = [nan]", format="toml").doses[0])
    refusal('{"name": "a", "doses": [NaN]}')


def test_lines_are_numbered_from_one_and_blank_ones_are_skipped():
    data = b'\xef\xbb\xbf{"name": "a"}\r\n\n  \n{"name": "\xe2\x80\xa8"}\n{"name": 1}\n'
    lines = decode_lines(data, Run, label="runs.jsonl", remedy="correct the file")
    assert list(islice(lines, 2)) == [("runs.jsonl, line 1", Run("a")), ("runs.jsonl, line 4", Run("\u2028"))]
    with pytest.raises(InputError) as caught:
        next(lines)
    assert (caught.value.label, caught.value.what) == ("runs.jsonl, line 5", "unexpected value at `name`")


def test_a_constraint_and_a_check_of_the_record_are_reported_like_a_wrong_type():
    class Positive(msgspec.Struct):
        n: int

        def __post_init__(self):
            if self.n < 1:
                raise ValueError("n must be positive")

    error = refusal('{"a": [{"n": 0}]}', dict[str, list[Positive]])
    assert (error.what, error.got) == ("unexpected value at `[...][0]`", "n must be positive")
