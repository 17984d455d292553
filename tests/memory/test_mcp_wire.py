"""The client against servers that misbehave on the wire; each is a real HTTP server on loopback."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from email.utils import formatdate

import httpx
import pytest
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse

from amygdala_tl.errors import InputError, ServerRefused, ServerUnreachable
from amygdala_tl.memory import read_memory_server
from amygdala_tl.memory.wire import FIRST_PAUSE, Wire
from amygdala_tl.net.client import client_of
from amygdala_tl.records import Node
from tests.memory.tiny_server import GRAPH, Message, Seen, TinyServer, as_stream, text, times
from tests.servers import running_app

NODES = [Node("a", "semantic", "one\ncalm:9")]
TOKEN = "t0ken-of-the-test"

NOTE = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"reading"}}'
OTHER = b'{"jsonrpc":"2.0","id":99999,"result":{"tools":[]}}'
ASKED_BACK = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


def dumped(message: Message) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode()


def in_small_chunks(message: Message) -> Response:
    stream = b"event: message\r\ndata: " + dumped(message) + b"\r\n\r\n"
    return as_stream(*(stream[start : start + 7] for start in range(0, len(stream), 7)))


def over_many_data_lines(message: Message) -> Response:
    lines = json.dumps(message, indent=1, ensure_ascii=False).split("\n")
    return as_stream(*(f"data:{line}\n".encode() for line in lines), b"\n")


FRAMES: dict[str, Callable[[Message], Response]] = {
    "LF": lambda message: as_stream(b"data: " + dumped(message) + b"\n\n"),
    "CRLF in small chunks": in_small_chunks,
    "CR only": lambda message: as_stream(b"id: 1\rdata: " + dumped(message) + b"\r\r"),
    "many data lines": over_many_data_lines,
    "comments and keep-alives": lambda message: as_stream(
        b": hello\n\n", b":\n", b": ping\n\n", b"data: " + dumped(message) + b"\n\n", b": ping\n\n"
    ),
    "notifications and others' replies first": lambda message: as_stream(
        b"data: " + NOTE + b"\n\ndata: " + ASKED_BACK + b"\n\ndata: " + OTHER + b"\n\n",
        b"id: 3\ndata: " + dumped(message) + b"\n\n",
    ),
    "a first event without data": lambda message: as_stream(b"id: 0\ndata:\n\ndata: " + dumped(message) + b"\n\n"),
    "a batch as JSON": lambda message: JSONResponse([json.loads(NOTE), message]),
    "JSON with a charset": lambda message: Response(
        dumped(message), headers={"content-type": "Application/JSON; charset=utf-8"}
    ),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_an_answer_reads_the_same_however_it_is_framed(frame: Callable[[Message], Response]) -> None:
    observations = ["naïve 日本 \u2028 𝄞", "x" * 5000]
    graph = {"entities": [{"name": "é", "entityType": "semantic", "observations": observations}]}
    server = TinyServer(frame, results={"read_graph": lambda _: {"structuredContent": graph}})
    with running_app(server) as url:
        assert read_memory_server(url + "/mcp") == [Node("é", "semantic", "\n".join(observations))]


def test_a_stream_that_ends_before_the_answer_is_asked_again() -> None:
    cut = [as_stream(b"data: " + NOTE + b"\n\n"), as_stream(b'data: {"jsonrpc":"2.0","id"')]
    server = TinyServer(interfere=times(cut, on="tools/call"))
    with running_app(server) as url:
        assert read_memory_server(url + "/mcp") == NODES
    assert server.calls().count("tools/call read_graph") == 3


def test_a_stream_that_ends_for_good_is_an_error() -> None:
    server = TinyServer(lambda message: as_stream(b": ping\n\n"))
    with running_app(server) as url, pytest.raises(ServerUnreachable, match="ended before the answer"):
        read_memory_server(url + "/mcp")


def test_a_stream_with_ids_is_resumed_where_it_ended() -> None:
    asked: list[Message] = []

    async def hang_up(seen: Seen, server: TinyServer) -> Response | None:
        if seen.method == "GET":
            assert seen.headers["last-event-id"] == "event-5"
            assert seen.headers["mcp-session-id"] == "session-1"
            reply = {"jsonrpc": "2.0", "id": asked[-1]["id"], "result": {"structuredContent": GRAPH}}
            return as_stream(b"data: " + dumped(reply) + b"\n\n")
        if seen.call == "tools/call read_graph":
            asked.append(seen.message)
            return as_stream(b"id: event-5\nretry: 10\ndata:\n\n")
        return None

    with running_app(TinyServer(interfere=hang_up)) as url:
        assert read_memory_server(url + "/mcp") == NODES
    assert len(asked) == 1


def test_a_connection_lost_in_the_middle_of_an_answer_is_tried_again() -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield b'{"jsonrpc": "2.0",'
        raise ConnectionResetError

    broken = StreamingResponse(breaking(), media_type="application/json", headers={"content-length": "1000"})
    server = TinyServer(interfere=times([broken], on="tools/list"))
    with running_app(server) as url:
        assert read_memory_server(url + "/mcp") == NODES


@pytest.mark.parametrize("where", ["server/discover", "initialize", "tools/list", "tools/call"])
def test_503_twice_and_then_fine_is_fine(where: str) -> None:
    server = TinyServer(interfere=times([Response(status_code=503)] * 2, on=where))
    with running_app(server) as url:
        assert read_memory_server(url + "/mcp") == NODES
    assert sum(call.startswith(where) for call in server.calls()) == 3


@pytest.mark.parametrize("value", [lambda: "1", lambda: formatdate(time.time() + 2, usegmt=True)], ids=["s", "date"])
def test_retry_after_is_waited_for(value: Callable[[], str]) -> None:
    busy = Response(status_code=429, headers={"retry-after": value()})
    server = TinyServer(interfere=times([busy], on="tools/list"))
    start = time.monotonic()
    with running_app(server) as url:
        assert read_memory_server(url + "/mcp") == NODES
    assert time.monotonic() - start >= 0.9


def test_a_retry_after_that_nobody_would_wait_for_is_an_error_at_once() -> None:
    busy = Response(status_code=429, headers={"retry-after": "3600"})
    server = TinyServer(interfere=times([busy], on="tools/list"))
    start = time.monotonic()
    with running_app(server) as url, pytest.raises(ServerRefused, match=r"HTTP 429.*Try again later"):
        read_memory_server(url + "/mcp")
    assert time.monotonic() - start < 5
    assert server.calls().count("tools/list") == 1


def test_a_server_error_that_stays_is_an_error_after_pauses_that_double(
    real_pauses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = TinyServer(interfere=times([Response(status_code=500)] * 9, on="tools/list"))
    pauses: list[float] = []
    with running_app(server) as url, monkeypatch.context() as patched:
        patched.setattr(time, "sleep", pauses.append)
        with pytest.raises(ServerUnreachable, match="HTTP 500"):
            read_memory_server(url + "/mcp")
    assert server.calls().count("tools/list") == 4
    assert len(pauses) == 3
    assert all(0.5 <= pause / 2**attempt / FIRST_PAUSE <= 1 for attempt, pause in enumerate(pauses))


def test_a_client_error_is_tried_once_more_in_a_new_session_and_not_again() -> None:
    server = TinyServer(interfere=times([PlainTextResponse("no such thing", status_code=400)] * 9, on="tools/list"))
    with running_app(server) as url, pytest.raises(ServerRefused, match="HTTP 400, text/plain: no such thing"):
        read_memory_server(url + "/mcp")
    assert server.calls().count("tools/list") == server.calls().count("initialize") == 2


def lost(message: str) -> Callable[[Seen], Message]:
    return lambda seen: {"jsonrpc": "2.0", "id": seen.message["id"], "error": {"code": -32600, "message": message}}


SESSION_LOST: dict[str, Callable[[Seen], Response]] = {
    "404": lambda seen: Response(status_code=404),
    "400 in plain text": lambda seen: PlainTextResponse("Bad Request", status_code=400),
    "400 with a reply": lambda seen: JSONResponse(lost("No valid session ID provided")(seen), status_code=400),
    "410": lambda seen: Response(status_code=410),
    "200 in JSON": lambda seen: JSONResponse(lost("Session not found")(seen)),
    "200 in a stream": lambda seen: as_stream(b"data: " + dumped(lost("Server not initialized")(seen)) + b"\n\n"),
}


@pytest.mark.parametrize("drop", SESSION_LOST.values(), ids=SESSION_LOST)
def test_a_session_that_the_server_dropped_is_opened_again(drop: Callable[[Seen], Response]) -> None:
    async def once(seen: Seen, server: TinyServer) -> Response | None:
        return drop(seen) if server.calls().count("tools/call read_graph") == 1 and "tools/call" in seen.call else None

    server = TinyServer(interfere=once)
    with running_app(server) as url:
        assert read_memory_server(url + "/mcp") == NODES
    assert server.calls().count("initialize") == 2


def test_an_error_that_is_not_about_the_session_is_final() -> None:
    async def failing(seen: Seen, server: TinyServer) -> Response | None:
        return JSONResponse(lost("disk on fire")(seen)) if "tools/call" in seen.call else None

    server = TinyServer(interfere=failing)
    with running_app(server) as url, pytest.raises(ServerRefused, match="disk on fire"):
        read_memory_server(url + "/mcp")
    assert server.calls().count("initialize") == 1


def test_a_server_that_is_down_is_named_with_what_to_do() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/mcp"
    with pytest.raises(ServerUnreachable, match=r"refused.*Check that the server runs") as caught:
        read_memory_server(url)
    assert str(caught.value).startswith(url)


@pytest.mark.parametrize(
    ("page", "got"),
    [
        (HTMLResponse("<html>hello</html>"), "HTTP 200, text/html at /notes"),
        (HTMLResponse("<html>not found</html>", status_code=404), "HTTP 404, text/html at /notes"),
        (JSONResponse({"detail": "Method Not Allowed"}, status_code=405), "HTTP 405, application/json at /notes"),
        (JSONResponse({"status": "ok"}), "HTTP 200, application/json at /notes"),
        (Response(status_code=302, headers={"location": "/login?secret=1"}), "a redirect to http://127.0.0.1"),
    ],
    ids=["html", "404", "405", "json", "redirect"],
)
def test_an_address_that_is_no_mcp_endpoint_is_reported_with_what_came_instead(page: Response, got: str) -> None:
    async def always(seen: Seen, server: TinyServer) -> Response:
        return page

    with running_app(TinyServer(interfere=always)) as url, pytest.raises(ServerUnreachable) as caught:
        read_memory_server(url + "/notes?key=hidden")
    assert got in str(caught.value)
    assert "/notes/mcp" in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_endpoint_is_found_under_mcp_when_the_address_itself_is_none() -> None:
    with running_app(TinyServer()) as url:
        assert read_memory_server(url) == read_memory_server(url + "/") == read_memory_server(url + "/mcp") == NODES


def wants_token(seen: Seen) -> Response | None:
    if seen.headers.get("authorization") == f"Bearer {TOKEN}":
        return None
    return PlainTextResponse(f"not {seen.headers.get('authorization')}", status_code=401)


def test_the_token_of_the_environment_or_the_argument_opens_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async def guard(seen: Seen, server: TinyServer) -> Response | None:
        return wants_token(seen)

    monkeypatch.delenv("AMYGDALA_MCP_TOKEN", raising=False)
    with running_app(TinyServer(interfere=guard)) as url:
        with pytest.raises(ServerRefused, match=r"authorisation.*HTTP 401.*AMYGDALA_MCP_TOKEN"):
            read_memory_server(url + "/mcp")
        assert read_memory_server(url + "/mcp", token=TOKEN) == NODES
        monkeypatch.setenv("AMYGDALA_MCP_TOKEN", f" {TOKEN}\n")
        assert read_memory_server(url + "/mcp") == NODES
        monkeypatch.setenv("AMYGDALA_MCP_TOKEN", "wrong")
        with pytest.raises(ServerRefused) as caught:
            read_memory_server(url + "/mcp")
        assert "wrong" not in str(caught.value)


def test_the_token_is_in_no_message_even_when_the_server_repeats_it() -> None:
    def repeats(params: Message) -> Message:
        return text(f"bad credentials: {TOKEN}", isError=True)

    server = TinyServer(results={"read_graph": repeats})
    with running_app(server) as url, pytest.raises(ServerRefused, match="bad credentials") as caught:
        read_memory_server(url + "/mcp", token=TOKEN)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("token", ["tok\nen", "tök", "two words"])
def test_a_token_that_no_header_can_carry_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(InputError, match="AMYGDALA_MCP_TOKEN") as caught:
        read_memory_server("http://127.0.0.1:1/mcp", token=token)
    assert token not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["localhost:7777", "ftp://host/mcp", "http://", "", "http://[::1/mcp", "/mcp", f"http://{'a' * 64}.org"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="http://host:port/path"):
        read_memory_server(url)


def test_a_redirect_on_the_same_server_is_followed_with_the_message_and_the_token() -> None:
    async def moved(seen: Seen, server: TinyServer) -> Response | None:
        if seen.path == "/old":
            return Response(status_code=307, headers={"location": "/mcp"})
        return wants_token(seen)

    with running_app(TinyServer(interfere=moved)) as url:
        assert read_memory_server(url + "/old", token=TOKEN) == NODES


def test_a_redirect_to_another_server_is_not_followed() -> None:
    other = TinyServer()
    with running_app(other) as elsewhere:

        async def moved(seen: Seen, server: TinyServer) -> Response:
            return Response(status_code=307, headers={"location": elsewhere + "/mcp"})

        server = TinyServer(interfere=moved)
        with running_app(server) as url, pytest.raises(ServerUnreachable, match=f"redirect to {elsewhere}"):
            read_memory_server(url + "/mcp", token=TOKEN)
    assert server.seen
    assert not other.seen


def test_redirects_in_a_circle_end() -> None:
    async def circle(seen: Seen, server: TinyServer) -> Response:
        return Response(status_code=307, headers={"location": "/mcp"})

    with running_app(TinyServer(interfere=circle)) as url, pytest.raises(ServerUnreachable, match="redirect"):
        read_memory_server(url + "/mcp")


def test_a_session_id_that_no_header_can_carry_is_not_sent_back() -> None:
    async def odd(seen: Seen, server: TinyServer) -> Response | None:
        if seen.call != "initialize":
            return None
        response = server.answer(seen)
        response.headers["mcp-session-id"] = "sitzung-ä"
        return response

    server = TinyServer(interfere=odd)
    with running_app(server) as url:
        assert read_memory_server(url + "/mcp") == NODES
    assert all("mcp-session-id" not in seen.headers for seen in server.seen)


def test_an_answer_that_takes_longer_than_the_timeout_is_an_error() -> None:
    async def slow(seen: Seen, server: TinyServer) -> Response | None:
        if seen.call == "tools/list":
            await asyncio.sleep(2)
        return None

    with running_app(TinyServer(interfere=slow)) as url:
        with pytest.raises(ServerUnreachable, match=r"nothing within 0\.4 s"):
            read_memory_server(url + "/mcp", timeout=0.4)
        assert read_memory_server(url + "/mcp", timeout=10.0) == NODES


def test_a_server_that_never_answers_the_question_of_the_new_era_gets_the_handshake() -> None:
    async def deaf(seen: Seen, server: TinyServer) -> Response | None:
        if seen.call == "server/discover":
            await asyncio.sleep(2)
        return None

    server = TinyServer(interfere=deaf)
    with running_app(server) as url:
        assert read_memory_server(url + "/mcp", timeout=0.5) == NODES
    assert server.calls().count("server/discover") == 1


def test_keep_alives_without_an_end_do_not_keep_the_client() -> None:
    async def pinging() -> AsyncIterator[bytes]:
        while True:
            yield b": ping\n\n"
            await asyncio.sleep(0.02)

    async def keep(seen: Seen, server: TinyServer) -> Response:
        return StreamingResponse(pinging(), media_type="text/event-stream")

    with running_app(TinyServer(interfere=keep)) as url, client_of(httpx.URL(url), None) as client:
        wire = Wire(client, httpx.URL(url + "/mcp"), timeout=30.0, secret=None)
        start = time.monotonic()
        answer = wire.exchange({"jsonrpc": "2.0", "id": 1, "method": "x"}, {}, silence=0.1)
    assert answer.status == 408
    assert 0.9 < time.monotonic() - start < 5
