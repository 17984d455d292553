"""Alerts from rows that arrive in a store, over a real server: fired once a crossing, shown to who may read, sent on."""

import asyncio
import contextlib
import json
import queue
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette

from amygdala_tl.routes.alerts import KEPT, alerts_of
from amygdala_tl.routes.collector import Collector
from amygdala_tl.routes.endpoints import readout_routes
from amygdala_tl.routes.metrics import TextMetrics
from amygdala_tl.routes.rules import rule_of
from amygdala_tl.routes.store import Entry, Step
from amygdala_tl.routes.webhook import MOST_WAITING, Webhook
from tests.readout.example import a_readout
from tests.servers import running_app

PROMPT = 3
READOUT = a_readout()
GRIEF = READOUT.concepts.index("grief")
KEY = "a-key"
AUTH = {"Authorization": f"Bearer {KEY}"}


def collector_of(*rules, with_text=False, webhook=None, watched=True):
    """A collector that looks out for alerts."""
    rules = [rule_of(rule) for rule in rules]
    metrics = TextMetrics([str(rule) for rule in rules])
    alerts = alerts_of(rules, metrics, with_text=with_text, webhook=webhook)
    collector = Collector(READOUT, metrics, with_text=with_text, alerts=alerts)
    if watched:
        collector.watch()
    return collector


def grief_of(z):
    """Scores [layer, concept] of a token with this z of grief at layer 10."""
    scores = np.zeros((2, 3), dtype=np.float32)
    calibration = READOUT.token_calibration
    scores[1, GRIEF] = calibration.mean[1, GRIEF] + z * calibration.std[1, GRIEF]
    return scores


def add(collector, name, zs, first=PROMPT - 1):
    """Positions from `first` on arrive at once."""
    positions = np.arange(first, first + len(zs))
    collector.store.add(Step(((name, len(zs)),), positions, np.stack([grief_of(z) for z in zs])))


def opened(collector, *names, prompt=PROMPT, reason=None):
    for name in names:
        collector.store.open(Entry(name, f"cmpl-{name}", 0, list(range(prompt)), reason))


def fired(collector):
    """(token, z) of every event so far."""
    return [(said["token"], round(said["z"], 2)) for said in map(json.loads, collector.alerts.latest(KEPT))]


def test_an_event_fires_once_a_crossing_and_again_only_after_z_has_fallen_well_below():
    collector = collector_of("grief>3@window=1@layer=10")
    opened(collector, "a")
    for at, z in enumerate([0, 2.9, 3.5, 4, 2.8, 3.2, 2.4, 3.1, 3.0, 9]):
        add(collector, "a", [z], PROMPT - 1 + at)
    assert fired(collector) == [(2, 3.5), (7, 3.1)], "at 5, z has not fallen to 2.5"
    (event, _) = map(json.loads, collector.alerts.latest(2))
    assert (event["id"], event["rule"], event["concept"]) == (1, "grief>3@window=1@layer=10", "grief")
    assert (event["above"], event["window"], event["layer"], event["tokens"]) == (3.0, 1, 10, 1)
    assert 'amygdala_tl_alerts_total{rule="grief>3@window=1@layer=10"} 2' in collector.metrics.text()


def test_the_next_turn_can_fire_at_once():
    collector = collector_of("grief>3@window=1@layer=10")
    for name in ("a", "b"):
        opened(collector, name)
        add(collector, name, [4])
        collector.store.finish(name)
    opened(collector, "c")
    collector.store.drop("c")
    assert fired(collector) == [(0, 4), (0, 4)]
    assert len(collector.store.watcher) == 0


def test_a_window_is_the_mean_of_its_last_tokens_to_the_token():
    collector = collector_of("grief>1@window=4@layer=10")
    opened(collector, "a")
    add(collector, "a", [-9, 0, 0, 0])
    assert fired(collector) == []
    lengths, std = READOUT.length_calibration, READOUT.token_calibration.std[1, GRIEF]
    four = float(lengths.shrinkage(4)[1, GRIEF])
    add(collector, "a", [4.2 * four, 9], PROMPT + 3)  # (0 + 0 + 0 + 4.2) / 4, then with 9: the -9 has left at once
    assert std > 0
    assert fired(collector) == [(4, 1.05)]


def test_a_short_turn_has_a_window_from_a_quarter_of_it_on():
    collector = collector_of("grief>3@window=64@layer=10")
    opened(collector, "a")
    add(collector, "a", [9] * 15)
    assert fired(collector) == []
    add(collector, "a", [9], PROMPT - 1 + 15)
    ((token, _),) = fired(collector)
    assert token == 15


