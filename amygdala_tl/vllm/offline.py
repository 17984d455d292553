"""vLLM offline: an engine that runs prompts of token ids, and returns what its workers pool of them.

It is vLLM's own `LLM`, with its chunked prefill, prefix caching and tensor parallelism. It samples one token behind each prompt,
which never runs.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any

from amygdala_tl.errors import ModelError
from amygdala_tl.records import CaptureSettings
from amygdala_tl.vllm.parcels import Parcel, Prompt, unpacked
from amygdala_tl.vllm.settings import MANIFEST, VECTORS

_WORKER = "amygdala_tl.vllm.pooling_worker.PoolingWorker"

_ANY = CaptureSettings()

_LENGTH = 2048
"""Tokens of the longest prompt that the engine is started for; a longer one starts it again."""

_CPU_CACHE = 1 << 30
"""Bytes of the key-value cache on a CPU, where vLLM would take most of the memory; `VLLM_CPU_KVCACHE_SPACE` goes before it."""


class Engine:
    """vLLM's processes for one model."""

    def __init__(self, model: str, *, n_ctx: int, **options: Any) -> None:
        """Start the processes.

        Args:
            model: checkpoint folder or hub id.
            n_ctx: the model's context.
            options: keywords of `vllm.LLM`.

        Raises:
            ModelError: vLLM cannot run the model.
        """
        self._model, self._n_ctx, self._options = model, n_ctx, options
        self.llm: Any = None
        self._longest = 0
        self._start(1)

    @property
    def version(self) -> str:
        """Version of vLLM."""
        import vllm

        return str(vllm.__version__)

    def close(self) -> None:
        """Stop the processes and free their memory."""
        if self.llm is not None:
            self.llm.llm_engine.engine_core.shutdown()
            self.llm = None

    def run(
        self, prompts: Sequence[Prompt], layers: Sequence[int], said: CaptureSettings = _ANY, *, at_once: int = 512
    ) -> Iterator[Parcel]:
        """Run prompts, and yield what the workers return: about `at_once` prompts at a time, in no fixed order.

        Raises:
            ModelError: vLLM fails, or does not know the decoder layers.
        """
        self._start(max(len(prompt.ids) for prompt in prompts))
        with self._errors():
            self.llm.reset_prefix_cache()  # it may hold prompts of an earlier run
            self.llm.collective_rpc("pool_texts", args=(list(layers), said.token_components, list(said.positions)))
        names: list[str] = []
        engine, waiting, done, returned = self.llm.llm_engine, iter(prompts), 0, 0
        try:
            while len(names) < len(prompts) or engine.has_unfinished_requests():
                with self._errors():
                    # vLLM always has some to go on with.
                    if len(names) - done <= at_once and (piece := list(islice(waiting, at_once))):
                        names += self._enqueue(piece)
                    done += len(engine.step())
                if done - returned >= at_once:
                    returned = done
                    yield self._take()
            yield self._take()
        finally:
            with suppress(Exception):  # a dead engine stops by itself
                engine.abort_request(names, internal=True)
                self.llm.collective_rpc("stop_pooling")

    def _enqueue(self, prompts: Sequence[Prompt]) -> list[str]:
        from vllm import SamplingParams, TokensPrompt

        return list(
            self.llm.enqueue(
                [TokensPrompt(prompt_token_ids=list(prompt.ids)) for prompt in prompts],
                [
                    SamplingParams(
                        max_tokens=1, temperature=0.0, detokenize=False, extra_args=prompt.wanted.extra_args(),
                        skip_reading_prefix_cache=prompt.anew,
                    )
                    for prompt in prompts
                ],
                use_tqdm=False,
            )
        )  # fmt: skip

    def _take(self) -> Parcel:
        with self._errors():
            (data,) = [each for each in self.llm.collective_rpc("take_pooled") if each is not None]
            return unpacked(data)

    def _start(self, length: int) -> None:
        """Start vLLM, or start it again if it cannot take prompts of this length."""
        if self.llm is not None and length <= self._longest:
            return
        self.close()
        self._longest = min(max(length, _LENGTH), self._n_ctx)
        options = {"enforce_eager": True, "use_tqdm_on_load": False, **self._options}
        with self._errors(), _environment(beyond=self._longest == self._n_ctx):
            from vllm import LLM
            from vllm.platforms import current_platform

            if current_platform.is_cpu():
                options.setdefault("kv_cache_memory_bytes", _CPU_CACHE)
            # One more than the prompt for the token that is sampled.
            self.llm = LLM(self._model, max_model_len=self._longest + 1, worker_extension_cls=_WORKER, **options)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as cause:
            got, remedy = str(cause).strip().splitlines()[-1:] or [type(cause).__name__], "see what vLLM printed above"
            raise ModelError("vLLM cannot run the model", label=self._model, got=got[0][:400], remedy=remedy) from cause


@contextmanager
def _environment(*, beyond: bool) -> Iterator[None]:
    """Start vLLM quietly and without readouts, and let the sampled token lie `beyond` the model's context.

    Programs that are started later find the environment as it was.
    """
    quiet, longer = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}, "VLLM_ALLOW_LONG_MAX_MODEL_LEN"
    before = {name: os.environ.get(name) for name in (*quiet, longer, VECTORS, MANIFEST)}
    os.environ.update({name: value for name, value in quiet.items() if before[name] is None})
    for name in (VECTORS, MANIFEST):
        os.environ.pop(name, None)
    if beyond:
        os.environ[longer] = "1"
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
