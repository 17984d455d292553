"""Server-sent events from the bytes of a response."""

from collections.abc import Iterable, Iterator

import httpx
from httpx_sse import EventSource, ServerSentEvent


def events(chunks: Iterable[bytes]) -> Iterator[ServerSentEvent]:
    """Decode a stream of chunks, cut anywhere, into its `message` events.

    Comments, events of other types and an event that the end of the stream cut short are skipped. An event without data,
    which a server may send first so that a client can resume, has empty data.
    """
    # Event streams are UTF-8 whatever their header says. The caller reads the chunks, so that it can set a deadline.
    response = httpx.Response(
        200, headers={"content-type": "text/event-stream"}, content=iter(chunks), default_encoding="utf-8-sig"
    )
    return (event for event in EventSource(response).iter_sse() if event.event == "message")
