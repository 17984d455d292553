"""Readouts in the answers of the completions and chat completions endpoints, streamed or whole: `choices[i].readout`.

Stock vLLM builds its answers from `CompletionOutput`s. Here these carry the readouts of their tokens, and its response models
accept more fields. A streamed chunk does not say how many tokens it holds, so the readouts of each choice wait for its next chunk
with text. A request that asks for `return_tokens` gets the text of each token beside them, and the prompt's tokens with theirs.

Readouts are written once, as bytes, and the JSON around them takes them as they are: numbers as Python objects would take ten
times the memory, and the standard library 0.5 ms for one token with 171 concepts x 4 layers instead of 0.05.
"""

import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec

from amygdala_tl.routes.rows import READOUT, Fragment, joined
from amygdala_tl.routes.store import Entry
from amygdala_tl.vllm.texts import TokenTexts, texts_of
from amygdala_tl.vllm.unlike import why_unlike

if TYPE_CHECKING:
    from amygdala_tl.vllm.receiver import Receiver
    from amygdala_tl.vllm.traces import Traces

_REASON = "readout_reason"

_CALL: ContextVar[dict[int, Entry] | None] = ContextVar("readout_call", default=None)
"""Sequences of the call of `generate` that runs in this context, by choice. A client's request id cannot tell calls apart."""


