"""`steer` in the serving process: from the body of a request to edits in its parameters, with a cache of its own.

The keys and values of a steered request hold its edits, so its prefixes must not be found by other requests: its salt names them.
"""

import functools
import hashlib
import secrets
from collections.abc import Callable
from typing import Any

import torch

from amygdala_tl.decode import convert
from amygdala_tl.errors import AmygdalaError, ModelError
from amygdala_tl.readout.dose import dose_units, plain_tokens
from amygdala_tl.readout.record import Readout
from amygdala_tl.routes.collector import Collector
from amygdala_tl.routes.steer import Steer
from amygdala_tl.vllm.edits import edits_in, edits_of, measuring, put, salted, vectors_of
from amygdala_tl.vllm.settings import STEER
from amygdala_tl.vllm.unlike import why_unlike


class Steers:
    """What turns the `steer` of requests into edits; it refuses all of them until `measure` has run."""

    def __init__(self, readout: Readout) -> None:
        """Prepare to steer with a served readout."""
        self._readout = readout
        vectors = vectors_of(readout)
        self._shape = vectors.shape
        self._sha256 = hashlib.sha256(vectors.numpy().tobytes()).hexdigest()
        self._units: list[float] = []

    async def measure(self, engine: Any, collector: Collector) -> None:
        """Measure the unit of dose, as the first requests of the engine that will serve; `collector` forgets them.

        Raises:
            ModelError: the server has no tokenizer, or the engine sends no norms.
        """
        from vllm import SamplingParams
        from vllm.inputs.engine import tokens_input

        model, remedy = engine.model_config.model, f"leave {STEER} unset"
        if (tokenizer := getattr(engine.renderer, "tokenizer", None)) is None:
            raise ModelError("steering needs the server's tokenizer", label=model, remedy=remedy)
        texts = plain_tokens(tokenizer)
        for ids in texts:
            name = f"amygdala-tl-plain-{secrets.token_hex(8)}"
            prompt = tokens_input(list(ids[: engine.model_config.max_model_len - 1]), cache_salt=name)
            async for _ in engine.generate(prompt, SamplingParams(max_tokens=1, extra_args=measuring()), name):
                pass
            for entry in collector.store.find(name):
                collector.store.remove(entry.engine_id)
        (found,) = await engine.collective_rpc("measured_norms")
        if len(found) != len(texts):
            raise ModelError("the engine does not say how large its stream is", label=model, remedy=remedy)
        self._units = dose_units([torch.tensor(norms) for norms in found])

    def install(self) -> None:
        """Let completions and chat completions take `steer`, and `/v1/models` say so."""
        from vllm.entrypoints.openai.models.serving import OpenAIServingModels
        from vllm.v1.engine.output_processor import OutputProcessor

        add_request, show = OutputProcessor.add_request, OpenAIServingModels.show_available_models

        @functools.wraps(add_request)
        def and_salt(processor: Any, request: Any, *args: Any, **kwargs: Any) -> None:
            self.salt(request)
            add_request(processor, request, *args, **kwargs)

        @functools.wraps(show)
        async def and_say(*args: Any, **kwargs: Any) -> Any:
            models = await show(*args, **kwargs)
            for model in models.data:
                if model.parent is None:  # an adapter's weights are others
                    model.steers, model.erases = True, self._readout.erasing is not None
            return models

        OutputProcessor.add_request = and_salt
        OpenAIServingModels.show_available_models = and_say
        _read_bodies(self._put)

    def _put(self, said: Any, parameters: Any) -> None:
        """Put what a body says into the parameters made from it; raises AmygdalaError."""
        steers: list[Steer] = convert(said, list[Steer], label="steer", remedy="correct the request")
        parameters.extra_args = dict(parameters.extra_args or {})
        put(edits_of(steers, self._readout, self._units), parameters.extra_args)

    def salt(self, request: Any) -> None:
        """Give a steered request a cache of its own; one with edits that cannot be made raises vLLM's own error."""
        from vllm.exceptions import VLLMValidationError

        try:
            edits = edits_in(request.sampling_params, self._shape)
        except AmygdalaError as cause:
            raise VLLMValidationError(str(cause), parameter="steer") from cause
        if edits:
            if (reason := why_unlike(request)) is not None:
                raise VLLMValidationError(f"this request cannot be steered: {reason}", parameter="steer")
            request.cache_salt = salted(edits, request.cache_salt, self._sha256)


def refuse_steering() -> None:
    """Let a server that does not steer say so to a request that asks for it."""

    def refuse(_said: Any, _parameters: Any) -> None:
        raise ModelError("this server does not steer", remedy=f"start it with {STEER}=1")

    _read_bodies(refuse)


def _read_bodies(read: Callable[[Any, Any], None]) -> None:
    """Call `read` with the `steer` of a body and the `SamplingParams` made from it."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.entrypoints.openai.completion.protocol import CompletionRequest

    for kind in (ChatCompletionRequest, CompletionRequest):
        for name in ("to_sampling_params", "to_beam_search_params"):
            setattr(kind, name, _reading(getattr(kind, name), read))


def _reading(make: Callable[..., Any], read: Callable[[Any, Any], None]) -> Callable[..., Any]:
    @functools.wraps(make)
    def and_read(request: Any, *args: Any, **kwargs: Any) -> Any:
        from vllm.exceptions import VLLMValidationError

        parameters = make(request, *args, **kwargs)
        if said := (request.model_extra or {}).get("steer"):
            try:
                if not hasattr(parameters, "extra_args"):
                    raise ModelError("a beam search cannot be steered", remedy="leave out `use_beam_search`")
                read(said, parameters)
            except AmygdalaError as cause:
                raise VLLMValidationError(str(cause), parameter="steer") from cause
        return parameters

    return and_read
