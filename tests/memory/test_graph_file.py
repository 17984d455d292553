"""The reference server's JSONL: liberal with what is added to it, strict with what is broken."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amygdala_tl.errors import GraphFileError
from amygdala_tl.memory import read_graph_file
from amygdala_tl.memory.notes import split_tag_line
from amygdala_tl.records import Node

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
UNTAGGED = TEXTS.filter(lambda text: split_tag_line(text)[1] is None)
ENTITIES = st.lists(
    st.tuples(TEXTS.filter(bool), TEXTS, st.lists(UNTAGGED, max_size=3, unique=True)),
    max_size=6,
    unique_by=lambda e: e[0],
)


def entity(name: str, kind: str = "semantic", *observations: str) -> str:
    return json.dumps({"type": "entity", "name": name, "entityType": kind, "observations": observations})


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "graph.jsonl"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@given(ENTITIES, st.booleans(), st.sampled_from(["\n", "\r\n", "\n\n"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read(
    tmp_path: Path, entities: list[tuple[str, str, list[str]]], ascii_only: bool, end: str
) -> None:
    lines = [
        json.dumps(
            {"type": "entity", "name": name, "entityType": kind, "observations": observations},
            ensure_ascii=ascii_only,
        )
        for name, kind, observations in entities
    ]
    nodes = read_graph_file(written(tmp_path, end.join(lines)))
    assert nodes == [Node(name, kind, "\n".join(observations)) for name, kind, observations in entities]


def test_an_empty_observation_is_no_note(tmp_path: Path) -> None:
    nodes = read_graph_file(written(tmp_path, entity("a", "note", "The tide came in.", "awe:9", "", " \n")))
    assert nodes == [Node("a", "note", "The tide came in.\nawe:9")]


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_graph_or_a_graph_file_error(tmp_path: Path, raw: bytes) -> None:
    try:
        nodes = read_graph_file(written(tmp_path, raw))
    except GraphFileError:
        return
    assert all(isinstance(node, Node) for node in nodes)


def test_relations_unknown_types_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    lines = [
        json.dumps({"type": "relation", "from": "a", "to": "b", "relationType": "follows"}),
        "",
        json.dumps({"type": "a type to come", "name": 7}),
        entity("a", "semantic", "one", "two"),
        json.dumps({"name": "without a type"}),
    ]
    assert read_graph_file(written(tmp_path, "\ufeff" + "\n".join(lines))) == [Node("a", "semantic", "one\ntwo")]


def test_an_empty_file_is_an_empty_graph(tmp_path: Path) -> None:
    assert read_graph_file(written(tmp_path, "\n\n")) == []


def test_a_name_that_comes_again_gets_the_new_observations(tmp_path: Path) -> None:
    lines = [entity("a", "semantic", "one", "two"), entity("b"), entity("a", "other", "two", "three")]
    nodes = read_graph_file(written(tmp_path, "\n".join(lines)))
    assert nodes == [Node("a", "semantic", "one\ntwo\nthree"), Node("b", "semantic", "")]


def test_half_a_surrogate_pair_becomes_a_replacement_character(tmp_path: Path) -> None:
    (node,) = read_graph_file(written(tmp_path, entity("a", "semantic", "\ud83d and \U0001f600")))
    assert node.content == "\ufffd and \U0001f600"
    node.content.encode()


@pytest.mark.parametrize(
    "line",
    [
        '{"type": "entity", "name": "b", ',
        "[",
        '["entity"]',
        "warmth:9",
        pytest.param("[" * 100_000, id="nested too deep"),
        '{"type": "entity", "entityType": "x", "observations": []}',
        '{"type": "entity", "name": "", "entityType": "x", "observations": []}',
        '{"type": "entity", "name": "b", "entityType": "x", "observations": "text"}',
        '{"type": "entity", "name": "b", "entityType": "x", "observations": [1]}',
        '{"type": "entity", "name": "b", "entityType": "x"}',
        '{"type": "entity", "name": "b", "entityType": 3, "observations": []}',
        b'{"type": "entity", "name": "\xff"}',
    ],
)
def test_a_broken_line_is_named_by_its_number(tmp_path: Path, line: str | bytes) -> None:
    raw = line if isinstance(line, bytes) else line.encode()
    file = written(tmp_path, entity("a").encode() + b"\n\n" + raw + b"\n" + entity("c").encode())
    with pytest.raises(GraphFileError, match=r"graph\.jsonl, line 3: "):
        read_graph_file(file)


def test_a_file_that_is_not_there_or_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(GraphFileError, match=r"nowhere\.jsonl: cannot be read \(got: No such file"):
        read_graph_file(tmp_path / "nowhere.jsonl")
    with pytest.raises(GraphFileError, match="cannot be read"):
        read_graph_file(tmp_path)
