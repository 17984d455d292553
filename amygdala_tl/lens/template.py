"""Chat templates: what stands before and behind a text, found once for a role and never from the text itself.

Templates do things to the text they wrap: they strip it, cut it at `</think>`, or say the same words themselves. So a fixed
sentence is rendered, and every text takes its place. `strftime_now` gives a fixed date, because the same text must run behind
the same tokens tomorrow.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, tzinfo
from functools import partial
from threading import Lock
from typing import Any

from amygdala_tl.errors import ModelError
from amygdala_tl.records import ChatTemplate

PINNED_DATE = datetime(2024, 7, 26)
"""What a template is told to be today; the date that Llama's own templates fall back on."""

_RENDERING = Lock()

STAND_IN = "This sentence stands where the text will be"
_PROBE = "A \"quick\" <b>fox</b> & 'two' caf\N{LATIN SMALL LETTER E WITH ACUTE}s,  so.\n\nAgain: 1 > 0"
"""Characters that templates are known to change: markup, quotes, line breaks, capitals."""


def rendered_template(tokenizer: Any, role: ChatTemplate) -> str:
    """Return what a text of this role runs behind and in front of, with `STAND_IN` in the place of the text.

    The same for the same tokenizer on every day and machine, so it can stand in a key. Without a template it is `STAND_IN`.

    Raises:
        ModelError: the tokenizer has no chat template for the role, or the template fails or changes the texts it wraps.
    """
    return STAND_IN.join(around(tokenizer, role))


def around(tokenizer: Any, role: ChatTemplate) -> tuple[str, str]:
    """Return what the template puts before a text of this role, and behind it; raises as `rendered_template`."""
    if role == "none":
        return "", ""
    wrong = partial(
        ModelError, label=f"chat_template={role}", remedy="use `none`, or mend the tokenizer's chat template"
    )
    before, found, behind = _rendered(tokenizer, role, STAND_IN).partition(STAND_IN)
    if not found or STAND_IN in behind:
        what = "repeats" if found else "changes"
        raise wrong(f"the chat template {what} the text it wraps", got=(before + found + behind)[:200])
    probed = _rendered(tokenizer, role, _PROBE)
    if probed != before + _PROBE + behind:
        raise wrong(
            "the chat template changes the text it wraps", got=probed[:200], need=(before + _PROBE + behind)[:200]
        )
    return before, behind


def _rendered(tokenizer: Any, role: ChatTemplate, text: str) -> str:
    return render(tokenizer, [{"role": role, "content": text}])


def render(tokenizer: Any, messages: Sequence[Mapping[str, str]], **options: Any) -> str:
    """Return messages in the tokenizer's chat template, on the pinned date; options are those of `apply_chat_template`.

    Raises:
        ModelError: the tokenizer has no chat template, or the template fails.
    """
    wrong = partial(
        ModelError, label=type(tokenizer).__name__, remedy="use `chat_template=none`, or give it a template"
    )
    if not tokenizer.chat_template:
        raise wrong("the tokenizer has no chat template")
    try:
        with _pinned_date():
            text: str = tokenizer.apply_chat_template(messages, tokenize=False, **options)
    except Exception as cause:  # whatever a template raises: it is a program
        said = str(cause).strip().splitlines() or [""]
        raise wrong("the chat template cannot be used", got=f"{type(cause).__name__}: {said[0][:300]}") from cause
    return text


class _PinnedDate(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "_PinnedDate":
        return cls(PINNED_DATE.year, PINNED_DATE.month, PINNED_DATE.day, tzinfo=tz)


@contextmanager
def _pinned_date() -> Iterator[None]:
    """Let templates take the pinned date for today. transformers 5.24 lets a caller give them texts and no functions."""
    from transformers.utils import chat_template_utils

    with _RENDERING:
        own, chat_template_utils.datetime = chat_template_utils.datetime, _PinnedDate
        try:
            yield
        finally:
            chat_template_utils.datetime = own
