"""Bodies of requests: decoded into records, or refused with the field that is wrong."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from amygdala_tl.decode import convert, decode
from amygdala_tl.errors import AmygdalaError
from amygdala_tl.routes.steer import Steer
from amygdala_tl.serve.sampling import Sampling

MOST_BYTES = 8 * 2**20
"""Of a request's body."""

_REMEDY = "correct the request"
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "min_p": (0,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "response_format": ({"type": "text"},),
    "suffix": ("",),
    "tools": ([],),
    "top_k": (0, -1),
    "top_logprobs": (0,),
}
"""Fields that would change an answer and are not supported -> values that change nothing."""


class Refused(Exception):
    """A request that the server does not take.

    Attributes:
        status: of the answer.
        message, param, code: as in OpenAI's errors.
    """

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code


class StreamOptions(msgspec.Struct, frozen=True):
    """What a streamed answer has besides its choices."""

    include_usage: bool = False


class _Common(msgspec.Struct, frozen=True, kw_only=True):
    model: str | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    seed: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    ignore_eos: bool = False
    return_token_ids: bool = False
    return_tokens: bool = False
    steer: list[Steer] = []

    @property
    def choices(self) -> int:
        """Number of answers to each prompt."""
        return self.n or 1

    @property
    def stops(self) -> tuple[str, ...]:
        """Strings at which an answer ends."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def with_usage(self) -> bool:
        """Whether a streamed answer ends with its numbers of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def sampling(self, choice: int) -> Sampling:
        """Return how the tokens of a choice are chosen: with a seed, every choice has its own noise."""
        temperature = 1.0 if self.temperature is None else self.temperature
        seed = None if self.seed is None else (self.seed + choice) % 2**63
        return Sampling(temperature, 1.0 if self.top_p is None else self.top_p, seed)


class CompletionRequest(_Common, frozen=True, kw_only=True):
    """Body of `/v1/completions`."""

    prompt: str | list[str | int | list[int]]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a message's content."""

    type: Literal["text"]
    text: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message of a conversation."""

    role: str
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """The content as one string."""
        return "".join(part.text for part in self.content) if isinstance(self.content, list) else self.content or ""


class ChatRequest(_Common, frozen=True, kw_only=True):
    """Body of `/v1/chat/completions`."""

    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    max_completion_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None


AnyRequest = CompletionRequest | ChatRequest


def read_request(body: bytes, kind: type[CompletionRequest] | type[ChatRequest], model: str) -> AnyRequest:
    """Decode a body for the served model.

    Raises:
        Refused: it does not fit, asks for what the server cannot do, or names another model.
    """
    try:
        said = decode(body, dict[str, Any], label="the request", remedy=_REMEDY)
        found: AnyRequest = convert(said, kind, label="the request", remedy=_REMEDY)
    except AmygdalaError as cause:
        raise Refused(str(cause)) from cause
    for name, neutral in _NEUTRAL.items():
        if (given := said.get(name)) is not None and given not in neutral:
            raise Refused(f"`{name}` is not supported by this server", param=name)
    if any(not stop for stop in found.stops):
        raise Refused("`stop` holds an empty string", param="stop")
    if found.model not in (None, "", model):
        what = f"the model `{found.model}` does not exist; this server has `{model}`"
        raise Refused(what, status=404, param="model", code="model_not_found")
    return found
