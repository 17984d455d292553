"""The client over real sockets: every kind of answer, whole, damaged and none."""

import json
import threading
import time
import traceback
import tracemalloc

import httpx
import numpy as np
import pytest

from amygdala_tl import readout_client
from amygdala_tl.errors import (
    InputError,
    KeyRefused,
    LiveReadoutError,
    LiveUnreachable,
    ReadoutChanged,
    ReadoutsOff,
    RequestUnknown,
)
from amygdala_tl.live.answers import served_of
from amygdala_tl.live.client import pause_after
from amygdala_tl.settings import ServerLimits
from tests.live.readout_server import KEY, ReadoutServer, event, manifest
from tests.net.raw_server import raw_server

SAID = manifest(["joy", "grief"], [3, 7, 9])


def listening(client, wanted, **how):
    """What `wanted` events of the stream are, in a list that fills while the thread, which is the second, runs."""
    found = []

    def listen():
        try:
            for generated in client.stream(**how):
                found.append(generated)
                if len(found) == wanted:
                    return
        except LiveReadoutError as error:
            found.append(error)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    return found, thread


def until(condition, limit=20):
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_manifest_gives_z_scores():
    with ReadoutServer(SAID).running() as url, readout_client(url) as client:
        served = client.manifest()
        assert (served.concepts, served.layers, served.model) == (("joy", "grief"), (3, 7, 9), "a model")
        assert served.manifest == SAID
        assert client.served_model() == "served-name"
        z = served.z(np.full((4, 3, 2), 5.0, dtype=np.float32))
        assert z.shape == (4, 3, 2)
        assert (z == 2.0).all()  # (5 - 1) / 2


def test_a_readout_without_calibration_has_raw_scores_only():
    with ReadoutServer(manifest(["joy"], [0], calibrated=False)).running() as url, readout_client(url) as client:
        served = client.manifest()
        assert not served.calibrated
        with pytest.raises(LiveReadoutError, match="no calibration"):
            served.z(np.zeros((1, 1), dtype=np.float32))


def test_the_four_contracted_keys_are_enough():
    bare = {key: SAID[key] for key in ("concepts", "layers", "hidden_size", "dtype")}
    with ReadoutServer(bare).running() as url, readout_client(url) as client:
        assert client.manifest().model == ""


def test_the_stream_gives_records_with_rows_that_were_not_computed_as_nan():
    server = ReadoutServer(SAID)
    with server.running() as url, readout_client(url) as client:
        found, thread = listening(client, 2)
        until(lambda: server.readers)
        partly = event(SAID, " two", lambda layer, concept: 10 * layer + concept, n=2, first=4)
        partly["readout"][0] = None
        server.send(": alive\n\n", partly, event(SAID, "\u2028 one", lambda layer, concept: 1.0, first=6))
        thread.join(20)
    first, second = found
    assert (first.request_id, first.index, first.first, first.token_ids, first.text) == ("cmpl-1", 0, 4, (0, 1), " two")
    assert np.isnan(first.scores[0]).all()
    assert first.scores[1].tolist() == [[0, 1], [10, 11], [20, 21]]
    assert second.text == "\u2028 one"


@pytest.mark.parametrize(
    "damaged",
    [
        "data: not json\n\n",
        "data: []\n\n",
        "data: {}\n\n",
        event(SAID, "x", lambda *_: 1.0) | {"readout": [[[1.0, 2.0]]]},
        event(SAID, "x", lambda *_: 1.0) | {"readout": [[[1.0], [2.0], [3.0]]]},
        event(SAID, "x", lambda *_: 1.0) | {"readout": []},
        event(SAID, "x", lambda *_: 1.0) | {"readout": [[["a", "b"]] * 3]},
        event(SAID, "x", lambda *_: 1.0) | {"token_ids": None},
    ],
)
def test_an_event_that_is_none_of_the_readout_is_an_error(damaged):
    server = ReadoutServer(SAID)
    with server.running() as url, readout_client(url) as client:
        found, thread = listening(client, 1)
        until(lambda: server.readers)
        server.send(damaged)
        thread.join(20)
    (error,) = found
    assert isinstance(error, LiveUnreachable)
    assert ", an event of the stream: " in str(error)


@pytest.mark.parametrize(
    "said",
    [[], {"concepts": []}, {**SAID, "layers": [3, "7"]}, {**SAID, "amygdala_tl": []}]
    + [{**SAID, "amygdala_tl": {"format_version": 1, "calibration": wrong}} for wrong in ([], {"tokens": {"mean": 1}})],
)
def test_an_answer_that_is_no_manifest_is_an_error(said):
    with (
        ReadoutServer(said).running() as url,
        readout_client(url) as client,
        pytest.raises(LiveUnreachable, match=r"unexpected value|is missing") as refused,
    ):
        client.manifest()
    assert url in str(refused.value)
    assert "server and client have the same version" in str(refused.value)


