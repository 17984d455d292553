"""A small server that speaks the plugin's routes over real sockets, for what a real vLLM cannot be made to do in a test.

That the plugin speaks them so is checked against vLLM itself, in tests/vllm/test_live.py.
"""

import asyncio
import json
from contextlib import contextmanager
from dataclasses import asdict, replace

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from amygdala_tl.records import ModelInfo
from tests.servers import running_app

KEY = "a key"
MODEL = ModelInfo("m", None, "0" * 64, "LlamaForCausalLM", "HookedTransformer", {}, "float32", 40, 8, 512)


def manifest(concepts, layers, *, calibrated=True, model="a model", reading=None, combined=False, unread=()):
    """A manifest whose single-token calibration has mean 1 and deviation 2 everywhere; read at the first layer, or `reading`.

    The score over all layers, if it has one, is the sum of half of each layer's, with mean 1 and deviation 2 too.
    """
    judged = {"verdict": "readable", "layer": layers[0] if reading is None else reading}
    table = {name: [[value] * len(concepts)] * len(layers) for name, value in (("mean", 1.0), ("std", 2.0))}
    one = {name: rows[:1] for name, rows in table.items()}
    weights = [[0.5] * len(concepts)] * len(layers)
    return {
        "concepts": list(concepts),
        "layers": list(layers),
        "hidden_size": 8,
        "dtype": "float16",
        "amygdala_tl": {
            "format_version": 1,
            "model": asdict(replace(MODEL, id=model)),
            "verdicts": dict.fromkeys(concepts, judged) | dict.fromkeys(unread, judged | {"verdict": "undecided"}),
            **({"combined": {"weights": weights, "calibration": {"tokens": {**one, "n": 100}}}} if combined else {}),
            **({"calibration": {"tokens": {**table, "n": 100}}} if calibrated else {}),
        },
    }


def event(said, text, value=None, *, n=1, first=1, request_id="cmpl-1"):
    """An event of `n` tokens; `value(layer, concept)` gives scores, None where they were not computed."""
    layers, concepts = range(len(said["layers"])), range(len(said["concepts"]))
    row = None if value is None else [[float(value(layer, concept)) for concept in concepts] for layer in layers]
    return {
        "request_id": request_id, "index": 0, "first": first, "token_ids": list(range(n)), "text": text,
        "readout": [row] * n,
    }  # fmt: skip


class ReadoutServer:
    """What it serves can be changed while it runs.

    Attributes:
        manifest: served; None for readouts that are off.
        key: what it asks for, None for nothing.
        readers: how many read the stream now.
        requests: id -> answer.
        asked: (path, authorization) of every request.
    """

    def __init__(self, said=None, *, key=None):
        self.manifest = said
        self.key = key
        self.readers = 0
        self.requests = {}
        self.asked = []
        self._sent = []
        self._ends = 0

    def send(self, *events):
        """Put events on every open stream; a string goes as it is."""
        self._sent += [one if isinstance(one, str) else f"data: {json.dumps(one)}\n\n" for one in events]

    def end_streams(self):
        """Close every open stream."""
        self._ends += 1

    @contextmanager
    def running(self, port=0):
        """Serve; yields the address."""
        app = Starlette(
            routes=[
                Route("/v1/models", self._answer(lambda _: JSONResponse({"data": [{"id": "served-name"}]}))),
                Route("/v1/readout/manifest", self._answer(lambda _: self._json(self.manifest))),
                Route("/v1/readout/stream", self._answer(self._stream)),
                Route("/v1/readout/{id}", self._answer(lambda asked: self._json(self.requests.get(asked.path_params["id"])))),
            ]
        )  # fmt: skip
        with running_app(app, port=port) as url:
            try:
                yield url
            finally:
                self.end_streams()

    def _answer(self, handler):
        async def answer(asked):
            key = asked.headers.get("authorization")
            self.asked.append((asked.url.path, key))
            if self.key is not None and key != f"Bearer {self.key}":
                return JSONResponse({"error": "Unauthorized"}, 401)
            return handler(asked)

        return answer

    def _json(self, said):
        return Response("Not Found", 404) if said is None or self.manifest is None else JSONResponse(said)

    def _stream(self, _):
        if self.manifest is None:
            return Response("Not Found", 404)
        ends, position = self._ends, len(self._sent)

        async def events():
            nonlocal position
            self.readers += 1
            try:
                yield ": readouts\n\n"
                while self._ends == ends:
                    for one in self._sent[position:]:
                        position += 1
                        yield one
                    await asyncio.sleep(0.01)
            finally:
                self.readers -= 1

        return StreamingResponse(events(), media_type="text/event-stream")
