"""Requests whose activations are not those of the model and the texts that a readout was made from."""

from typing import Any


def why_unlike(request: Any) -> str | None:
    """Return why vLLM's `EngineCoreRequest` gets no readouts, for its client; None for an ordinary request."""
    for unlike, reason in (
        (request.lora_request is not None, "a LoRA adapter changes the weights that the readout was made for"),
        (request.prompt_embeds is not None, "the prompt holds embeddings, which the readout was not made for"),
        (bool(request.mm_features), "the prompt holds more than text, which the readout was not made for"),
        (request.prompt_token_ids is None, "the prompt has no token ids"),
        (request.resumable, "the prompt grows while the model generates"),
    ):
        if unlike:
            return reason
    return None
