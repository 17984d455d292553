"""What a hostile memory server may take: bounded memory, bounded time, and never the token."""

import base64
import itertools
import json
import time
import traceback
import tracemalloc
import zlib
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.responses import JSONResponse, PlainTextResponse, Response

from amygdala_tl.errors import AmygdalaError, MemoryGraphError, ServerRefused, ServerUnreachable
from amygdala_tl.memory import ToolNames, read_memory_server
from amygdala_tl.records import Node
from amygdala_tl.settings import ServerLimits
from tests.memory.tiny_server import Message, Seen, TinyServer, text, tools
from tests.net.raw_server import Send, raw_server
from tests.servers import running_app

NODES = [Node("a", "semantic", "one\ncalm:9")]
MIB = 2**20
SMALL = ServerLimits(answer_bytes=MIB, total_bytes=4 * MIB, values=1000, pages=20)
TOKEN = "sk-Zq4xW9vT2mK7pL3n"

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s\r\n"
JSON, STREAM = b"application/json", b"text/event-stream"


def flood(head: bytes, piece: bytes, pieces: int = 64) -> Callable[[bytes, Send], None]:
    """An answer that goes on for `pieces` of a mebibyte; nobody who keeps it stays small."""

    def talk(request: bytes, send: Send) -> None:
        send(head)
        for _ in range(pieces):
            send(piece * (MIB // len(piece)))

    return talk


def bomb(request: bytes, send: Send) -> None:
    send(HEAD % (JSON, b"Content-Encoding: gzip\r\n"))
    gzip = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    send(b"".join(gzip.compress(bytes(MIB)) for _ in range(64)) + gzip.flush())


FLOODS: dict[str, Callable[[bytes, Send], None]] = {
    "a gzip bomb": bomb,
    "endless JSON": flood(HEAD % (JSON, b""), b'"x",'),
    "an endless line of an event": flood(HEAD % (STREAM, b"") + b"data: ", b"x"),
    "an endless event of many lines": flood(HEAD % (STREAM, b""), b"data: x\n"),
    "endless events without the reply": flood(HEAD % (STREAM, b""), b"data: " + b"x" * 2**14 + b"\n\n"),
    "endless keep-alives": flood(HEAD % (STREAM, b""), b": ping\n\n"),
    "an endless header": flood(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
}


@pytest.mark.parametrize("talk", FLOODS.values(), ids=FLOODS)
def test_a_flood_takes_no_more_memory_than_the_limits_allow(talk: Callable[[bytes, Send], None]) -> None:
    with raw_server(talk) as url:
        tracemalloc.start()
        try:
            with pytest.raises(ServerUnreachable) as caught:
                read_memory_server(url + "/mcp", limits=SMALL)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 16 * MIB
    assert str(caught.value).startswith(url)


def test_a_compressed_answer_is_read_and_an_encoding_that_was_not_asked_for_is_not() -> None:
    def compressed(encoding: str) -> Callable[[Message], Response]:
        def frame(message: Message) -> Response:
            gzip = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
            body = gzip.compress(json.dumps(message).encode()) + gzip.flush()
            return Response(body, media_type="application/json", headers={"content-encoding": encoding})

        return frame

    with running_app(TinyServer(compressed("gzip"))) as url:
        assert read_memory_server(url + "/mcp", limits=SMALL) == NODES
    for encoding in ("br", "zstd", "gzip, gzip", "deflate"):
        with (
            running_app(TinyServer(compressed(encoding))) as url,
            pytest.raises(ServerUnreachable, match="not asked for"),
        ):
            read_memory_server(url + "/mcp")


def test_json_of_many_small_values_is_refused_before_it_becomes_objects() -> None:
    many = {"structuredContent": {"entities": [[]] * 2000}}
    server = TinyServer(results={"read_graph": lambda _: many})
    with running_app(server) as url, pytest.raises(ServerUnreachable, match=r"too large.*1,000 JSON values"):
        read_memory_server(url + "/mcp", limits=SMALL)


def test_all_answers_together_are_bounded_too() -> None:
    server = TinyServer(results={"tools/list": lambda _: tools("ls", "cat"), "cat": lambda _: text("x" * (MIB // 2))})
    server.results["ls"] = lambda _: text(json.dumps([f"key {number}" for number in range(20)]))
    with running_app(server) as url, pytest.raises(ServerUnreachable, match="4,194,304 bytes"):
        read_memory_server(url + "/mcp", tool_names=ToolNames("ls", "cat"), limits=SMALL)


def dribble(piece: bytes, head: bytes = b"") -> Callable[[bytes, Send], None]:
    def talk(request: bytes, send: Send) -> None:
        send(head)
        while True:
            time.sleep(0.01)
            send(piece)

    return talk


DRIBBLES = {
    "the status line": dribble(b"H"),
    "headers": dribble(b"X-One: more\r\n", b"HTTP/1.1 200 OK\r\n"),
    "1xx answers": dribble(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "the body": dribble(b" ", HEAD % (JSON, b"")),
    "a chunk's size": dribble(b"0", HEAD % (JSON, b"Transfer-Encoding: chunked\r\n")),
    "an event": dribble(b"d", HEAD % (STREAM, b"")),
    "keep-alives": dribble(b": ping\n\n", HEAD % (STREAM, b"")),
    "a refusal's words": dribble(b"n", b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n"),
}


@pytest.mark.parametrize("talk", DRIBBLES.values(), ids=DRIBBLES)
def test_an_answer_that_never_ends_has_a_deadline(talk: Callable[[bytes, Send], None]) -> None:
    with raw_server(talk) as url:
        start = time.monotonic()
        with pytest.raises(MemoryGraphError, match=r"no whole answer within|timed out|nothing within|HTTP 400"):
            read_memory_server(url + "/mcp", timeout=0.2, limits=ServerLimits(patience=1))
        assert time.monotonic() - start < 5


@pytest.mark.parametrize("retry", ["0", "-5", "9" * 400, "9" * 5000, "soon"])
def test_a_pause_that_nobody_would_wait_for_ends_with_the_deadline(retry: str) -> None:
    stream = HEAD % (STREAM, b"") + f"id: 1\nretry: {retry}\ndata:\n\n".encode()
    with raw_server(lambda request, send: send(stream)) as url:
        start = time.monotonic()
        with pytest.raises(ServerUnreachable):
            read_memory_server(url + "/mcp", timeout=0.1, limits=ServerLimits(patience=1))
        assert time.monotonic() - start < 5


def test_cursors_that_are_always_new_end() -> None:
    numbers = itertools.count()

    def listing(params: Message) -> Message:
        return text(json.dumps({"keys": ["a"], "nextCursor": next(numbers)}))

    server = TinyServer(results={"tools/list": lambda _: tools("ls", "cat"), "ls": listing})
    names = ToolNames("ls", "cat")
    with running_app(server) as url:
        with pytest.raises(ServerRefused, match="pages of ls do not end: there are more than 20"):
            read_memory_server(url + "/mcp", tool_names=names, limits=SMALL)
        with pytest.raises(ServerRefused, match=r"pages of ls do not end: they have taken 0\.01 s"):
            read_memory_server(url + "/mcp", tool_names=names, limits=ServerLimits(listing_seconds=0.01))


ECHOES: dict[str, Callable[[str], str]] = {
    "as it is": lambda token: token,
    "in the header": lambda token: f"Authorization: Bearer {token}",
    "in capitals": str.upper,
    "backwards": lambda token: token[::-1],
    "in pieces": " ".join,
    "over lines": lambda token: f"{token[:9]}\n{token[9:]}",
    "half of it": lambda token: f"it begins with {token[:10]}",
    "in Base64": lambda token: base64.b64encode(token.encode()).decode(),
    "within Base64": lambda token: base64.b64encode(f"user:{token}:x".encode()).decode(),
    "in hexadecimal": lambda token: token.encode().hex(),
    "in an address": lambda token: "".join(f"%{ord(one):02X}" for one in token),
    "as entities": lambda token: "".join(f"&#{ord(one)};" for one in token),
    "as escapes": lambda token: "".join(f"\\u{ord(one):04x}" for one in token),
    "in wide letters": lambda token: "".join(chr(ord(one) + 0xFEE0) for one in token),
    "behind much else": lambda token: "x" * 290 + token,
}


def no_part_of_the_token(error: AmygdalaError, echo: str) -> None:
    shown = "".join(traceback.format_exception(error)) + repr(error)
    assert echo not in shown
    assert not any(TOKEN[start : start + 8] in shown for start in range(len(TOKEN) - 7))


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_the_token_is_in_no_words_of_the_server_however_it_is_written(echo: Callable[[str], str]) -> None:
    said = echo(TOKEN)
    server = TinyServer(results={"read_graph": lambda _: text(f"bad credentials {said}", isError=True)})
    with running_app(server) as url, pytest.raises(ServerRefused, match="read_graph") as caught:
        read_memory_server(url + "/mcp", token=TOKEN)
    no_part_of_the_token(caught.value, said)


def error_of(words: str, code: int = -32000) -> Message:
    return {"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": words, "data": {"supported": [words]}}}


PLACES: dict[str, Callable[[Seen], Response]] = {
    "a body": lambda seen: PlainTextResponse(f"no {TOKEN}", status_code=403),
    "JSON that is no reply": lambda seen: JSONResponse({"detail": TOKEN}, status_code=401),
    "an error": lambda seen: JSONResponse(error_of(TOKEN)),
    "an error of versions": lambda seen: JSONResponse(error_of(TOKEN, -32022)),
    "a content type": lambda seen: Response("", media_type=f"text/{TOKEN}"),
    "a redirect": lambda seen: Response(status_code=307, headers={"location": f"http://{TOKEN}.example/{TOKEN}"}),
    "a redirect to no address": lambda seen: Response(status_code=307, headers={"location": f"http://[{TOKEN}/"}),
    "a redirect that httpx cannot read": lambda seen: Response(
        status_code=302, headers={"location": f"http: /{TOKEN}"}
    ),
    "a redirect to broken punycode": lambda seen: Response(status_code=307, headers={"location": "http://xn--0/mcp"}),
    "a version": lambda seen: JSONResponse({"jsonrpc": "2.0", "id": 2, "result": {"protocolVersion": TOKEN}}),
    "a Retry-After": lambda seen: Response(status_code=429, headers={"retry-after": TOKEN}),
}


@pytest.mark.parametrize("answer", PLACES.values(), ids=PLACES)
def test_the_token_is_in_no_message_wherever_the_server_puts_it(answer: Callable[[Seen], Response]) -> None:
    async def always(seen: Seen, server: TinyServer) -> Response:
        return answer(seen)

    with running_app(TinyServer(interfere=always)) as url, pytest.raises(MemoryGraphError) as caught:
        read_memory_server(url + "/mcp", token=TOKEN)
    no_part_of_the_token(caught.value, TOKEN)


def test_the_token_is_in_no_message_when_tools_keys_and_cursors_are_made_of_it() -> None:
    served = TinyServer(results={"tools/list": lambda _: tools(TOKEN)})
    with running_app(served) as url, pytest.raises(ServerRefused, match="lacks the tools") as caught:
        read_memory_server(url + "/mcp", token=TOKEN)
    no_part_of_the_token(caught.value, TOKEN)
    names = ToolNames("ls", "cat")
    for listing, render in (
        (text(json.dumps([TOKEN])), text("no", isError=True)),
        (text(json.dumps({"keys": ["a"], "cursor": TOKEN})), text("x")),
    ):
        results = {"tools/list": tools(f"{TOKEN}.ls", f"{TOKEN}.cat"), f"{TOKEN}.ls": listing, f"{TOKEN}.cat": render}
        served = TinyServer(results={name: lambda _, said=said: said for name, said in results.items()})
        with running_app(served) as url, pytest.raises(ServerRefused) as caught:
            read_memory_server(url + "/mcp", token=TOKEN, tool_names=names)
        no_part_of_the_token(caught.value, TOKEN)


BROKEN_HEADS = {
    "a header of the token": f"HTTP/1.1 200 OK\r\n{TOKEN} {TOKEN}\r\n\r\n".encode(),
    "a status line of the token": f"{TOKEN} {TOKEN}\r\n\r\n".encode(),
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: -5\r\n\r\n{}",
    "a length of thousands of digits": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "no gzip": HEAD % (JSON, b"Content-Encoding: gzip\r\n") + b"plain",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
}


@pytest.mark.parametrize("answer", BROKEN_HEADS.values(), ids=BROKEN_HEADS)
def test_broken_http_is_one_message(answer: bytes) -> None:
    with raw_server(lambda request, send: send(answer)) as url, pytest.raises(MemoryGraphError) as caught:
        read_memory_server(url + "/mcp", token=TOKEN, timeout=1.0)
    no_part_of_the_token(caught.value, TOKEN)


BODIES = {
    "deep JSON": b"[" * 100_000,
    "deep JSON in a reply": b'{"jsonrpc":"2.0","id":1,"result":{"tools":' + b"[" * 900 + b"]" * 900 + b"}}",
    "a lone surrogate": b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"\\ud83d"}}',
    "NaN": b'{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":NaN}}',
    "an id of the wrong type": b'{"jsonrpc":"2.0","id":"1","result":{}}',
    "an id of thousands of digits": b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"result":{}}',
    "UTF-16": '{"jsonrpc":"2.0","id":1,"result":{}}'.encode("utf-16"),
    "no UTF-8": b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"\xff\xfe"}}',
}


@pytest.mark.parametrize("kind", [JSON, STREAM, b"text/plain"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_that_is_no_reply_is_one_message(body: bytes, kind: bytes) -> None:
    data = b"id: 1\ndata: " + body + b"\n\n" if kind == STREAM else body
    with raw_server(lambda request, send: send(HEAD % (kind, b"") + data)) as url, pytest.raises(MemoryGraphError):
        read_memory_server(url + "/mcp", timeout=0.3, limits=ServerLimits(patience=1))


@given(st.binary(max_size=200), st.sampled_from([b"", HEAD % (JSON, b""), HEAD % (STREAM, b""), b"HTTP/1.1 "]))
@settings(max_examples=10)
def test_any_bytes_are_an_error_of_the_graph(data: bytes, head: bytes) -> None:
    with raw_server(lambda request, send: send(head + data)) as url, pytest.raises(MemoryGraphError):
        read_memory_server(url + "/mcp", timeout=0.2, limits=ServerLimits(patience=1))


@pytest.mark.parametrize("status", [400, 401, 403, 421, 429, 500])
def test_the_words_of_a_refusal_are_shown(status: int) -> None:
    async def refuse(seen: Seen, server: TinyServer) -> Response:
        words = f"Invalid Host header: {quote('memory.test')}"
        plain = PlainTextResponse(words, status_code=status, headers={"retry-after": "99"})
        return plain if status % 2 else JSONResponse({"error": words}, status_code=status)

    shown = rf"HTTP {status}.*Invalid Host header: memory\.test"
    with running_app(TinyServer(interfere=refuse)) as url, pytest.raises(MemoryGraphError, match=shown):
        read_memory_server(url + "/mcp")


@pytest.mark.parametrize("prefix", ["memory__", "server.", "mcp/memory/", "memory-", "memory_", "a:"])
def test_tools_with_a_prefix_are_found(prefix: str) -> None:
    whole = f"{prefix}read_graph"
    graph = {
        "structuredContent": {"entities": [{"name": "a", "entityType": "semantic", "observations": ["one", "calm:9"]}]}
    }
    server = TinyServer(results={"tools/list": lambda _: tools("spread_graph", whole), whole: lambda _: graph})
    with running_app(server) as url:
        assert read_memory_server(url + "/mcp") == NODES


def test_of_several_tools_with_a_prefix_one_must_be_named() -> None:
    two = tools("x__read_graph", "y__read_graph")
    graph = {
        "structuredContent": {"entities": [{"name": "a", "entityType": "semantic", "observations": ["one", "calm:9"]}]}
    }
    server = TinyServer(results={"tools/list": lambda _: two, "y__read_graph": lambda _: graph})
    with running_app(server) as url:
        with pytest.raises(ServerRefused, match=r"several tools .* x__read_graph, y__read_graph.*Give the whole name"):
            read_memory_server(url + "/mcp")
        assert read_memory_server(url + "/mcp", tool_names=ToolNames(graph="y__read_graph")) == NODES
