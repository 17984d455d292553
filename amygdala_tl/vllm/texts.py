"""The text of each token, for a client that asks for it with `return_tokens`, as `amygdala-tl serve` gives it."""

from collections.abc import Mapping
from typing import Any

from amygdala_tl.routes.collector import Collector
from amygdala_tl.routes.store import Entry
from amygdala_tl.routes.text import GrowingString, token_texts


class TokenTexts:
    """The texts of one choice's tokens."""

    def __init__(self, request: Any, tokenizer: Any, collector: Collector) -> None:
        """Begin a choice of a request; `collector` has the readouts of its prompt."""
        stop = None if request.include_stop_str_in_output else request.stop
        stops = [stop] if isinstance(stop, str) else stop or []
        self._text = GrowingString(tokenizer, stops, special=not request.skip_special_tokens)
        self._tokenizer, self._collector = tokenizer, collector
        self._begun = False

    def add(self, output: Any) -> list[str]:
        """Return the text that each token of an output adds."""
        texts = [self._text.add(token) for token in output.token_ids]
        if output.finish_reason is not None and texts:
            texts[-1] += self._text.finish()
        return texts

    def prompt(self, entry: Entry) -> dict[str, Any]:
        """Return the field with the prompt's tokens and their readouts at the first call, and nothing later."""
        if self._begun:
            return {}
        self._begun = True
        fragment = entry.rows.fragment(range(len(entry.prompt_ids)), self._collector.weights)
        return {"prompt": {"tokens": token_texts(self._tokenizer, entry.prompt_ids), **fragment.fields()}}


def texts_of(said: Mapping[str, Any], collector: Collector) -> TokenTexts | None:
    """Return the texts of a choice if its request asks for them.

    Args:
        said: `request` and `tokenizer`.
        collector: of the readouts.
    """
    request = said["request"]
    if not (request.model_extra or {}).get("return_tokens"):
        return None
    return TokenTexts(request, said["tokenizer"], collector)
