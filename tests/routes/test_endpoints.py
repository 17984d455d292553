"""The routes over real sockets, without an engine: who may read, how much, and what it costs the server."""

import asyncio
import json
import socket
import threading
import time

import httpx
import numpy as np
import psutil
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from amygdala_tl.routes.endpoints import readout_routes
from amygdala_tl.routes.readers import MOST_READERS, READER_BYTES
from amygdala_tl.routes.store import Entry, Step
from tests.servers import running_app

KEY = "a key"
LONG = 8_000
SHAPE = (4, 171)


class Home:
    """A collector, its routes on a server, and the server's event loop.

    Attributes:
        collector: with the sequences that a test puts into it.
        url: of the server.
    """

    def __init__(self, collector):
        self.collector = collector
        self.url = ""
        self._loop = None

    async def note_loop(self, _request):
        """Remember the server's loop."""
        self._loop = asyncio.get_running_loop()
        return Response()

    def run(self, coroutine):
        """Run a coroutine in the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(120)

    def fill(self, name, n, *, request_id=None, index=0, n_prompt=4):
        """Put `n` positions of a sequence into the store, whose ids are their positions."""

        async def put():
            entry = Entry(name, request_id or name, index, list(range(n_prompt)))
            self.collector.store.open(entry)
            for start in range(0, n, 512):
                positions = np.arange(start, min(n, start + 512))
                scores = np.zeros((len(positions), *SHAPE), np.float32) + positions[:, None, None] / 7
                self.collector.store.add(Step(((name, len(positions)),), positions, scores.astype(np.float32)))
            return entry

        return self.run(put())

    def generate(self, name, n):
        """A finished answer of `n` tokens that is not streamed, as vLLM would have given it."""
        entry = self.fill(name, 4 + n)

        async def end():
            await self.collector.of_output(entry, range(n), "secret words", delta=False)
            self.collector.store.finish(name)

        self.run(end())

    def get(self, path, key=KEY, **more):
        """The answer of a route."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return httpx.get(f"{self.url}/v1/readout/{path}", headers=headers, timeout=60, trust_env=False, **more)

    def reader(self):
        """A connection that asks for the stream; what comes is for the caller to read."""
        host, port = self.url.removeprefix("http://").split(":")
        raw = socket.create_connection((host, int(port)), timeout=60)
        raw.sendall(f"GET /v1/readout/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
        return raw

    def until(self, condition):
        """Wait until something holds."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture(scope="module")
def home(collector):
    """The routes, with a key of their own."""
    found = Home(collector)
    app = Starlette(routes=[*readout_routes(collector, b"{}", KEY), Route("/loop", found.note_loop)])
    with running_app(app) as url:
        found.url = url
        httpx.get(f"{url}/loop", timeout=60, trust_env=False)
        yield found


def test_every_route_asks_for_the_key(home):
    for path in ("manifest", "stream", "anything"):
        for key in (None, "another", KEY + "x", KEY[:-1]):
            answer = home.get(path, key)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert home.get("manifest").status_code == 200
    assert home.get("anything").status_code == 404


def test_a_request_is_sent_with_its_scores_and_without_ids(home):
    home.generate("cmpl-one", 200)
    answer = home.get("cmpl-one").json()
    assert (len(answer["layers"]), len(answer["concepts"])) == SHAPE
    (sequence,) = answer["sequences"]
    assert (sequence["finished"], sequence["prompt_tokens"], "token_ids" in sequence) == (True, 4, False)
    assert [row if row is None else row[3][170] for row in sequence["readout"]] == [
        *(float(np.float32(position / 7)) for position in range(203)), None,
    ]  # fmt: skip


def test_one_id_of_two_requests_is_told_apart_or_refused_and_choices_are_not(home):
    for name, index in (("0_twice-a", 0), ("1_twice-a", 1)):
        home.fill(name, 5, request_id="twice", index=index)
    assert [sequence["index"] for sequence in home.get("twice").json()["sequences"]] == [0, 1]
    home.fill("twice-b", 5, request_id="twice")
    answer = home.get("twice")
    assert answer.status_code == 409
    assert "several requests have the id twice" in answer.text


def test_a_long_request_holds_up_nobody_and_takes_no_memory(home):
    home.generate("long", LONG)
    stalls, stop = [], threading.Event()

    async def watch():
        while not stop.is_set():
            start = time.monotonic()
            await asyncio.sleep(0.01)
            stalls.append(time.monotonic() - start - 0.01)

    watching = asyncio.run_coroutine_threadsafe(watch(), home._loop)
    before, largest, size = psutil.Process().memory_info().rss, 0, 0
    with httpx.stream("GET", f"{home.url}/v1/readout/long", headers={"Authorization": f"Bearer {KEY}"}, timeout=60,
                      trust_env=False) as answer:  # fmt: skip
        for chunk in answer.iter_raw():
            size += len(chunk)
            largest = max(largest, psutil.Process().memory_info().rss)
    stop.set()
    watching.result(10)
    assert size > 50 * 2**20
    assert largest - before < size / 3
    assert max(stalls) < 0.5  # as one piece it takes seconds


def test_a_request_that_is_forgotten_while_it_is_sent_breaks_off(home):
    home.generate("cmpl-gone", LONG)
    body = b""
    with httpx.stream("GET", f"{home.url}/v1/readout/cmpl-gone", headers={"Authorization": f"Bearer {KEY}"}, timeout=60,
                      trust_env=False) as answer:  # fmt: skip
        chunks = answer.iter_raw()
        body += next(chunks)
        home.run(forget_all(home.collector.store))
        body += b"".join(chunks)
    assert len(body) < 50 * 2**20
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


async def forget_all(store):
    """Forget every finished sequence."""
    while store.done:
        store.forgotten += store.done.popitem()[1].forget()


def test_the_stream_asks_proxies_to_hold_nothing_back(home):
    with home.reader() as raw:
        head = raw.recv(2000).decode().lower()
    assert "x-accel-buffering: no" in head
    assert "cache-control: no-cache" in head


def test_a_reader_that_reads_nothing_costs_little_and_is_told_so_at_the_end(home):
    for number in range(6):  # the heap of a fresh process grows to what one answer takes in each worker thread
        home.generate(f"cmpl-before-{number}", 1_000)
        home.run(forget_all(home.collector.store))
    dropped = home.collector.metrics._numbers["stream_readers_dropped"]
    with home.reader() as raw:
        home.until(lambda: len(home.collector.readers) == 1)
        before = psutil.Process().memory_info().rss
        n_answers, n_tokens = 20, 1_000
        for number in range(n_answers):
            home.generate(f"cmpl-{number}", n_tokens)
            home.run(forget_all(home.collector.store))
        rows = n_answers * n_tokens * SHAPE[0] * SHAPE[1] * 4
        assert psutil.Process().memory_info().rss - before < rows / 2 + READER_BYTES
        said = b""
        while not said.endswith(b"0\r\n\r\n"):
            chunk = raw.recv(2**20)
            assert chunk, said[-200:]
            said = (said + chunk)[-2_000:]
    assert b"event: dropped\ndata: " in said
    assert b"connect again" in said
    assert home.collector.metrics._numbers["stream_readers_dropped"] == dropped + 1
    assert len(home.collector.readers) == 0


def test_a_reader_that_reads_gets_every_token_of_a_long_answer(home):
    rows = 0
    with httpx.stream("GET", f"{home.url}/v1/readout/stream", headers={"Authorization": f"Bearer {KEY}"}, timeout=60,
                      trust_env=False) as answer:  # fmt: skip
        lines = answer.iter_lines()
        assert next(lines) == ": readouts"
        threading.Thread(target=home.generate, args=("cmpl-read", 3_000)).start()
        for line in lines:
            if line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                assert event["first"] == rows
                assert "cmpl-read" not in line
                assert "secret" not in line
                rows += len(event["readout"])
            if rows == 3_000:
                break


def test_more_readers_than_the_stream_takes_are_turned_away(home):
    home.until(lambda: len(home.collector.readers) == 0)
    readers = [home.reader() for _ in range(MOST_READERS)]
    home.until(lambda: len(home.collector.readers) == MOST_READERS)
    answer = home.get("stream")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    for reader in readers:
        reader.close()
