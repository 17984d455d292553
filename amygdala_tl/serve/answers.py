"""Answers of the completions and chat completions endpoints, streamed and whole, in the shape of OpenAI's.

Every choice has a `readout` as the vLLM plugin gives it, `[layer][concept]` for each generated token, and `readout_combined`,
`[concept]`. With `return_tokens`, it has the text of each token beside it, and the prompt's tokens with theirs, which the page
shows.
"""

import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from amygdala_tl.routes.rows import joined
from amygdala_tl.serve.generation import Choice, Generation, Piece
from amygdala_tl.serve.requests import AnyRequest, ChatRequest


class Answer:
    """The answer to one request.

    Attributes:
        generation: its sequences.
    """

    def __init__(self, request: AnyRequest, generation: Generation, name: str, model: str) -> None:
        self.generation = generation
        self._request = request
        self._chat = isinstance(request, ChatRequest)
        self._head = {"id": name, "created": int(time.time()), "model": model}
        self._n_generated = 0

    async def whole(self) -> dict[str, Any]:
        """Return the body of an answer that is not streamed."""
        found: dict[int, list[Piece]] = {choice.number: [] for choice in self.generation.choices}
        async for piece in self.generation.pieces():
            found[piece.choice.number].append(piece)
            self._n_generated += 1
        choices = [await self._choice(self.generation.choices[number], pieces) for number, pieces in found.items()]
        kind = "chat.completion" if self._chat else "text_completion"
        return {**self._head, "object": kind, "choices": choices, "usage": self._usage()}

    async def events(self) -> AsyncIterator[bytes]:
        """Yield the events of a streamed answer."""
        begun: set[int] = set()
        async for piece in self.generation.pieces():
            self._n_generated += 1
            chunk = self._chunk(piece)
            if piece.choice.number not in begun:
                begun.add(piece.choice.number)
                prompt = await self._prompt(piece.choice)
                if self._chat:
                    opening = {"delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
                    yield self._event([{"index": piece.choice.number, **opening, **prompt}])
                else:
                    chunk |= prompt
            yield self._event([chunk])
        if self._request.with_usage:
            yield self._event([], usage=self._usage())
        yield b"data: [DONE]\n\n"

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        said = {**self._head, "object": kind, "choices": choices, **more}
        return b"data: " + msgspec.json.encode(said) + b"\n\n"

    async def _prompt(self, choice: Choice) -> dict[str, Any]:
        """Return what the client has asked for of a choice's prompt."""
        found: dict[str, Any] = {}
        if self._request.return_token_ids:
            found["prompt_token_ids"] = choice.prompt.ids
        if self._request.return_tokens:
            found["prompt"] = await self.generation.prompt(choice)
        return found

    def _chunk(self, piece: Piece) -> dict[str, Any]:
        said: dict[str, Any] = {"delta": {"content": piece.text}} if self._chat else {"text": piece.text}
        return {
            "index": piece.choice.number,
            **said,
            "logprobs": None,
            "finish_reason": piece.finish,
            **self._about([piece]),
        }

    async def _choice(self, choice: Choice, pieces: list[Piece]) -> dict[str, Any]:
        text = "".join(piece.text for piece in pieces)
        said: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        return {
            "index": choice.number,
            **said,
            "logprobs": None,
            "finish_reason": pieces[-1].finish,
            **self._about(pieces),
            **await self._prompt(choice),
        }

    def _about(self, pieces: list[Piece]) -> dict[str, Any]:
        """Return the readouts of tokens, and what the client has asked for beside them."""
        found: dict[str, Any] = joined([piece.readout for piece in pieces]).fields()
        if self._request.return_token_ids:
            found["token_ids"] = [piece.token for piece in pieces]
        if self._request.return_tokens:
            found["tokens"] = [piece.text for piece in pieces]
        return found

    def _usage(self) -> dict[str, int]:
        prompts = {choice.entry.request_id: len(choice.prompt.ids) for choice in self.generation.choices}
        asked = sum(prompts.values())
        return {
            "prompt_tokens": asked,
            "completion_tokens": self._n_generated,
            "total_tokens": asked + self._n_generated,
        }
