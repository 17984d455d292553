"""A model provider for Inspect that keeps the readouts of every answer, from `serve` or a vLLM server with the plugin.

The metadata of each message of the model get:

    readout            [token][layer][concept], raw, as the server gives it; null where it was not computed
    readout_combined   [token][concept], the same over all layers, for a bundle that has this score
    readout_concepts   names of the concepts
    readout_layers     indices of the layers
    readout_z          concept -> z of the mean of `readout_combined`; left out if there is none
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from anyio import to_thread
from inspect_ai.model import GenerateConfig
from inspect_ai.model._providers.openai_compatible import OpenAICompatibleAPI

from amygdala_tl.live.client import KEY_VARIABLE, readout_client
from amygdala_tl.live.records import Served
from amygdala_tl.settings import SERVE

_FIELDS = ("readout", "readout_combined", "readout_reason")


class ReadoutAPI(OpenAICompatibleAPI):  # type: ignore[misc]  # inspect_ai is an extra
    """Generates with a server that gives readouts, and records them.

    Args:
        model_name: the server's name for its model.
        base_url: the server's address, with `/v1`; that of `serve` if None.
        api_key: of the server; AMYGDALA_VLLM_TOKEN if None. The readout routes always take that variable.
        config, model_args: as for Inspect's provider `openai-api`.

    Raises:
        ReadoutsOff, KeyRefused, LiveUnreachable: at the first answer, if the server's readouts cannot be read.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  # Inspect's own default
        **model_args: Any,
    ) -> None:
        key = api_key or os.environ.get(KEY_VARIABLE) or "none"  # its client needs one, an open server ignores it
        url = f"http://{SERVE.host}:{SERVE.port}/v1"
        super().__init__(
            model_name,
            base_url,
            key,
            config,
            service="readout",
            service_base_url=url,
            stream=False,  # a stream's readouts are lost in OpenAI's client
            **model_args,
        )
        self._served: Served | None = None

    async def generate(self, *request: Any, **more: Any) -> Any:
        """Generate an answer, as Inspect asks for it."""
        if self._served is None:
            self._served = await to_thread.run_sync(self._manifest)
        return await super().generate(*request, **more)

    def chat_choices_from_completion(self, completion: Any, tools: list[Any]) -> list[Any]:
        """Return the choices of an answer, each message with its readouts."""
        choices: list[Any] = super().chat_choices_from_completion(completion, tools)
        said = sorted(completion.choices, key=lambda choice: choice.index)  # as the choices are
        assert self._served is not None
        for choice, own in zip(choices, said, strict=True):
            found = recorded(self._served, own.model_extra or {})
            choice.message.metadata = {**(choice.message.metadata or {}), **found}
        return choices

    def _manifest(self) -> Served:
        with readout_client(self.base_url) as client:
            return client.manifest()


def recorded(served: Served, choice: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is recorded of a choice with the fields `readout` and `readout_combined`."""
    kept = {name: choice[name] for name in _FIELDS if choice.get(name) is not None}
    kept |= {"readout_concepts": list(served.concepts), "readout_layers": list(served.layers)}
    rows = [row for row in kept.get("readout_combined", ()) if row is not None]
    if served.combined is not None and rows:
        mean = np.array(rows, dtype=np.float32).mean(axis=0)
        z = served.combined.z_of_sum(mean, tokens=len(rows))
        kept["readout_z"] = dict(zip(served.concepts, z.tolist(), strict=True))
    return kept
