"""The client against real servers: the demo server in both eras, SDK servers in every mode, npm's reference server."""

import json
import logging
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from mcp.server.mcpserver import Context, MCPServer
from pydantic import Field

from amygdala_tl.demo import demo_graph_path
from amygdala_tl.demo.server import demo_app, running_demo_server
from amygdala_tl.errors import ServerRefused, ServerUnreachable
from amygdala_tl.memory import read_graph_file, read_memory_server
from amygdala_tl.records import Node
from tests.memory.recorder import Recorder
from tests.servers import reference_memory_server, running_app

KINDS = ("episodicSession", "episodicDaily", "semantic")


def notes(count: int) -> list[Node]:
    """Notes with what breaks wires: other scripts, line separators, quotes, long lines, keys of every kind."""
    text = "naïve — 日本語 𝄞 \u2028 \"quoted\" \\ 'and' <b>&amp;</b>\ttab\n\ndata: not an event\n"
    return [
        Node(f"journal-2031-01-{i % 28 + 1:02d}.md#note {i} é", KINDS[i % 3], f"{text * (i % 5 + 1)}\nwarmth:9 n{i}:10")
        for i in range(count)
    ]


def graph_file(folder: Path, nodes: list[Node]) -> Path:
    file = folder / "graph é.jsonl"
    lines = [
        {"type": "entity", "name": node.key, "entityType": node.kind, "observations": [node.content]} for node in nodes
    ]
    lines.append({"type": "relation", "from": nodes[0].key, "to": nodes[-1].key, "relationType": "before"})
    file.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    return file


def test_the_demo_server_is_read_without_a_handshake_where_both_sides_can() -> None:
    nodes = notes(250)
    app = Recorder(demo_app(nodes))
    with running_app(app) as url:
        assert read_memory_server(url + "/mcp") == nodes
    calls = Counter(app.calls())
    assert calls == {
        "server/discover": 1,
        "tools/list": 1,
        "tools/call memory_query": 3,
        "tools/call memory_render": 250,
    }
    for seen in app.seen:
        assert seen.headers["accept"] == "application/json, text/event-stream"
        assert seen.headers["mcp-protocol-version"] == "2026-07-28"
        assert seen.message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
        assert seen.headers["mcp-method"] == seen.message["method"]
        assert "mcp-session-id" not in seen.headers


def test_the_demo_server_is_read_with_a_handshake_where_it_knows_no_other_way() -> None:
    nodes = notes(120)
    app = Recorder(demo_app(nodes), only_handshake=True)
    with running_app(app) as url:
        assert read_memory_server(url + "/mcp") == nodes
    assert app.calls()[:4] == ["server/discover", "initialize", "notifications/initialized", "tools/list"]
    assert "mcp-session-id" not in app.seen[1].headers
    assert "mcp-protocol-version" not in app.seen[1].headers
    sessions = {seen.headers["mcp-session-id"] for seen in app.seen[2:]}
    assert len(sessions) == 1
    assert {seen.headers["mcp-protocol-version"] for seen in app.seen[2:]} == {"2025-11-25"}
    assert [seen.method for seen in app.seen].count("DELETE") == 1
    assert app.seen[-1].method == "DELETE"


def test_the_session_is_ended_even_when_reading_fails() -> None:
    app = Recorder(MCPServer("empty").streamable_http_app(), only_handshake=True)
    with running_app(app) as url, pytest.raises(ServerRefused, match="no tools"):
        read_memory_server(url + "/mcp")
    assert app.seen[-1].method == "DELETE"


@pytest.mark.parametrize("json_response", [True, False])
@pytest.mark.parametrize("stateless", [True, False])
@pytest.mark.parametrize("only_handshake", [True, False])
def test_every_mode_of_the_official_server_gives_the_same_graph(
    json_response: bool, stateless: bool, only_handshake: bool
) -> None:
    nodes = notes(30)
    server = MCPServer("reference-like")

    @server.tool()
    async def read_graph(context: Context) -> dict[str, object]:
        """The whole graph, after some chatter on the stream."""
        await context.report_progress(1, 2)
        entities = [{"name": n.key, "entityType": n.kind, "observations": [n.content]} for n in nodes]
        return {"entities": entities, "relations": []}

    app = server.streamable_http_app(json_response=json_response, stateless_http=stateless)
    with running_app(Recorder(app, only_handshake=only_handshake)) as url:
        assert read_memory_server(url + "/mcp") == nodes


