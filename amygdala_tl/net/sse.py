"""Server-sent events from the bytes of a response."""

from collections.abc import Iterable, Iterator

import httpx
from httpx_sse import EventSource, ServerSentEvent

from amygdala_tl.net.client import TooMuch


def events(chunks: Iterable[bytes], limit: int) -> Iterator[ServerSentEvent]:
    """Decode a stream of chunks, cut anywhere, into its `message` events.

    Comments, events of other types and an event that the end of the stream cut short are skipped. An event without data,
    which a server may send first so that a client can resume, has empty data.

    Raises:
        TooMuch: more than `limit` bytes came without an event.
    """
    since = 0

    def counted() -> Iterator[bytes]:
        nonlocal since
        for chunk in chunks:
            since += len(chunk)
            if since > limit:
                raise TooMuch(f"more than {limit:,} bytes without an event")
            yield chunk

    # Event streams are UTF-8 whatever their header says. The caller reads the chunks, so that it can set a deadline.
    response = httpx.Response(
        200, headers={"content-type": "text/event-stream"}, content=counted(), default_encoding="utf-8-sig"
    )
    for event in EventSource(response).iter_sse():
        since = 0
        if event.event == "message":
            yield event
