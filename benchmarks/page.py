"""What the live page takes, in headless Chromium: the time to the first coloured token, frames a second, and memory.

    python benchmarks/page.py

Needs `playwright` and Chromium. `first token` chats with the embedded model on this machine, from the key that sends a message to
the first coloured token of the answer. `frames` and `heap` stream tokens of 171 concepts x 4 layers from a server that makes them
up: frames a second while tokens come, and JavaScript's heap after a collection of garbage. Server and page share this machine.
"""

import argparse
import asyncio
import shutil
import statistics
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import numpy as np
import torch
from playwright.sync_api import Page, sync_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from amygdala_tl.lens.model import load_model
from amygdala_tl.net.loopback import running_app
from amygdala_tl.readout.record import Readout
from amygdala_tl.readout.scale import Combined, Scale
from amygdala_tl.records import Calibration
from amygdala_tl.routes.endpoints import FastJSONResponse
from amygdala_tl.routes.pages import page_routes
from amygdala_tl.routes.rows import Rows
from amygdala_tl.serve.app import readout_app

CONCEPTS = tuple(f"concept {at:03}" for at in range(171))
LAYERS = (10, 14, 19, 23)
TURN = 1000
"""Tokens of an answer of a conversation."""
WORDS = (
    " the",
    " tide",
    " came",
    " in",
    " again",
    ",",
    " as",
    " it",
    " does",
    ".",
    " Nobody",
    " was",
    " there",
    "\n\n",
)


def a_readout(d_model: int) -> Readout:
    """A readout of random directions, whose scores have mean 0 and deviation 1."""
    shape, one = (len(LAYERS), len(CONCEPTS)), (1, len(CONCEPTS))
    vectors = torch.nn.functional.normalize(torch.randn(*shape, d_model), dim=-1)
    scale = Scale(None, Calibration(torch.zeros(one), torch.full(one, 2.0), 1000))
    of = Calibration(torch.zeros(shape), torch.ones(shape), 1000)
    return Readout(CONCEPTS, LAYERS, vectors, token_calibration=of, combined=Combined(torch.ones(shape), scale))


def made_up(rate: float) -> Starlette:
    """A server that answers any chat with so many tokens a second, of random scores."""
    readout, random, rows = a_readout(16), np.random.default_rng(0), Rows()
    assert readout.combined is not None
    weights: Any = readout.combined.weights.numpy()
    rows.put(range(64), random.normal(size=(64, len(LAYERS), len(CONCEPTS))).astype(np.float32))
    said = [rows.fragment(range(at, at + 1), weights).fields() for at in range(64)]

    async def chat(request: Request) -> Response:
        most = (await request.json())["max_tokens"]

        async def events() -> AsyncIterator[bytes]:
            start = time.monotonic()
            for at in range(most):
                await asyncio.sleep(max(0.0, start + at / rate - time.monotonic()))
                text = WORDS[at % len(WORDS)]
                choice = {
                    "index": 0,
                    "delta": {"content": text},
                    "finish_reason": None,
                    "tokens": [text],
                    **said[at % 64],
                }
                yield b"data: " + msgspec.json.encode({"choices": [choice]}) + b"\n\n"
            yield b"data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    async def models(_request: Request) -> Response:
        return FastJSONResponse({"data": [{"id": "made up"}]})

    async def manifest(_request: Request) -> Response:
        return Response(readout.manifest_json(), media_type="application/json")

    async def health(_request: Request) -> Response:
        return Response()

    routes = [Route("/v1/models", models), Route("/v1/readout/manifest", manifest), Route("/health", health)]
    return Starlette(routes=[*routes, Route("/v1/chat/completions", chat, methods=["POST"]), *page_routes("/")])


def ask(page: Page, url: str, most: int) -> float:
    """Open the page, and send a message; returns when."""
    page.goto(url)
    page.locator("#send:enabled").wait_for()
    page.locator("#most").fill(str(most))
    page.locator("#draft").fill("How was your day?")
    start = time.monotonic()
    page.locator("#draft").press("Enter")
    return start


def first_token(page: Page) -> None:
    """Time from asking to the first coloured token."""
    lens = load_model("embedded")
    took = []
    with running_app(readout_app(a_readout(lens.info.d_model), lens)) as url:
        for _ in range(5):
            start = ask(page, url, 4)
            page.locator(".message:nth-child(2) .tok[style]").first.wait_for()
            took.append(time.monotonic() - start)
            page.locator("#messages[aria-busy='false']").wait_for()
    print(f"first coloured token: {statistics.median(took):.2f} s ({min(took):.2f}-{max(took):.2f})", flush=True)


FRAMES = """() => new Promise((done) => {
  const [start, times] = [performance.now(), []];
  const next = (now) => {
    times.push(now);
    if (now - start < 1000) requestAnimationFrame(next);
    else done([times.length / (now - start) * 1000, Math.max(...times.slice(1).map((time, at) => time - times[at]))]);
  };
  requestAnimationFrame(next);
})"""


def tokens(page: Page) -> int:
    """Tokens of the answer that are on the page."""
    return page.locator(".message:nth-child(2) .tok").count()


def frames(page: Page, most: int, rate: float) -> None:
    """Frames a second while an answer comes, second by second."""
    with running_app(made_up(rate)) as url:
        ask(page, url, 2 * most)
        found = []
        while (shown := tokens(page)) < most:
            found.append((shown, *page.evaluate(FRAMES)))
        page.goto("about:blank")  # which ends the answer
        for shown, per_second, longest in found[:: max(1, len(found) // 8)]:
            print(f"  {shown:6} tokens: {per_second:4.0f} frames/s, longest {longest:.0f} ms")
        rates = [per_second for _, per_second, _ in found]
        print(
            f"{rate:g} tokens/s: {statistics.median(rates):.0f} frames/s ({min(rates):.0f}-{max(rates):.0f})",
            flush=True,
        )


def heap(page: Page, most: int, rate: float) -> None:
    """JavaScript's heap as a conversation grows, by answers of `TURN` tokens."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    n_answers = most // TURN
    with running_app(made_up(rate)) as url:
        ask(page, url, TURN)
        for number in range(1, n_answers + 1):
            if number > 1:
                page.locator("#draft").fill("And then?")
                page.locator("#draft").press("Enter")
            page.locator(f".message:nth-child({2 * number})").wait_for()
            page.locator("#messages[aria-busy='false']").wait_for()
            if number % max(1, n_answers // 10) == 0:
                session.send("HeapProfiler.collectGarbage")
                metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
                used, nodes = metrics["JSHeapUsedSize"] / 2**20, metrics["Nodes"]
                print(f"  {number * TURN:6} tokens: heap {used:5.1f} MiB, {nodes:.0f} nodes", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default="first,frames,heap")
    parser.add_argument("--tokens", type=int, default=2000, help="tokens of the answer during which frames are counted")
    parser.add_argument(
        "--heap-tokens", type=int, default=10_000, help="tokens of the conversation that the heap holds"
    )
    said = parser.parse_args()
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        for kind in said.kinds.split(","):
            if kind == "first":
                first_token(page)
            elif kind == "frames":
                frames(page, said.tokens, 100.0)
            else:
                heap(page, said.heap_tokens, 1000.0)
        browser.close()


if __name__ == "__main__":
    main()
