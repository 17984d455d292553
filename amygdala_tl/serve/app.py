"""The application: chat and completions on TransformerLens, the readout routes, metrics, and the page."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from amygdala_tl.lens.decoder import decoder_of
from amygdala_tl.lens.model import Lens
from amygdala_tl.readout.record import Readout
from amygdala_tl.routes.collector import Collector, collector_of
from amygdala_tl.routes.endpoints import UNBUFFERED, FastJSONResponse, readout_routes, refusal
from amygdala_tl.routes.metrics import TextMetrics
from amygdala_tl.routes.pages import page_routes
from amygdala_tl.routes.rules import rule_of
from amygdala_tl.serve.answers import Answer
from amygdala_tl.serve.engine import Busy, Engine, Wanted
from amygdala_tl.serve.generation import Generation
from amygdala_tl.serve.guard import Guard
from amygdala_tl.serve.prompts import Prompt, chat_prompt, completion_prompts, tokens_left
from amygdala_tl.serve.requests import (
    MOST_BYTES,
    AnyRequest,
    ChatRequest,
    CompletionRequest,
    Refused,
    read_request,
)
from amygdala_tl.serve.steers import edits_of
from amygdala_tl.settings import SERVE
from amygdala_tl.steering.norms import mean_norms

_COMPLETION_TOKENS = 16  # of a completion that names no number, as in OpenAI's servers
_CLIENT_GONE = 499


def readout_app(
    readout: Readout,
    lens: Lens,
    *,
    key: str | None = None,
    local: bool = True,
    most_sequences: int = SERVE.most_sequences,
    alerts: Sequence[str] = (),
    alert_webhook: str | None = None,
    metrics_concepts: Sequence[str] = (),
) -> Starlette:
    """Return an ASGI application that serves a model with the readout of every token.

    Args:
        readout: of this model.
        lens: the model. While the application runs, it alone may use the model.
        key: what requests below `/v1/` must send as `Authorization: Bearer KEY`; None lets everybody in.
        local: only this machine reaches the server. It then answers to this machine's names only, and the readout routes show
            token ids and text.
        most_sequences: how many sequences take turns; requests for more get HTTP 429.
        alerts: rules, such as `grief>3@window=64`; their events are at `/v1/readout/events`.
        alert_webhook: address that gets every event.
        metrics_concepts: concepts with metrics of their own, at most 32.

    Raises:
        ModelError: the model cannot continue a text from its cache.
        InputError, ReadoutError: an alert or its webhook is invalid, or the readout lacks the calibration of one.
    """
    rules = [rule_of(each) for each in alerts]
    collector = collector_of(
        readout, TextMetrics, with_text=local, rules=rules, webhook=alert_webhook, concepts=metrics_concepts
    )
    collector.watch()
    serving = _Serving(collector, lens, Engine(lens, readout, most_sequences))
    manifest = readout.manifest_json().encode()

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(serving.engine.close)
        if collector.alerts is not None:
            await asyncio.to_thread(collector.alerts.close)

    routes = [
        Route("/v1/models", serving.models, methods=["GET"]),
        Route("/v1/completions", serving.completion, methods=["POST"]),
        Route("/v1/chat/completions", serving.chat, methods=["POST"]),
        *readout_routes(collector, manifest),
        Route("/metrics", serving.metrics, methods=["GET"]),
        Route("/health", serving.health, methods=["GET"]),
        *page_routes("/"),
    ]
    handlers: Any = {Refused: _refused, 404: _unknown, 405: _unknown}
    guard = Middleware(Guard, key=key, local=local)
    return Starlette(routes=routes, middleware=[guard], exception_handlers=handlers, lifespan=lifespan)


class _Serving:
    """What answers the requests."""

    def __init__(self, collector: Collector, lens: Lens, engine: Engine) -> None:
        self._collector, self._lens, self.engine = collector, lens, engine
        self._norms = mean_norms(decoder_of(lens), collector.readout.layers)
        self._since = int(time.time())

    async def models(self, request: Request) -> Response:
        """Say which model is served."""
        info = self._lens.info
        model = {"id": info.id, "object": "model", "created": self._since, "owned_by": "amygdala-tl"}
        edits = {"steers": True, "erases": self._collector.readout.erasing is not None}
        return FastJSONResponse({"object": "list", "data": [model | {"max_model_len": info.n_ctx} | edits]})

    async def completion(self, request: Request) -> Response:
        """Continue one or several prompts."""
        said = read_request(await _body(request), CompletionRequest, self._lens.info.id)
        assert isinstance(said, CompletionRequest)
        wanted = said.max_tokens or _COMPLETION_TOKENS
        return await self._answer(request, said, "cmpl-", completion_prompts(said, self._lens), wanted)

    async def chat(self, request: Request) -> Response:
        """Answer the last message of a conversation."""
        said = read_request(await _body(request), ChatRequest, self._lens.info.id)
        assert isinstance(said, ChatRequest)
        wanted = said.max_completion_tokens or said.max_tokens
        return await self._answer(request, said, "chatcmpl-", [chat_prompt(said, self._lens)], wanted)

    async def metrics(self, request: Request) -> Response:
        """Show the counts."""
        metrics = self._collector.metrics
        assert isinstance(metrics, TextMetrics)
        self._collector.look()
        return PlainTextResponse(metrics.text())

    async def health(self, request: Request) -> Response:
        """Say that the server is there."""
        return Response()

    async def _answer(
        self, request: Request, said: AnyRequest, prefix: str, prompts: list[Prompt], wanted: int | None
    ) -> Response:
        edits = edits_of(said.steer, self._collector.readout, self._norms)
        sequences = [
            (prompt, at, self._wanted(said, prompt, choice, tokens_left(prompt, wanted, self._lens), edits))
            for at, prompt in enumerate(prompts)
            for choice in range(said.choices)
        ]
        if len(sequences) > (most := self.engine.most_sequences):
            raise Refused(f"the request asks for {len(sequences)} sequences; this server generates {most}", param="n")
        name = prefix + secrets.token_hex(12)
        try:
            several = isinstance(said, CompletionRequest)
            generation = Generation(self._collector, self.engine, name, several, sequences)
        except Busy:
            return refusal(429, "the server generates as many sequences as it takes; try again", Retry_After="1")
        answer = Answer(said, generation, name, self._lens.info.id)
        if said.stream:
            return _Streamed(answer)
        return await _unless_gone(request, answer)

    def _wanted(self, said: AnyRequest, prompt: Prompt, choice: int, most: int, edits: Any) -> Wanted:
        return Wanted(
            prompt.ids,
            most,
            deliver=lambda _: None,
            sampling=said.sampling(choice),
            stops=said.stops,
            edits=edits,
            ignore_end=said.ignore_eos,
        )


@final
class _Streamed(StreamingResponse):
    """A streamed answer; its sequences end with it, whether or not its client has stayed."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(_events(answer), media_type="text/event-stream", headers=UNBUFFERED)
        self._generation = answer.generation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._generation.close()


