"""Events of the stream as JSON: tokens of a sequence with their scores, and their text only where the operator allows it."""

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from functools import partial

import msgspec

from amygdala_tl.routes.readers import Event
from amygdala_tl.routes.rows import Fragment, Weights
from amygdala_tl.routes.store import Entry

_REFERENCE_BYTES = 512  # of an event that is written when its turn comes
_SECRET = secrets.token_bytes(32)


def events_of(
    entry: Entry,
    first: int,
    token_ids: Sequence[int],
    text: str,
    fragment: Fragment,
    *,
    at_once: int,
    with_text: bool,
    weights: Weights | None = None,
) -> Iterator[tuple[bytes | Event, int]]:
    """Yield the events of newly generated tokens, each with the bytes that it takes while it waits.

    Many tokens at once, an answer that is not streamed, become several events. These take no bytes of their own: they are written
    from the store when their turn comes.

    Args:
        entry: the sequence.
        first: index of the first of these tokens among the generated ones.
        token_ids, text: the tokens.
        fragment: their readouts.
        at_once: largest number of tokens in an event.
        with_text: whether events say token ids, text and the client's request id.
        weights: of the score over all layers; None without one.
    """
    if len(token_ids) <= at_once:
        event = _event(entry, first, token_ids, text, fragment, with_text)
        yield event, len(event)
        return
    for start in range(0, len(token_ids), at_once):
        ids, said = token_ids[start : start + at_once], text if start == 0 else ""
        yield partial(_later, entry, first + start, len(ids), said, with_text, weights), _REFERENCE_BYTES + len(said)


def _later(
    entry: Entry, first: int, n_tokens: int, text: str, with_text: bool, weights: Weights | None
) -> bytes | None:
    ids = entry.output_ids[first : first + n_tokens]
    fragment = entry.rows.fragment(entry.sampled_from(first, n_tokens), weights)
    return None if entry.forgotten else _event(entry, first, ids, text, fragment, with_text)


def _event(entry: Entry, first: int, token_ids: Sequence[int], text: str, fragment: Fragment, with_text: bool) -> bytes:
    said = {
        "request_id": shown_id(entry, with_text),
        "index": entry.index,
        "first": first,
        **({"token_ids": list(token_ids), "text": text} if with_text else {}),
        **({} if entry.reason is None else {"reason": entry.reason}),
        **fragment.fields(),
    }
    return msgspec.json.encode(said)


def shown_id(entry: Entry, with_text: bool) -> str:
    """Return the client's id of the entry's request, or a name that does not lead to it; all its choices have the same one."""
    if with_text:
        return entry.request_id
    name = entry.engine_id.removeprefix(f"{entry.index}_")
    return hashlib.blake2b(name.encode(), key=_SECRET, digest_size=8).hexdigest()