def install_in_engine_client(receiver: "Receiver", traces: "Traces | None") -> None:
    """Let the outputs of the asynchronous engine carry the readouts of their tokens, and `traces` the strongest concepts."""
    from vllm.v1.engine.async_llm import AsyncLLM
    from vllm.v1.engine.output_processor import OutputProcessor

    add_request, generate = OutputProcessor.add_request, AsyncLLM.generate
    signature = inspect.signature(generate)

    @functools.wraps(add_request)
    def and_open(
        self: Any, request: Any, prompt: Any, parent_req: Any = None, request_index: int = 0, queue: Any = None
    ) -> None:
        own = _CALL.get()
        if own is not None and request.request_id not in self.request_states:  # else more input for a running one
            with receiver.failures.noted("answer"):
                ids, reason = list(request.prompt_token_ids or []), why_unlike(request)
                entry = Entry(request.request_id, request.external_req_id, request_index, ids, reason)
                own[request_index] = entry
                receiver.collector.store.open(entry)
        add_request(self, request, prompt, parent_req, request_index, queue)

    @functools.wraps(generate)
    async def and_read(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        receiver.start()
        params = signature.bind(*args, **kwargs).arguments["sampling_params"]
        delta = getattr(params.output_kind, "name", "") == "DELTA"
        own: dict[int, Entry] = {}
        _CALL.set(own)  # the engine names the sequences in this context, before it gives the first result
        try:
            async with contextlib.aclosing(generate(*args, **kwargs)) as results:
                async for result in results:
                    for output in result.outputs:
                        with receiver.failures.noted("answer"):
                            if entry := own.get(output.index):
                                await _attach(receiver, traces, entry, output, delta)
                    yield result
        finally:
            with receiver.failures.noted("answer"):
                for entry in own.values():
                    if traces is not None:
                        traces.write(entry)  # of a client that left before it had the last token
                    receiver.collector.store.drop(entry.engine_id)

    OutputProcessor.add_request = and_open
    AsyncLLM.generate = and_read


async def _attach(receiver: "Receiver", traces: "Traces | None", entry: Entry, output: Any, delta: bool) -> None:
    """Attach to an output the readouts of its tokens."""
    output.readout = await receiver.collector.of_output(entry, list(output.token_ids), output.text, delta=delta)
    output.readout_entry = entry
    if output.finish_reason is not None:
        if traces is not None:
            traces.write(entry)
        receiver.collector.store.finish(entry.engine_id)


def install_in_endpoints(receiver: "Receiver") -> None:
    """Let the endpoints copy the readouts of the outputs into their answers."""
    from vllm.entrypoints.openai.chat_completion import api_router as chat_router
    from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
    from vllm.entrypoints.openai.completion import api_router as completion_router
    from vllm.entrypoints.openai.completion.serving import OpenAIServingCompletion

    from amygdala_tl.routes.endpoints import FastJSONResponse

    for router in (chat_router, completion_router):
        router.JSONResponse = FastJSONResponse
    completion, chat = OpenAIServingCompletion, OpenAIServingChat
    completion.completion_stream_generator = _streamed(completion.completion_stream_generator, receiver)
    chat.chat_completion_stream_generator = _streamed(chat.chat_completion_stream_generator, receiver)
    chat.chat_completion_full_generator = _whole_chat(chat.chat_completion_full_generator, receiver)
    whole = completion.request_output_to_completion_response
    signature = inspect.signature(whole)

    @functools.wraps(whole)
    def with_readouts(*args: Any, **kwargs: Any) -> Any:
        response = whole(*args, **kwargs)
        with receiver.failures.noted("answer"):
            said = signature.bind(*args, **kwargs).arguments
            outputs = [output for result in said["final_res_batch"] for output in result.outputs]
            for choice, output in zip(response.choices, outputs, strict=True):
                _put(choice, output, texts_of(said, receiver.collector))
        return response

    completion.request_output_to_completion_response = with_readouts


def _whole_chat(original: Callable[..., Any], receiver: "Receiver") -> Callable[..., Any]:
    signature = inspect.signature(original)

    @functools.wraps(original)
    async def with_readouts(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        found: dict[int, Any] = {}

        async def watched(results: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
            async for result in results:
                found.update({output.index: output for output in result.outputs})
                yield result

        bound.arguments["result_generator"] = watched(bound.arguments["result_generator"])
        response = await original(*bound.args, **bound.kwargs)
        with receiver.failures.noted("answer"):
            for choice in getattr(response, "choices", []):
                _put(choice, found.get(choice.index), texts_of(bound.arguments, receiver.collector))
        return response

    return with_readouts


def _streamed(
    original: Callable[..., AsyncGenerator[str, None]], receiver: "Receiver"
) -> Callable[..., AsyncGenerator[str, None]]:
    signature = inspect.signature(original)

    @functools.wraps(original)
    async def with_readouts(*args: Any, **kwargs: Any) -> AsyncGenerator[str, None]:
        bound = signature.bind(*args, **kwargs)
        n = bound.arguments["request"].n or 1
        pending: dict[int, Pending] = {}

        async def watched(results: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
            async for result in results:
                prompt, plain = result if isinstance(result, tuple) else (0, result)
                with receiver.failures.noted("answer"):
                    for output in plain.outputs:
                        number = prompt * n + output.index
                        if number not in pending:
                            pending[number] = Pending(texts_of(bound.arguments, receiver.collector))
                        pending[number].add(output)
                yield result

        bound.arguments["result_generator"] = watched(bound.arguments["result_generator"])
        async with contextlib.aclosing(original(*bound.args, **bound.kwargs)) as chunks:
            async for chunk in chunks:
                amended = chunk
                with receiver.failures.noted("answer"):
                    amended = with_pending(chunk, pending)
                yield amended

    return with_readouts


def _put(choice: Any, output: Any, texts: TokenTexts | None) -> None:
    """Put the readouts of a whole output into a choice of an answer."""
    if not hasattr(output, READOUT):
        choice.readout = None
        return
    pending = Pending(texts)
    pending.add(output)
    for name, value in {**pending.opening(), **pending.take()}.items():
        setattr(choice, name, value)


class Pending:
    """Readouts of one choice that wait for its next chunk."""

    def __init__(self, texts: TokenTexts | None = None) -> None:
        """Start without any; `texts` for a client that has asked for the texts of tokens."""
        self._texts = texts
        self._fragments: list[Fragment] = []
        self._tokens: list[str] = []
        self._entry: Entry | None = None

    def add(self, output: Any) -> None:
        """Add the readouts that an output carries."""
        self._entry = getattr(output, "readout_entry", None)
        self._fragments.append(getattr(output, READOUT, Fragment()))
        if self._texts is not None:
            self._tokens += self._texts.add(output)

    def opening(self) -> dict[str, Any]:
        """Return what goes before the first token: the prompt's tokens, for a client that has asked for them; once."""
        if self._texts is None or self._entry is None:
            return {}
        return self._texts.prompt(self._entry)

    def take(self) -> dict[str, Any]:
        """Return the fields of a choice, and wait for more."""
        found, self._fragments = joined(self._fragments), []
        said, self._tokens = self._tokens, []
        reason = None if self._entry is None else self._entry.reason
        return {
            **found.fields(),
            **({} if reason is None else {_REASON: reason}),
            **({} if self._texts is None else {"tokens": said}),
        }


def with_pending(chunk: str, pending: dict[int, Pending]) -> str:
    """Add to a chunk (`data: {...}` and an empty line) the readouts that wait for its choices.

    Anything else is returned unchanged.
    """
    if not chunk.startswith("data: {"):
        return chunk
    said = msgspec.json.decode(chunk.removeprefix("data: "))
    for choice in said.get("choices", []):
        waiting = pending.setdefault(choice["index"], Pending())
        choice.update(waiting.opening())
        if "role" not in choice.get("delta", {}) or choice.get("finish_reason") is not None:  # else before any token
            choice.update(waiting.take())
    return f"data: {msgspec.json.encode(said).decode()}\n\n"