async def _events(answer: Answer) -> AsyncIterator[bytes]:
    try:
        async for event in answer.events():
            yield event
    except Exception as cause:
        yield b"data: " + bytes(_failed(cause).body) + b"\n\n"


async def _unless_gone(request: Request, answer: Answer) -> Response:
    """Return a whole answer; cancel it when its client hangs up."""
    whole, gone = asyncio.create_task(answer.whole()), asyncio.create_task(_hung_up(request))
    try:
        await asyncio.wait({whole, gone}, return_when=asyncio.FIRST_COMPLETED)
        return FastJSONResponse(whole.result()) if whole.done() else Response(status_code=_CLIENT_GONE)
    except Exception as cause:
        return _failed(cause)
    finally:
        answer.generation.close()
        whole.cancel()
        gone.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise Refused(f"the request has more than {MOST_BYTES // 2**20} MiB", status=413)
    return bytes(body)


def _failed(cause: Exception) -> FastJSONResponse:
    return refusal(500, f"the model failed: {type(cause).__name__}: {cause}")


async def _refused(_request: Request, cause: Exception) -> Response:
    assert isinstance(cause, Refused)
    return refusal(cause.status, cause.message, param=cause.param, code=cause.code)


async def _unknown(request: Request, cause: Exception) -> Response:
    status = getattr(cause, "status_code", 404)
    return refusal(status, f"{request.method} {request.url.path} is nothing that this server answers")
