"""A server under requests that end in every way: nothing stays behind, and who reads along changes nothing."""

import json
import random
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.vllm.bundles import write_bundle
from tests.vllm.serving import TINY_SERVER, stream, vllm_server

pytestmark = pytest.mark.needs_vllm

REQUESTS = 200
AT_ONCE = 16
WORDS = [
    "the",
    "tide",
    "came",
    "in",
    "again",
    "as",
    "it",
    "does",
    "and",
    "nobody",
    "had",
    "written",
    "since",
    "thursday",
]


@pytest.fixture(scope="module")
def server(served_checkpoint, tmp_path_factory):
    """A tiny model that is served with readouts of two layers, without a prefix cache, so that every position has a row."""
    concepts = tuple(f"concept{index}" for index in range(171))  # rows large enough for a leak of them to show
    bundle = write_bundle(
        tmp_path_factory.mktemp("bundle") / "r.safetensors", d_model=64, layers=(1, 3), concepts=concepts
    )
    arguments = (*TINY_SERVER, "--max-num-batched-tokens", "64")
    with vllm_server(*arguments, bundle=bundle, model=served_checkpoint("llama")) as running:
        yield running


def ask(number, n_tokens, **more):
    """A request that generates `n_tokens` from a prompt of its own."""
    chosen = random.Random(number)
    prompt = " ".join(chosen.choices(WORDS, k=chosen.randint(1, 60)))
    return {"model": "m", "prompt": prompt, "max_tokens": n_tokens, "temperature": 0, "ignore_eos": True, **more}


def run_one(running, name, number):
    """A request that is read to its end, or is cancelled: as a stream that is left, or by a connection that is reset."""
    chosen = random.Random(number)
    headers = {"X-Request-Id": name}
    body = ask(number, chosen.randint(1, 40), return_token_ids=True, stream=number % 2 == 1)
    match number % 4:
        case 0:
            assert running.client.post("/v1/completions", json=body, headers=headers).status_code == 200
        case 1:
            with running.client.stream("POST", "/v1/completions", json=body, headers=headers) as response:
                response.read()
        case 2:
            reset_after(running, body, name, chosen.uniform(0.0, 0.3))
        case 3:
            left = chosen.randint(1, 5)
            with running.client.stream("POST", "/v1/completions", json=body, headers=headers) as response:
                for line in response.iter_lines():
                    left -= line.startswith("data: ")
                    if left == 0:
                        break  # which closes the connection


def reset_after(running, body, name, seconds):
    """Send a request, and reset the connection without reading an answer."""
    data = json.dumps(body).encode()
    with connection(running) as raw:
        raw.sendall(
            f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nX-Request-Id: {name}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n".encode()
            + data
        )
        time.sleep(seconds)


def connection(running):
    """A socket to the server that is reset when it is closed."""
    host, port = running.url.removeprefix("http://").split(":")
    raw = socket.create_connection((host, int(port)), timeout=60)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return raw


def storm(running, number):
    """`REQUESTS` requests, `AT_ONCE` at once; returns their names once none of them runs any more."""
    names = [f"storm{number}x{index}" for index in range(REQUESTS)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda index: run_one(running, names[index], index), range(REQUESTS)))
    running.until('sequences{state="running"}', 0)
    return names


def kept_rows(running, name):
    """How many positions of a request have scores; None for a request that is not known any more."""
    answer = running.client.get(f"/v1/readout/cmpl-{name}")
    if answer.status_code == 404:
        return None
    (sequence,) = answer.json()["sequences"]
    assert sequence["finished"]
    assert None not in sequence["readout"][:-1]
    return len(sequence["readout"]) - 1


def memory(running):
    """Resident bytes of the serving process and its engine process that are theirs alone."""
    import psutil  # comes with vLLM

    process = psutil.Process(running.pid)
    return sum(one.memory_full_info().uss for one in (process, *process.children(recursive=True)))


def test_a_request_is_counted_by_its_positions(server):
    before = server.metrics()
    answer = server.client.post("/v1/completions", json=ask(0, 9)).json()
    n_positions = answer["usage"]["total_tokens"] - 1  # the last token is sampled and not run
    after = server.metrics()
    assert after["rows"] - before["rows"] == n_positions
    assert after["tokens_read_total"] - before["tokens_read_total"] >= n_positions
    assert after['sequences{state="kept"}'] - before['sequences{state="kept"}'] == 1
    assert all(
        value == 0 for name, value in after.items() if name.startswith(("failures_total", "positions_missing_total"))
    )


def test_requests_that_are_cancelled_and_disconnected_leave_no_rows_and_memory_flat(server):
    before = server.metrics()
    rows = [kept_rows(server, name) for name in storm(server, 0)]
    assert all(rows[index] is not None for index in range(REQUESTS) if index % 4 in (0, 1))
    finished = [row for row in rows if row is not None]
    assert len(finished) < REQUESTS
    metrics = server.metrics()
    assert metrics["rows"] - before["rows"] == sum(finished)
    assert metrics['sequences{state="kept"}'] - before['sequences{state="kept"}'] == len(finished)
    assert metrics["tokens_read_total"] - metrics["rows_forgotten_total"] == metrics["rows"]
    storm(server, 1)
    storm(server, 2)  # as many finished requests as are ever kept
    warm, read = memory(server), server.metrics()["tokens_read_total"]
    storm(server, 3)
    storm(server, 4)
    metrics = server.metrics()
    leak = (metrics["tokens_read_total"] - read) * 2 * 171 * 4  # bytes, if these storms' rows stayed
    assert memory(server) - warm < leak / 2
    assert metrics['sequences{state="kept"}'] == 256
    assert metrics["tokens_read_total"] - metrics["rows_forgotten_total"] == metrics["rows"]
    assert all(value == 0 for name, value in metrics.items() if name.startswith("failures_total"))
    assert "Traceback" not in server.log.read_text()


def test_readers_of_the_stream_that_are_killed_or_read_nothing_change_no_generation(server):
    bodies = [ask(number, 60, stream=True, return_token_ids=True) for number in range(8)]

    def tokens(body):
        chunks = stream(server, "/v1/completions", body)
        assert all(None not in chunk["choices"][0]["readout"] for chunk in chunks)
        return [token for chunk in chunks for token in chunk["choices"][0]["token_ids"]]

    with ThreadPoolExecutor(len(bodies)) as pool:
        before = list(pool.map(tokens, bodies))
        readers = [connection(server) for _ in range(6)]
        for reader in readers:
            reader.sendall(b"GET /v1/readout/stream HTTP/1.1\r\nHost: x\r\n\r\n")
            assert reader.recv(1000).startswith(b"HTTP/1.1 200")
        server.until("stream_readers", 6)
        running = [pool.submit(tokens, body) for body in bodies]
        for reader in readers[:4]:
            reader.recv(100_000)
            reader.close()  # in the middle of its stream; the other two never read
        after = [one.result() for one in running]
    assert after == before
    for reader in readers[4:]:
        reader.close()
    server.until("stream_readers", 0)
    assert "Traceback" not in server.log.read_text()
