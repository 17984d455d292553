"""`serve` and a watcher, while a process that is killed writes the bundle anew, and the server is killed while it streams."""

import hashlib
import itertools
import json
import os
import random
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from amygdala_tl.live.client import readout_client
from amygdala_tl.live.feed import Arrived, Feed, Waiting
from tests.chaos.forks import Ended, Started, command, start
from tests.chaos.stage import ENDINGS, Job, place

BUNDLES = ("readout", "older")
LIVE = "live.safetensors"
FILES = tuple(f"{name}{ending}" for name in BUNDLES for ending in ENDINGS)
SERVE = Job("serve", ("serve", "--readout", LIVE, "--model", "model", "--port"), (*FILES, "model"), ())
ASKED = {"prompt": "I was", "max_tokens": 150, "temperature": 0, "ignore_eos": True}
LIMIT = 60.0  # seconds that anything may take
PLAIN: dict[str, Any] = {
    "timeout": LIMIT,
    "verify": False,
    "trust_env": False,
}  # certificates would take longer than an answer
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)

Known = dict[bytes, Any]
"""Manifest as it is served -> the choice that answers `ASKED`."""


class Lost(Exception):
    """Something was lost; the text says what."""


def meet(stage: Path, folder: Path, chance: random.Random) -> tuple[str, str | None]:
    """Serve a bundle that is written anew all the time, kill server and writer, and serve again; say what was lost."""
    known = _known(stage, folder.parents[1])
    place(stage, SERVE, folder)
    running: list[Started] = []
    try:
        return _met(folder, chance, known, running), None
    except (Lost, httpx.HTTPError) as lost:
        return "a bundle written anew", f"{type(lost).__name__}: {lost}"
    finally:
        for process in running:
            with suppress(ProcessLookupError, ChildProcessError):
                _end(process)


def _met(folder: Path, chance: random.Random, known: Known, running: list[Started]) -> str:
    def writes() -> Started:
        running.append(start(_write_for_ever, folder))
        return running[-1]

    _write(folder)
    writer, refused = writes(), 0
    while isinstance(server := _serve(folder, "0", running), Ended):
        refused += 1
        _end(writer)  # perhaps within a change; the next writer finds what it left
        writer = writes()
        time.sleep(chance.uniform(0.0, 0.3))
    url, seen = server[1], folder / "seen"
    watcher = start(lambda: _watch(url, known, seen), folder)
    running.append(watcher)
    _ask_until(lambda: seen.exists() or _has_ended(watcher), url, known)
    how, tokens = chance.choice(SIGNALS), chance.randint(1, 140)
    _interrupt(url, known, server[0], how, tokens)
    time.sleep(chance.uniform(0.0, 0.1))
    _end(writer)
    port = url.rpartition(":")[2]
    if torn := isinstance(_serve(folder, port, running), Ended):
        _write(folder)
        if isinstance(_serve(folder, port, running), Ended):
            raise Lost("a bundle that was written again is refused")
    _ask_until(lambda: _has_ended(watcher), url, known)
    if (ended := watcher.wait()).code:
        raise Lost(f"the watcher: exit {ended.code}: {ended.err[-500:]}")
    return f"{refused} starts refused, {how.name} after {tokens} tokens, then {'refused' if torn else 'served'}"


def _write_for_ever() -> None:
    parent = os.getppid()
    for name in itertools.cycle(BUNDLES):
        if os.getppid() != parent:  # whoever would end this process is dead
            return
        with suppress(SystemExit):
            command(_export(name))()


def _write(folder: Path) -> None:
    ended = start(command(_export(BUNDLES[0])), folder).wait(LIMIT)
    if ended.code:
        raise Lost(f"the bundle cannot be written again: {ended.err[-500:]}")


def _export(name: str) -> tuple[str, ...]:
    return "export", "--fit-file", f"{name}.safetensors", "--output", LIVE


def _serve(folder: Path, port: str, running: list[Started]) -> tuple[Started, str] | Ended:
    """Start a server; returns it with its address, or how it ended if it refuses the bundle in one message."""
    server = start(command((*SERVE.arguments, port)), folder)
    running.append(server)
    before = time.monotonic() + LIMIT
    while time.monotonic() < before:
        said = os.pread(server.printed["out"], 1 << 16, 0).decode()
        if found := re.search(r"open (http://\S+) in", said):
            return server, found[1]
        if _has_ended(server):
            ended = server.wait()
            if ended.code != 2 or not ended.graceful or "export" not in ended.err:
                raise Lost(f"serve does not start: exit {ended.code}: {ended.err[-500:]}")
            return ended
        time.sleep(0.01)
    raise Lost("serve neither starts nor ends")


