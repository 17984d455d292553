"""A server under requests that end in every way: nothing stays behind, and who reads along changes nothing."""

import json
import random
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from amygdala_tl.lens.hugging_face import run_decoder_layers
from amygdala_tl.readout.record import load_readout
from tests.vllm.bundles import write_bundle
from tests.vllm.serving import TINY_SERVER, stream, vllm_server

pytestmark = pytest.mark.needs_vllm

NGRAM = {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 3, "prompt_lookup_min": 1}
LAYERS = (1, 3)
SERVER = (*TINY_SERVER, "--max-num-batched-tokens", "64")
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
def bundle(tmp_path_factory):
    """Random directions at two layers."""
    concepts = tuple(f"concept{index}" for index in range(171))  # rows large enough for a leak of them to show
    path = tmp_path_factory.mktemp("bundle") / "r.safetensors"
    return write_bundle(path, d_model=64, layers=LAYERS, concepts=concepts)


@pytest.fixture(scope="module")
def server(served_checkpoint, bundle):
    """A tiny model that is served without a prefix cache, so that every position has a row."""
    with vllm_server(*SERVER, bundle=bundle, model=served_checkpoint("llama")) as running:
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


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_requests_with_one_id_at_the_same_time_get_their_own_readouts(server, path, streamed):
    def readouts(number, name):
        body = ask(number, 40, return_token_ids=True, request_id=name)
        if "chat" in path:
            body["messages"] = [{"role": "user", "content": body.pop("prompt")}]
        if not streamed:
            answer = server.client.post(path, json=body, headers={"X-Request-Id": name}).json()
            return {choice["index"]: (choice["token_ids"], choice["readout"]) for choice in answer["choices"]}
        found = {}
        with server.client.stream("POST", path, json=body | {"stream": True}, headers={"X-Request-Id": name}) as answer:
            lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: {")]
        for choice in (choice for line in lines for choice in json.loads(line)["choices"]):
            tokens, rows = found.setdefault(choice["index"], ([], []))
            tokens += choice.get("token_ids") or []
            rows += choice.get("readout") or []
        return found

    numbers = range(4)
    alone = [readouts(number, f"alone{number}") for number in numbers]
    with ThreadPoolExecutor(len(numbers)) as pool:
        together = list(pool.map(lambda number: readouts(number, "same"), numbers))
    assert [{index: tokens for index, (tokens, _) in one.items()} for one in together] == [
        {index: tokens for index, (tokens, _) in one.items()} for one in alone
    ]
    for one, other in zip(together, alone, strict=True):
        assert len(one) == len(other) > 0
        for index, (tokens, rows) in one.items():
            assert len(rows) == len(tokens) == 40
            np.testing.assert_allclose(rows, other[index][1], rtol=1e-3, atol=1e-3)
    server.until('sequences{state="running"}', 0)
    metrics = server.metrics()
    assert metrics["tokens_read_total"] - metrics["rows_forgotten_total"] == metrics["rows"]


def test_choices_of_requests_with_one_id_get_their_own_readouts(server):
    def readouts(number):
        body = ask(number, 20, return_token_ids=True, n=3, temperature=1)
        return server.client.post("/v1/completions", json=body, headers={"X-Request-Id": "choices"}).json()["choices"]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(readouts, range(4)))
    for number, choices in enumerate(answers):
        for choice in choices:
            prompt, tokens = choices[0]["prompt_token_ids"], choice["token_ids"]
            name = f"again{number}x{choice['index']}"
            again = ask(0, 1) | {"prompt": prompt + tokens}
            server.client.post("/v1/completions", json=again, headers={"X-Request-Id": name})
            (sequence,) = server.client.get(f"/v1/readout/cmpl-{name}").json()["sequences"]
            expected = sequence["readout"][len(prompt) - 1 : len(prompt) - 1 + len(tokens)]
            np.testing.assert_allclose(choice["readout"], expected, rtol=1e-3, atol=1e-3)


