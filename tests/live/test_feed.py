"""The feed tells what happens, in order, and does not die in silence."""

import time

import pytest

from amygdala_tl import readout_client
from amygdala_tl.live.client import ReadoutClient
from amygdala_tl.live.feed import Arrived, Connected, Feed, Waiting
from tests.live.readout_server import ReadoutServer, event, manifest
from tests.live.test_client import until

SAID = manifest(["joy", "grief"], [3])


def updates(feed, taken):
    """All that `feed` has told so far."""
    taken += feed.take()
    return taken


def test_connection_tokens_and_trouble_come_in_their_order():
    server = ReadoutServer(SAID)
    taken = []
    with server.running() as url:
        feed = Feed(readout_client(url))
        feed.start()
        until(lambda: server.readers)
        before = time.monotonic()
        server.send(event(SAID, "one", lambda *_: 1.0), event(SAID, "two", lambda *_: 1.0))
        until(lambda: len(updates(feed, taken)) == 3)
    until(lambda: len(updates(feed, taken)) > 4)
    feed.stop()
    connected, one, two, *rest = taken
    assert isinstance(connected, Connected)
    assert (connected.model, connected.served.concepts) == ("served-name", ("joy", "grief"))
    assert isinstance(one, Arrived)
    assert one.connected is two.connected is connected
    assert [one.generated.text, two.generated.text] == ["one", "two"]
    assert before <= one.at <= two.at <= time.monotonic()
    assert all(isinstance(update, Waiting) and update.trouble == "unreachable" for update in rest)
    assert all(0 < update.pause <= 3 for update in rest)


def test_a_server_without_readouts_and_one_with_a_key_are_told_apart_and_asked_again():
    server = ReadoutServer(None)
    taken = []
    with server.running() as url:
        feed = Feed(readout_client(url, token=""))
        feed.start()
        until(lambda: updates(feed, taken))
        server.manifest, server.key = SAID, "k"
        until(lambda: updates(feed, taken)[-1].trouble == "key")
        server.key = None
        until(lambda: isinstance(updates(feed, taken)[-1], Connected))
        feed.stop()
    assert isinstance(taken[0], Waiting)
    assert taken[0].trouble == "off"
    assert "VLLM_READOUT_VECTORS" in taken[0].remedy


def test_what_ends_the_thread_is_raised_where_it_can_be_seen():
    class Broken(ReadoutClient):
        def manifest(self):
            raise ZeroDivisionError("a mistake in the program")

    feed = Feed(Broken("http://localhost:1"))
    feed.start()
    time.sleep(1)
    with pytest.raises(ZeroDivisionError):
        feed.take()


def test_a_feed_that_nobody_takes_from_keeps_the_newest_updates_within_its_bytes():
    server = ReadoutServer(SAID)
    with server.running() as url:
        feed = Feed(readout_client(url), most_bytes=1000)
        feed.start()
        until(lambda: server.readers)
        server.send(*(event(SAID, f"{number:03}", lambda *_: 1.0) for number in range(300)))
        taken = []
        until(lambda: any(isinstance(one, Arrived) and one.generated.text == "299" for one in list(feed._updates)))
        taken = feed.take()
        feed.stop()
    assert len(taken) == 1000 // (2 * 4 + 3 * 4)