def test_without_reconnecting_the_end_of_the_stream_is_an_error():
    server = ReadoutServer(SAID)
    with server.running() as url, readout_client(url) as client:
        found, thread = listening(client, 1)
        until(lambda: server.readers)
        server.end_streams()
        thread.join(20)
    assert isinstance(found[0], LiveUnreachable)


def test_a_stream_that_reconnects_goes_on_after_the_server_was_away():
    server = ReadoutServer(SAID)
    with server.running() as url:
        port = httpx.URL(url).port
        client = readout_client(url)
        found, thread = listening(client, 2, reconnect=True)
        until(lambda: server.readers)
        server.send(event(SAID, "before", lambda *_: 1.0))
        until(lambda: found)
    time.sleep(0.3)
    with server.running(port):
        until(lambda: server.readers)
        server.send(event(SAID, "after", lambda *_: 1.0))
        thread.join(20)
    assert [generated.text for generated in found] == ["before", "after"]
    client.close()


def test_a_stream_that_reconnects_does_not_mix_two_readouts():
    server = ReadoutServer(SAID)
    with server.running() as url, readout_client(url) as client:
        found, thread = listening(client, 9, reconnect=True)
        until(lambda: server.readers)
        server.manifest = manifest(["joy", "calm"], [3, 7, 9])
        server.end_streams()
        thread.join(20)
    (error,) = found
    assert isinstance(error, ReadoutChanged)


def test_leaving_the_stream_hangs_up():
    server = ReadoutServer(SAID)
    with server.running() as url, readout_client(url) as client:
        _, thread = listening(client, 1)
        until(lambda: server.readers == 1)
        server.send(event(SAID, "x", lambda *_: 1.0))
        thread.join(20)
        until(lambda: server.readers == 0)


def test_a_request_is_read_position_by_position():
    server = ReadoutServer(SAID)
    row = [[1.0, 2.0]] * 3
    sequence = {
        "request_id": "cmpl-1-0", "index": 0, "finished": True, "prompt_tokens": 2, "token_ids": [5, 6, 7],
        "readout": [None, row, None],
    }  # fmt: skip
    answer = {"request_id": "cmpl-1", "concepts": SAID["concepts"], "layers": SAID["layers"], "sequences": [sequence]}
    server.requests["cmpl-1"] = answer
    with server.running() as url, readout_client(url) as client:
        (found,) = client.request("cmpl-1")
        assert (found.request_id, found.finished, found.prompt_tokens) == ("cmpl-1-0", True, 2)
        assert found.token_ids == (5, 6, 7)
        assert np.isfinite(found.scores).all(axis=(1, 2)).tolist() == [False, True, False]
        assert found.scores[1].tolist() == row
        with pytest.raises(RequestUnknown, match="Ask with the `id` of the completion"):
            client.request("../manifest")
        server.manifest = None
        with pytest.raises(ReadoutsOff):
            client.request("cmpl-1")


def test_readouts_that_are_off_a_key_that_is_missing_and_no_server_are_told_apart(monkeypatch):
    server = ReadoutServer(None)
    with server.running() as url, readout_client(url) as client:
        for ask in (client.manifest, lambda: next(client.stream(reconnect=True))):
            with pytest.raises(ReadoutsOff, match="Start vLLM with VLLM_READOUT_VECTORS"):
                ask()
    server = ReadoutServer(SAID, key=KEY.replace(" ", ""))
    with server.running() as url:
        with readout_client(url) as client, pytest.raises(KeyRefused, match="Set AMYGDALA_VLLM_TOKEN"):
            client.manifest()
        monkeypatch.setenv("AMYGDALA_VLLM_TOKEN", "wrong")
        with readout_client(url, token=KEY.replace(" ", "")) as client:
            client.manifest()
        with readout_client(url) as client, pytest.raises(KeyRefused) as refused:
            client.manifest()
        assert "wrong" not in str(refused.value)
        port = httpx.URL(url).port
    with (
        readout_client(f"http://127.0.0.1:{port}") as client,
        pytest.raises(LiveUnreachable, match="Check that the server runs"),
    ):
        client.manifest()


def test_an_answer_of_too_many_values_is_refused_before_they_become_objects():
    said = {**SAID, "a key of a later version": [[]] * SMALL.values}
    with ReadoutServer(said).running() as url:
        with readout_client(url) as client:
            client.manifest()
        with (
            readout_client(url, limits=SMALL) as client,
            pytest.raises(LiveUnreachable, match="more than 1,000 JSON values"),
        ):
            client.manifest()