def test_arguments_that_a_tool_wants_repeated_in_headers_are() -> None:
    server = MCPServer("mirrored")

    @server.tool()
    def memory_query() -> list[str]:
        return ["plain", "日本 key", " edges "]

    @server.tool()
    def memory_render(key: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Node-Key"})]) -> str:
        return f"note {key}"

    app = Recorder(server.streamable_http_app())
    with running_app(app) as url:
        nodes = read_memory_server(url + "/mcp")
    assert [node.content for node in nodes] == ["note plain", "note 日本 key", "note  edges "]
    assert {seen.headers["mcp-param-node-key"] for seen in app.seen if seen.call == "tools/call memory_render"} > {
        "plain"
    }


def test_progress_counts_the_nodes() -> None:
    told: list[tuple[int, int]] = []
    with running_app(demo_app(notes(7))) as url:
        read_memory_server(url, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 7) for done in range(1, 8)]


def test_the_demo_server_filters_pages_and_tails() -> None:
    nodes = notes(12)

    def call(url: str, tool: str, **arguments: object) -> dict[str, Any]:
        headers = {"accept": "application/json, text/event-stream"}
        params = {"name": tool, "arguments": arguments}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        result: dict[str, Any] = httpx.post(url, json=message, headers=headers).json()["result"]
        return result

    server = demo_app(nodes, sessions=False, stream=False)
    with running_app(server) as address:
        url = address + "/mcp"
        page = call(url, "memory_query", type="semantic", limit=3)["structuredContent"]
        assert page["nodes"][0] == {"key": nodes[2].key, "type": "semantic", "day": "2031-01-03"}
        rest = call(url, "memory_query", type="semantic", cursor=page["nextCursor"])["structuredContent"]
        assert [node["key"] for node in page["nodes"] + rest["nodes"]] == [node.key for node in nodes[2::3]]
        assert "nextCursor" not in rest
        tail = call(url, "journal_tail", count=2)["structuredContent"]["nodes"]
        assert [(node["day"], node["content"]) for node in tail] == [
            ("2031-01-10", nodes[9].content),
            ("2031-01-07", nodes[6].content),
        ]
        assert call(url, "memory_render", key="nobody")["isError"] is True
        assert call(url, "memory_query", cursor="999")["isError"] is True


def test_making_a_demo_server_leaves_the_log_alone() -> None:
    root = logging.getLogger()
    before = root.level, root.handlers.copy()
    demo_app(notes(1))
    assert (root.level, root.handlers) == before


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_its_address_serves_and_stops_when_told_to(tmp_path: Path, end: signal.Signals) -> None:
    nodes = notes(3)
    command = [sys.executable, "-m", "amygdala_tl.demo.server", "--graph", str(graph_file(tmp_path, nodes))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert read_memory_server(server.stdout.readline().strip()) == read_graph_file(command[-1])
            server.send_signal(end)
            assert server.wait(timeout=20) == 0
        finally:
            server.kill()


def test_the_command_refuses_a_missing_graph_and_a_taken_port_in_one_line(tmp_path: Path) -> None:
    file = graph_file(tmp_path, notes(2))

    def refusal(*arguments: str) -> str:
        command = [sys.executable, "-m", "amygdala_tl.demo.server", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        return done.stderr

    assert "No such file" in refusal("--graph", str(tmp_path / "missing.jsonl"))
    with running_demo_server(file) as url:
        assert "cannot listen here" in refusal("--graph", str(file), "--port", str(httpx.URL(url).port))


def test_the_demo_server_is_gone_after_its_block(tmp_path: Path) -> None:
    with running_demo_server(graph_file(tmp_path, notes(2))) as url:
        assert len(read_memory_server(url)) == 2
    with pytest.raises(ServerUnreachable):
        read_memory_server(url)


@pytest.mark.parametrize("stateful", [False, True], ids=["stateless", "stateful"])
def test_the_reference_server_gives_what_its_file_says(tmp_path: Path, stateful: bool) -> None:
    # 3 MB in one answer: many reads of the socket, one line of the event stream.
    nodes = [Node(node.key, node.kind, "naïve — 日本語 𝄞 " * 120 + node.content) for node in notes(600)]
    file = graph_file(tmp_path, nodes)
    assert sum(len(node.content) for node in nodes) > 1_000_000
    with reference_memory_server(file, stateful=stateful) as url:
        read = read_memory_server(url)
        assert read == read_memory_server(url.removesuffix("/mcp"))
    assert read == read_graph_file(file)
    assert [(node.key, node.kind) for node in read] == [(node.key, node.kind) for node in nodes]


def test_an_empty_reference_server_is_an_empty_graph(tmp_path: Path) -> None:
    with reference_memory_server(tmp_path / "not yet.jsonl") as url:
        assert read_memory_server(url) == []


def test_the_demo_graph_reads_the_same_from_file_and_both_servers() -> None:
    nodes = read_graph_file(demo_graph_path())
    assert len(nodes) > 300
    with running_demo_server() as demo, reference_memory_server(demo_graph_path()) as reference:
        assert read_memory_server(demo) == nodes
        assert read_memory_server(reference) == nodes
