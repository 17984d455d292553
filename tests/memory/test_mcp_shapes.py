"""The two shapes of memory server, and what tools may answer; each is a real HTTP server on loopback."""

from collections.abc import Callable

import pytest
from starlette.responses import JSONResponse

from amygdala_tl.errors import ServerRefused
from amygdala_tl.memory import ToolNames, read_memory_server
from amygdala_tl.records import Node
from tests.memory.tiny_server import Message, TinyServer, text, times, tools
from tests.servers import running_app

NODES = [Node("a", "semantic", "one\ncalm:9")]


def test_a_tool_that_fails_is_an_error_with_the_tools_own_words() -> None:
    server = TinyServer(results={"read_graph": lambda _: text("disk on fire", isError=True)})
    with running_app(server) as url, pytest.raises(ServerRefused, match=r"read_graph\(\) failed.*disk on fire"):
        read_memory_server(url + "/mcp")


def test_an_error_reply_is_an_error_with_the_servers_words_and_code() -> None:
    reply = JSONResponse({"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": "no tools today"}})
    server = TinyServer(interfere=times([reply], on="tools/list"))
    with running_app(server) as url, pytest.raises(ServerRefused, match=r"no tools today \(-32000\)"):
        read_memory_server(url + "/mcp")


def test_a_server_with_other_tools_is_refused_with_the_list_of_them() -> None:
    server = TinyServer(results={"tools/list": lambda _: tools("weather", "calendar")})
    with running_app(server) as url, pytest.raises(ServerRefused, match=r"the tools calendar, weather.*read_graph"):
        read_memory_server(url + "/mcp")


def test_pages_of_tools_are_all_read_and_a_cursor_that_comes_twice_is_an_error() -> None:
    def paged(params: Message) -> Message:
        return tools("weather", nextCursor="2") if params.get("cursor") is None else tools("read_graph")

    with running_app(TinyServer(results={"tools/list": paged})) as url:
        assert read_memory_server(url + "/mcp") == NODES
    endless = TinyServer(results={"tools/list": lambda _: tools("x", nextCursor="2")})
    with running_app(endless) as url, pytest.raises(ServerRefused, match="pages of tools/list do not end"):
        read_memory_server(url + "/mcp")


def node_server(query: Callable[[Message], Message], render: Callable[[Message], Message]) -> TinyServer:
    listed: dict[str, Callable[[Message], Message]] = {"tools/list": lambda _: tools("ls", "cat")}
    return TinyServer(results=listed | {"ls": query, "cat": render})


NAMES = ToolNames(query="ls", render="cat")


@pytest.mark.parametrize(
    "listing",
    [
        {"structuredContent": {"nodes": [{"key": "a", "type": "semantic"}, {"key": "b", "type": "semantic"}]}},
        {"structuredContent": {"result": [{"name": "a", "kind": "semantic"}, {"id": "b", "entityType": "semantic"}]}},
        text('{"keys": ["a", "b"]}'),
        text('["a", "b"]'),
        text('{"key": "a"}', '{"key": "b"}'),
        text("a", "b"),
        text("- a  (semantic)\n- b  (semantic)\n"),
    ],
)
def test_listings_are_read_in_the_forms_that_servers_write(listing: Message) -> None:
    def render(params: Message) -> Message:
        note = {"type": "semantic", "content": f"note {params['arguments']['key']}"}
        return {"structuredContent": note}

    with running_app(node_server(lambda _: listing, render)) as url:
        nodes = read_memory_server(url + "/mcp", tool_names=NAMES)
    assert nodes == [Node("a", "semantic", "note a"), Node("b", "semantic", "note b")]


@pytest.mark.parametrize("note", ["123", '"quoted"', "null", "[1]", "", "# heading\n\ncalm:9", "{not json"])
def test_a_rendered_note_is_its_text_even_where_it_looks_like_json(note: str) -> None:
    with running_app(node_server(lambda _: text('["a"]'), lambda _: text(note))) as url:
        assert read_memory_server(url + "/mcp", tool_names=NAMES) == [Node("a", "", note)]


def test_a_listing_whose_cursor_never_changes_is_an_error_and_no_endless_loop() -> None:
    server = node_server(lambda _: text('{"keys": ["a"], "nextCursor": "same"}'), lambda _: text("x"))
    with running_app(server) as url, pytest.raises(ServerRefused, match=r"pages of ls do not end.*same"):
        read_memory_server(url + "/mcp", tool_names=NAMES)
    assert server.calls().count("tools/call ls") == 2


def test_one_node_that_cannot_be_rendered_is_named() -> None:
    def render(params: Message) -> Message:
        key = params["arguments"]["key"]
        return text(f"no node {key}", isError=True) if key == "b" else text("x")

    server = node_server(lambda _: text('["a", "b", "c"]'), render)
    with running_app(server) as url, pytest.raises(ServerRefused, match=r"cat\(key='b'\) failed.*no node b"):
        read_memory_server(url + "/mcp", tool_names=NAMES)


@pytest.mark.parametrize(
    ("result", "need"),
    [
        (text("the graph is large today"), "entities"),
        ({"structuredContent": {"entities": [{"name": "a"}]}}, "observations"),
        ({"structuredContent": {}, "resultType": "input_required"}, "more input"),
    ],
)
def test_an_answer_without_a_graph_in_it_is_refused(result: Message, need: str) -> None:
    server = TinyServer(results={"read_graph": lambda _: result})
    with running_app(server) as url, pytest.raises(ServerRefused, match=need):
        read_memory_server(url + "/mcp")


def test_a_query_tool_that_demands_a_query_is_asked_for_everything() -> None:
    asked: list[Message] = []

    def query(params: Message) -> Message:
        asked.append(params["arguments"])
        return text('["a"]')

    server = node_server(query, lambda _: text("x"))
    schema = {"type": "object", "required": ["query"]}
    server.results["tools/list"] = lambda _: {"tools": [{"name": "ls", "inputSchema": schema}, {"name": "cat"}]}
    with running_app(server) as url:
        assert read_memory_server(url + "/mcp", tool_names=NAMES) == [Node("a", "", "x")]
    assert asked == [{"query": "all"}]
