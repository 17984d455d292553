"""Webhook: events as JSON to an address, from a thread of their own.

Events wait in a bounded queue. One that finds it full is dropped, and so is the patience with a receiver that does not answer:
after a few attempts an event counts as failed, and the next one has its turn. Nobody ever waits for a receiver.
"""

import contextlib
import logging
import queue
import threading

from amygdala_tl.errors import InputError
from amygdala_tl.routes.metrics import Metrics

logger = logging.getLogger("amygdala_tl.webhook")

MOST_WAITING = 256
PAUSES = (0.5, 2.0, 8.0)
"""Seconds before the second, third and fourth attempt."""

_TIMEOUT = 5.0  # seconds to connect, to send, and for each read
_WHOLE = 10.0  # seconds of one attempt
_FAREWELL = 1.0  # seconds that `close` waits for the attempt under way


def check_webhook(url: str | None, n_rules: int) -> None:
    """Check the address of a server's webhook.

    Raises:
        InputError: `url` is not an http(s) address, no rule would send to it, or httpx is not installed.
    """
    if url is None:
        return
    try:
        from amygdala_tl.net.address import http_address
    except ModuleNotFoundError as cause:
        what, remedy = "the webhook needs a package that is not installed", "run `pip install httpx`"
        raise InputError(what, got=cause.name, remedy=remedy) from cause
    http_address(url)
    if not n_rules:
        raise InputError("there is a webhook, and no alert for it", remedy="set an alert, or no webhook")


class Webhook:
    """Sends events to an address with POST; a 2xx answer is success."""

    def __init__(self, url: str, metrics: Metrics) -> None:
        """Start the thread.

        Args:
            url: from `check_webhook`.
            metrics: counts events that were sent, have failed, or were dropped.

        Raises:
            InputError: the environment's proxy or certificates are wrong.
        """
        from amygdala_tl.net.address import http_address, shown_address
        from amygdala_tl.net.client import client_of

        self._url = http_address(url)
        self._shown = shown_address(self._url)
        self._client = client_of(self._url, None)
        self._metrics = metrics
        self._waiting: queue.Queue[bytes] = queue.Queue(MOST_WAITING)
        self._ended = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._loop, name="alert-webhook", daemon=True)
        self._thread.start()

    def put(self, event: bytes) -> None:
        """Let an event wait for its turn, or drop it if too many do."""
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._metrics.count("dropped")

    def close(self) -> None:
        """End the thread; events that still wait are not sent."""
        self._ended.set()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(b"")  # so that the thread looks up
        self._thread.join(_FAREWELL)

    def _loop(self) -> None:
        while True:
            event = self._waiting.get()
            if self._ended.is_set():
                self._client.close()
                return
            why = self._deliver(event)
            self._metrics.count("sent" if why is None else "failed")
            if why is not None and not self._failing:
                logger.warning("the webhook %s does not take events: %s", self._shown, why)
            self._failing = why is not None

    def _deliver(self, event: bytes) -> str | None:
        """Send one event; return why it was not taken, None if it was."""
        for pause in (0.0, *PAUSES):
            if self._ended.wait(pause):
                return "the server stops"
            why = self._attempt(event)
            if why is None:
                return None
        return why

    def _attempt(self, event: bytes) -> str | None:
        import httpx

        from amygdala_tl.net.client import Patience

        patience = Patience(_TIMEOUT, _WHOLE)
        headers = {"content-type": "application/json"}
        try:
            with self._client.stream(
                "POST", self._url, content=event, headers=headers, timeout=httpx.Timeout(_TIMEOUT, read=patience)
            ) as answer:
                return None if answer.is_success else f"HTTP {answer.status_code}"
        except (httpx.RequestError, httpx.InvalidURL) as cause:
            return type(cause).__name__