def test_prompts_and_what_is_computed_again_and_sinks_do_not_count():
    collector = collector_of("grief>3@window=1@layer=10")
    opened(collector, "a")
    add(collector, "a", [9, 9], 0)  # of the prompt
    assert fired(collector) == []
    add(collector, "a", [9, 0])
    add(collector, "a", [9, 9, 9, 0], 0)  # after preemption
    assert fired(collector) == [(0, 9)]
    opened(collector, "sink", prompt=1)
    add(collector, "sink", [9, 0], 0)
    opened(collector, "adapter", reason="a LoRA adapter")
    add(collector, "adapter", [9])
    assert fired(collector) == [(0, 9)]


def test_rows_of_several_sequences_and_several_rows_of_one_are_told_apart():
    collector = collector_of("grief>3@window=1@layer=10", "joy>1000@layer=3", "grief>5@window=1@layer=10")
    opened(collector, "a", "b", "c")
    scores = np.stack([grief_of(z) for z in (0, 4, 0, 6, 1, 4)])
    positions = np.array([2, 3, 2, 2, 3, 4])
    collector.store.add(Step((("a", 2), ("b", 1), ("c", 3)), positions, scores))
    said = [json.loads(event) for event in collector.alerts.latest(KEPT)]
    ids = {"a": 0, "c": 1}
    assert sorted((one["token"], one["rule"][:7]) for one in said) == [
        (0, "grief>3"), (0, "grief>5"), (1, "grief>3"), (2, "grief>3"),
    ]  # fmt: skip
    assert len({one["request_id"] for one in said}) == len(ids)


def test_rows_that_are_looked_at_together_fire_what_they_fire_one_by_one():
    rules = [f"{name}>{above}@window={window}@layer=10" for name, above, window in
             (("grief", 1, 1), ("grief", 0.5, 4), ("grief", -1, 16), ("joy", 2, 4))]  # fmt: skip
    random = np.random.default_rng(0)
    steps = [[(name, float(random.normal(0, 2))) for name in "abcde" if random.random() < 0.7] for _ in range(200)]

    def feed(collector):
        at = dict.fromkeys("abcde", PROMPT - 1)
        opened(collector, *at)
        for step in filter(None, steps):
            requests, positions = tuple((name, 1) for name, _ in step), [at[name] for name, _ in step]
            collector.store.add(
                Step(requests, np.array(positions, dtype=np.int64), np.stack([grief_of(z) for _, z in step]))
            )
            for name, _ in step:
                at[name] += 1

    async def together(collector):
        feed(collector)
        assert collector.store.watcher._tokens, "some rows wait"
        collector.look()

    alone, many = collector_of(*rules, with_text=True), collector_of(*rules, with_text=True)
    feed(alone)
    asyncio.run(together(many))
    found = [
        sorted((one["request_id"], one["token"], one["rule"], round(one["z"], 3), one["tokens"]) for one in said)
        for said in ([json.loads(event) for event in collector.alerts.latest(KEPT)] for collector in (alone, many))
    ]
    assert found[0] == found[1]
    assert len(found[0]) > 100


def test_a_row_that_waits_is_looked_at_soon():
    async def run():
        collector = collector_of("grief>3@window=1@layer=10")
        opened(collector, "a")
        add(collector, "a", [4])
        assert fired(collector) == []
        async with asyncio.timeout(30):
            while not fired(collector):
                await asyncio.sleep(0.01)

    asyncio.run(run())


def test_rows_that_are_not_finite_are_left_out_of_the_window():
    collector = collector_of("grief>1@window=2@layer=10")
    opened(collector, "a")
    scores = np.stack([grief_of(z) for z in (0, np.nan, 9)])
    collector.store.add(Step((("a", 3),), np.arange(3) + PROMPT - 1, scores))
    ((token, _),) = fired(collector)
    assert token == 2
    assert json.loads(collector.alerts.latest(1)[0])["tokens"] == 2


def test_a_failure_is_counted_and_rows_are_kept():
    collector = collector_of("grief>3@window=1@layer=10")
    opened(collector, "a")
    strange = np.zeros((1, 1, 1), dtype=np.float32)  # of another bundle
    collector.store.add(Step((("a", 1),), np.array([PROMPT]), strange))
    assert len(collector.store.running["a"].rows) == 1
    assert 'amygdala_tl_failures_total{where="alert"} 1' in collector.metrics.text()


def test_the_latest_events_are_kept_and_no_more():
    collector = collector_of("grief>3@window=1@layer=10")
    for number in range(KEPT + 5):
        opened(collector, f"{number}")
        add(collector, f"{number}", [4])
        collector.store.drop(f"{number}")
    ids = [json.loads(event)["id"] for event in collector.alerts.latest(KEPT)]
    assert ids == list(range(6, KEPT + 6))
    assert [json.loads(event)["id"] for event in collector.alerts.latest(2)] == [KEPT + 4, KEPT + 5]