def _has_ended(process: Started) -> bool:
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(process: Started) -> None:
    process.kill(signal.SIGKILL)
    process.wait()


@cache
def _known(stage: Path, root: Path) -> Known:
    """What each of the two bundles is served as when nothing disturbs it."""
    known, running = dict[bytes, Any](), list[Started]()
    for name in BUNDLES:
        folder = place(stage, SERVE, root / "served" / f"{name} {os.getpid()}")
        ended = start(command(_export(name)), folder).wait()
        server = _serve(folder, "0", running)
        if ended.code or isinstance(server, Ended):
            raise RuntimeError(f"{name} cannot be served: {ended.err}")
        known[_manifest(server[1])] = _choice(httpx.post(f"{server[1]}/v1/completions", json=ASKED, **PLAIN).json())
        _end(server[0])
    return known


def _manifest(url: str) -> bytes:
    return httpx.get(f"{url}/v1/readout/manifest", **PLAIN).content


def _choice(answer: Any) -> Any:
    return answer["choices"][0]


def _check(url: str, known: Known) -> None:
    """Check that a server's manifest and answer are those of one of the two bundles."""
    manifest = _manifest(url)
    if manifest not in known:
        raise Lost("the manifest is of neither bundle")
    found = _choice(httpx.post(f"{url}/v1/completions", json=ASKED, **PLAIN).json())
    expected = known[manifest]
    if found["text"] != expected["text"] or not _same(found["readout"], expected["readout"]):
        raise Lost("an answer is not of the manifest's bundle")


def _ask_until(done: Callable[[], bool], url: str, known: Known) -> None:
    before = time.monotonic() + LIMIT
    while not done():
        if time.monotonic() > before:
            raise Lost("a watcher sees no tokens")
        _check(url, known)


def _same(found: Any, expected: Any) -> bool:
    one, other = np.array(found), np.array(expected)
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-3, atol=1e-5)


def _interrupt(url: str, known: Known, server: Started, how: signal.Signals, tokens: int) -> None:
    """Kill a server while it streams; the tokens that arrive must be right, and the stream must not pass for whole."""
    expected, rows, whole, killed = known[_manifest(url)]["readout"], list[Any](), False, False
    try:
        with httpx.stream("POST", f"{url}/v1/completions", json=ASKED | {"stream": True}, **PLAIN) as answer:
            for line in answer.iter_lines():
                whole = line == "data: [DONE]"
                if line.startswith("data: {"):
                    rows += _choice(json.loads(line.removeprefix("data: ")))["readout"]
                    if len(rows) >= tokens and not killed:  # an event may hold several tokens
                        server.kill(how)
                        killed = True
                if whole:
                    break
            if not whole:
                raise Lost("a stream that was cut off ends as if it were whole")
    except httpx.TransportError:
        pass
    ended = server.wait(LIMIT)
    if ended.code not in (-how, 128 + how) or "Traceback" in ended.err:
        raise Lost(f"{how.name}: exit {ended.code}: {ended.err[-500:]}")
    if len(rows) < tokens or not _same(rows, expected[: len(rows)]):
        raise Lost("the tokens of a stream that was cut off are wrong")


def _watch(url: str, known: Known, seen: Path) -> None:
    """Follow a server until it has gone away and come back; each token must be of the bundle that it is said to be of."""
    readouts = {hashlib.sha256(manifest).hexdigest(): choice["readout"] for manifest, choice in known.items()}
    with readout_client(url) as client:
        feed, away = Feed(client), False
        feed.start()
        while True:
            for update in feed.take():
                away |= seen.exists() and isinstance(update, Waiting)
                if isinstance(update, Arrived):
                    tokens, readout = update.generated, readouts[update.connected.served.digest]
                    if not _same(tokens.scores, readout[tokens.first : tokens.first + len(tokens.scores)]):
                        raise Lost("tokens of another bundle")
                    if away:
                        raise SystemExit(0)
                    seen.touch()
            time.sleep(0.01)