def test_requests_with_one_id_that_are_cancelled_leave_nothing_behind(server):
    bodies = [ask(number, 200, stream=True, n=2, temperature=1) for number in range(8)]

    def leave(body):
        with server.client.stream("POST", "/v1/completions", json=body, headers={"X-Request-Id": "left"}) as answer:
            next(line for line in answer.iter_lines() if line.startswith("data: "))

    with ThreadPoolExecutor(len(bodies)) as pool:
        list(pool.map(leave, bodies))
        list(pool.map(lambda number: reset_after(server, bodies[number], "left", number / 40), range(8)))
    server.until('sequences{state="running"}', 0)
    metrics = server.metrics()
    assert metrics["tokens_read_total"] - metrics["rows_forgotten_total"] == metrics["rows"]
    assert metrics['failures_total{where="answer"}'] == 0


def test_a_prompt_list_with_the_id_of_another_request_is_not_mixed_with_it(server):
    body = ask(3, 10) | {"prompt": ["the tide", "nobody had written since"]}
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(
            lambda body: server.client.post("/v1/completions", json=body, headers={"X-Request-Id": "list"}).json(),
            (body, body),
        )
    assert one["id"] == two["id"] == "cmpl-list"
    for first, second in zip(one["choices"], two["choices"], strict=True):
        np.testing.assert_allclose(first["readout"], second["readout"], rtol=1e-3, atol=1e-3)
    assert server.client.get("/v1/readout/cmpl-list").status_code == 409


@pytest.fixture
def drafting(served_checkpoint, bundle):
    """The same with drafts of tokens."""
    arguments = (*SERVER, "--speculative-config", json.dumps(NGRAM))
    with vllm_server(*arguments, bundle=bundle, model=served_checkpoint("llama")) as running:
        yield running


def test_drafts_that_are_accepted_have_their_scores_and_rejected_ones_leave_none(drafting, served_checkpoint, bundle):
    model = AutoModelForCausalLM.from_pretrained(served_checkpoint("llama"), dtype=torch.float32).eval()
    vectors = load_readout(bundle).vectors

    def one(number):
        answer = drafting.client.post("/v1/completions", json=ask(number, 40, return_token_ids=True)).json()
        return answer, drafting.client.get(f"/v1/readout/{answer['id']}").json()

    before = drafting.metrics()["tokens_read_total"]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(one, range(8)))
    read = drafting.metrics()["tokens_read_total"] - before
    lines = [line.rsplit(" ", 1) for line in drafting.client.get("/metrics").text.splitlines() if "spec_decode" in line]
    counted = {name.split("{")[0]: float(value) for name, value in lines if not name.startswith("#")}
    drafted, accepted = (counted[f"vllm:spec_decode_num_{what}_tokens_total"] for what in ("draft", "accepted"))
    past = NGRAM["num_speculative_tokens"] * len(found)  # drafts that are accepted behind the end of an answer
    positions = sum(answer["usage"]["total_tokens"] - 1 for answer, _ in found)
    assert accepted > 0
    assert 0 <= read - positions <= past < drafted - accepted
    for answer, kept in found:
        (choice,), (sequence,) = answer["choices"], kept["sequences"]
        ids = choice["prompt_token_ids"] + choice["token_ids"]
        outputs = run_decoder_layers(model, torch.tensor([ids]))
        streams = torch.stack([outputs[layer][0] for layer in LAYERS], dim=1)
        expected = torch.einsum("tld,lcd->tlc", streams, vectors)[:-1]
        assert sequence["readout"][-1] is None, "the last token is sampled and not run"
        rows = torch.tensor(sequence["readout"][:-1])
        assert float(((rows - expected).norm(dim=-1) / expected.norm(dim=-1)).max()) < 1e-4
        assert choice["readout"] == sequence["readout"][len(choice["prompt_token_ids"]) - 1 : -1]