def test_an_address_with_v1_or_a_path_in_front_is_understood():
    server = ReadoutServer(SAID)
    with server.running() as url:
        for given in (url, f"{url}/", f"{url}/v1", f"{url}/v1/", f" {url}/v1?x=1#y "):
            with readout_client(given) as client:
                assert client.manifest().layers == (3, 7, 9)
                assert client.label == url
        with (
            readout_client(f"{url}/behind/v1") as client,
            pytest.raises(ReadoutsOff, match="/behind/v1/readout/manifest"),
        ):
            client.manifest()


@pytest.mark.parametrize(("url", "token"), [("localhost:8000", None), ("ftp://x", None), ("http://localhost", "a b")])
def test_what_cannot_be_sent_is_a_mistake_in_the_input(url, token):
    with pytest.raises(InputError):
        readout_client(url, token=token)


def test_the_key_does_not_follow_a_redirect():
    from starlette.applications import Starlette
    from starlette.responses import RedirectResponse
    from starlette.routing import Route

    from tests.servers import running_app

    elsewhere = ReadoutServer(SAID)
    with elsewhere.running() as target:
        app = Starlette(routes=[Route("/{path:path}", lambda _: RedirectResponse(f"{target}/v1/readout/manifest"))])
        with (
            running_app(app) as url,
            readout_client(url, token="k") as client,
            pytest.raises(LiveUnreachable, match="307"),
        ):
            client.manifest()
    assert elsewhere.asked == []


def test_pauses_double_up_to_ten_seconds():
    for failures, full in ((1, 0.5), (2, 1.0), (3, 2.0), (6, 10.0), (10**6, 10.0)):
        assert full / 2 <= pause_after(failures) <= full


SMALL = ServerLimits(event_bytes=2**16, readout_bytes=2**17, values=1000, patience=1)


def endless(head, piece):
    def talk(request, send):
        send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + head)
        for _ in range(64):
            send(piece * (2**20 // len(piece)))

    return talk


@pytest.mark.parametrize(
    "talk",
    [
        endless(b"\r\ndata: ", b"x"),
        endless(b"\r\n", b"data: x\n"),
        endless(b"X-Long: ", b"x"),
        endless(b"\r\n", b": alive\n\n"),
    ],
    ids=["a line", "an event", "a header", "signs of life"],
)
def test_what_has_no_end_takes_no_more_memory_than_the_limits_allow(talk):
    with raw_server(talk) as url, readout_client(url, limits=SMALL) as client:
        served = served_of(json.dumps(SAID).encode(), url)
        tracemalloc.start()
        for ask in (client.manifest, lambda: client.request("x"), lambda: next(client.stream_of(served))):
            with pytest.raises(LiveUnreachable):
                ask()
        assert tracemalloc.get_traced_memory()[1] < 2**23
        tracemalloc.stop()


@pytest.mark.parametrize("piece", [b"X-One: more\r\n", b""], ids=["headers", "silence"])
def test_an_answer_that_never_ends_has_a_deadline(piece):
    def talk(request, send):
        send(b"HTTP/1.1 200 OK\r\n")
        while True:
            time.sleep(0.01)
            send(piece)

    with raw_server(talk) as url, readout_client(url, timeout=0.2, limits=SMALL) as client:
        served = served_of(json.dumps(SAID).encode(), url)
        start = time.monotonic()
        for ask in (client.manifest, lambda: client.request("x"), lambda: next(client.stream_of(served))):
            with pytest.raises(LiveUnreachable, match=r"no whole answer|timed out"):
                ask()
        assert time.monotonic() - start < 5


def test_a_stream_outlives_the_deadline_of_an_answer():
    server = ReadoutServer(SAID)
    with server.running() as url, readout_client(url, timeout=0.3, limits=SMALL) as client:
        found, thread = listening(client, 1)
        until(lambda: server.readers)
        time.sleep(0.5)
        server.send(event(SAID, "late", lambda *_: 1.0))
        thread.join(20)
    assert [generated.text for generated in found] == ["late"]


def test_the_key_is_in_no_message_even_when_the_server_repeats_it():
    head = b"HTTP/1.1 200 OK\r\nsk-Zq4xW9vT2mK7pL3n sk-Zq4xW9vT2mK7pL3n\r\n\r\n"
    with (
        raw_server(lambda request, send: send(head)) as url,
        readout_client(url, token="sk-Zq4xW9vT2mK7pL3n") as client,
        pytest.raises(LiveUnreachable) as caught,
    ):
        client.manifest()
    assert "Zq4xW9vT" not in "".join(traceback.format_exception(caught.value))
