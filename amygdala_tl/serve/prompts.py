"""Token ids of prompts and conversations, as a vLLM server makes them, and the text that each token covers."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.template import render
from amygdala_tl.routes.text import token_texts
from amygdala_tl.serve.requests import ChatRequest, CompletionRequest, Refused


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a sequence begins with.

    Attributes:
        ids: token ids.
        pieces: the text that each token covers; together they are the prompt behind its chat template. A token inside a
            character has an empty one.
    """

    ids: tuple[int, ...]
    pieces: tuple[str, ...]


def completion_prompts(request: CompletionRequest, lens: Lens) -> list[Prompt]:
    """Return the prompts of a completion; raises Refused if one is empty or unknown to the model."""
    given = request.prompt
    if isinstance(given, str):
        return [_of_text(given, lens, special=True)]
    if given and all(isinstance(part, int) for part in given):
        return [_of_ids([part for part in given if isinstance(part, int)], lens)]
    if not given or any(isinstance(part, int) for part in given):
        raise Refused("`prompt` is neither texts nor token ids", param="prompt")
    return [
        _of_text(part, lens, special=True) if isinstance(part, str) else _of_ids(part, lens)
        for part in given
        if not isinstance(part, int)
    ]


def chat_prompt(request: ChatRequest, lens: Lens) -> Prompt:
    """Return a conversation in the model's chat template, ready for its answer; raises Refused if the template fails."""
    messages = [{"role": message.role, "content": message.text} for message in request.messages]
    try:
        text = render(lens.tokenizer, messages, add_generation_prompt=True)
    except ModelError as cause:
        raise Refused(str(cause), param="messages") from cause
    return _of_text(text, lens, special=False)


def tokens_left(prompt: Prompt, wanted: int | None, lens: Lens) -> int:
    """Return the most tokens to generate: as many as wanted, by default as many as fit; raises Refused if they do not fit."""
    room = lens.info.n_ctx - len(prompt.ids)
    if room < (wanted or 1):
        what = f"the model's context has {lens.info.n_ctx} tokens; the prompt takes {len(prompt.ids)}"
        code = "context_length_exceeded"
        raise Refused(what + (f", and the answer may take {wanted}" if wanted else ""), param="messages", code=code)
    return wanted or room


def _of_text(text: str, lens: Lens, *, special: bool) -> Prompt:
    found = lens.tokenizer(text, add_special_tokens=special, return_offsets_mapping=True, verbose=False)
    ids, offsets = found["input_ids"], found["offset_mapping"]
    starts = [start for start, _ in offsets]
    for at in reversed(range(len(starts))):  # a token that the tokenizer adds covers nothing, before what follows
        if offsets[at] == (0, 0):
            starts[at] = starts[at + 1] if at + 1 < len(starts) else len(text)
    cuts = [0, *starts[1:], len(text)]
    return _checked(ids, [text[start:end] for start, end in pairwise(cuts)], lens)


def _of_ids(ids: Sequence[int], lens: Lens) -> Prompt:
    known = [token for token in ids if 0 <= token < lens.vocabulary]
    return _checked(ids, token_texts(lens.tokenizer, known), lens)


def _checked(ids: Sequence[int], pieces: Sequence[str], lens: Lens) -> Prompt:
    if not ids:
        raise Refused("the prompt is empty", param="prompt")
    if unknown := [token for token in ids if not 0 <= token < lens.vocabulary]:
        raise Refused(f"the model has no token {unknown[0]}", param="prompt")
    return Prompt(tuple(ids), tuple(pieces))