class Home:
    """The routes of a collector on a server."""

    def __init__(self, collector, url, loop):
        self.collector, self.url, self._loop = collector, url, loop

    def turn(self, name, *zs):
        """A sequence arrives, in the server's loop."""

        async def arrive():
            opened(self.collector, name)
            add(self.collector, name, zs)
            self.collector.look()

        asyncio.run_coroutine_threadsafe(arrive(), self._loop).result(30)

    def get(self, path, **headers):
        return httpx.get(f"{self.url}/v1/readout/{path}", headers=AUTH | headers, timeout=30, trust_env=False)


@contextlib.contextmanager
def at_home(collector):
    loops = []

    @contextlib.asynccontextmanager
    async def lifespan(_app):
        loops.append(asyncio.get_running_loop())
        yield

    with running_app(Starlette(routes=readout_routes(collector, b"{}", KEY), lifespan=lifespan)) as url:
        yield Home(collector, url, loops[0])


@pytest.mark.parametrize("with_text", [False, True])
def test_events_are_streamed_and_the_last_ones_are_json_and_neither_tells_who_asked(with_text):
    with at_home(collector_of("grief>3@window=1@layer=10", with_text=with_text)) as home:
        home.turn("secret", 4)
        with httpx.stream("GET", f"{home.url}/v1/readout/events", headers=AUTH, timeout=30, trust_env=False) as answer:
            lines = answer.iter_lines()
            assert next(lines) == ": readouts"
            home.turn("other", 0, 5)
            said = json.loads(next(line for line in lines if line.startswith("data: ")).removeprefix("data: "))
        assert (said["id"], said["token"]) == (2, 1), "the event before the connection is not streamed"
        events = home.get("events?last=5").json()["events"]
        assert events[1] == said
        assert [event["request_id"] == "cmpl-secret" for event in events] == [with_text, False]
        assert len(home.get("events?last=1").json()["events"]) == 1
        assert home.get("events?last=0").json() == {"events": []}
        for wrong in ("-1", "x", "1001", "9" * 5000, ""):
            assert home.get(f"events?last={wrong}").status_code == 400, wrong
        assert home.get("events?last=5", Authorization="Bearer another").status_code == 401


def test_a_server_without_alerts_says_so(collector):
    with at_home(collector) as home:
        assert home.get("events").status_code == 404
    assert "amygdala_tl_alert" not in collector.metrics.text()


@contextlib.contextmanager
def receiver(*answers):
    """A real receiver: answers these statuses in turn, then 200; yields its address and what it was sent."""
    got, left = queue.Queue(), list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):  # the name is http.server's
            body = self.rfile.read(int(self.headers["content-length"]))
            got.put((self.path, self.headers["content-type"], json.loads(body)))
            self.send_response(left.pop(0) if left else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_said):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook?team=1", got
        server.shutdown()
        thread.join()


def counts_of(collector):
    lines = [
        line for line in collector.metrics.text().splitlines() if line.startswith("amygdala_tl_alert_webhook_total{")
    ]
    return {line.split('"')[1]: int(line.rsplit(" ", 1)[1]) for line in lines}


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_webhook_gets_every_event_once_it_takes_them():
    with receiver(503) as (url, got):
        collector = collector_of("grief>3@window=1@layer=10", webhook=url)
        opened(collector, "a")
        add(collector, "a", [4, 0, 5])
        sent = [got.get(timeout=30) for _ in range(3)]
        until(lambda: counts_of(collector)["sent"] == 2)
        collector.alerts.close()
    assert [event["id"] for _, _, event in sent] == [1, 1, 2], "the first one was refused once"
    assert sent[0][:2] == ("/hook?team=1", "application/json")
    assert sent[2][2] == json.loads(collector.alerts.latest(1)[0])
    assert counts_of(collector) == {"sent": 2, "failed": 0, "dropped": 0}


def test_a_webhook_that_nobody_answers_fails_and_drops_and_holds_nobody_up(monkeypatch, caplog):
    monkeypatch.setattr("amygdala_tl.routes.webhook.PAUSES", ())
    metrics = TextMetrics(["a>1@window=1"])
    webhook = Webhook("http://user:secret@127.0.0.1:1/hook", metrics)
    start = time.monotonic()
    for _ in range(MOST_WAITING + 50):
        webhook.put(b"{}")
    assert time.monotonic() - start < 1
    until(lambda: metrics._numbers["failed"] + metrics._numbers["dropped"] == MOST_WAITING + 50)
    webhook.close()
    assert metrics._numbers["sent"] == 0
    assert metrics._numbers["dropped"] > 0
    assert "ConnectError" in caplog.text
    assert "secret" not in caplog.text
    assert caplog.text.count("does not take events") == 1


def test_a_receiver_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr("amygdala_tl.routes.webhook.PAUSES", ())
    monkeypatch.setattr("amygdala_tl.routes.webhook._TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        metrics = TextMetrics(["a>1@window=1"])
        webhook = Webhook(f"http://127.0.0.1:{silent.getsockname()[1]}/", metrics)
        webhook.put(b"{}")
        until(lambda: metrics._numbers["failed"] == 1)
        webhook.close()
