"""The readout routes of a vLLM server, for programs.

    with readout_client("http://localhost:8000") as client:
        served = client.manifest()
        for generated in client.stream(reconnect=True):
            z = served.z(generated.scores)  # [token, layer, concept]

Reading changes nothing in the server, and a slow reader misses the oldest tokens; nobody waits for it.
"""

import contextlib
import random
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from amygdala_tl.address import bearer_token, http_address, shown_address, through_proxy
from amygdala_tl.errors import (
    KeyRefused,
    LiveReadoutError,
    LiveUnreachable,
    ReadoutChanged,
    ReadoutsOff,
    RequestUnknown,
)
from amygdala_tl.live.answers import generated_of, sequences_of, served_of
from amygdala_tl.live.records import Generated, Sequence, Served
from amygdala_tl.sse import events

KEY_VARIABLE = "AMYGDALA_VLLM_TOKEN"
DEFAULT_TIMEOUT = 10.0
_SILENCE = 45.0  # seconds; the server's stream says at least every 15 that it is alive
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


def readout_client(url: str, *, token: str | None = None, timeout: float = DEFAULT_TIMEOUT) -> "ReadoutClient":
    """A client of the readouts of the vLLM server at `url`; nothing is sent yet.

    Args:
        url: the server's address, with or without `/v1` (`http://localhost:8000`).
        token: the server's API key; without it that of AMYGDALA_VLLM_TOKEN, if set. It goes to the origin of `url` only.
        timeout: seconds of silence after which an attempt has failed.

    Raises:
        InputError: `url` is no http(s) address, or the token cannot be sent.
    """
    return ReadoutClient(url, token=token, timeout=timeout)


class ReadoutClient:
    """See `readout_client`. Use it from one thread at a time; close it, or use it in a `with` block.

    Attributes:
        label: the server's address, fit for a message.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout: float = DEFAULT_TIMEOUT) -> None:
        given = http_address(url)
        base = given.copy_with(path=given.path.rstrip("/").removesuffix("/v1") or "/", query=None)
        secret = bearer_token(token, KEY_VARIABLE)
        self.label = shown_address(base).rstrip("/")
        self._timeout = timeout
        self._client = httpx.Client(
            base_url=base,
            headers={} if secret is None else {"authorization": f"Bearer {secret}"},
            timeout=timeout,
            follow_redirects=False,
            trust_env=through_proxy(base),
        )

    def __enter__(self) -> "ReadoutClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def manifest(self) -> Served:
        """What the server serves.

        Raises:
            LiveUnreachable: no answer, or none of a readout.
            ReadoutsOff: the server has no readouts.
            KeyRefused: it wants another API key.
        """
        return served_of(self._json("/v1/readout/manifest"), self.label)

    def served_model(self) -> str:
        """The name that the server gives its model, empty where it does not say; see `manifest` for what it raises."""
        try:
            said = self._json("/v1/models")
        except ReadoutsOff:
            return ""
        data = said.get("data") if isinstance(said, dict) else None
        return str(data[0].get("id") or "") if isinstance(data, list) and data and isinstance(data[0], dict) else ""

    def request(self, request_id: str) -> tuple[Sequence, ...]:
        """Every position of a request that runs or has lately finished, one record a sequence.

        Args:
            request_id: the `id` of the completion.

        Raises:
            RequestUnknown: it never ran there, or is forgotten.
            LiveUnreachable, ReadoutsOff, KeyRefused: as for `manifest`.
        """
        try:
            answer = self._json(f"/v1/readout/{quote(request_id, safe='')}")
        except ReadoutsOff:
            self.manifest()  # which raises where readouts are off indeed
            raise RequestUnknown(
                "no such request runs or has lately finished",
                label=request_id,
                remedy="ask with the `id` of the completion, while it runs or soon after",
            ) from None
        return sequences_of(answer, self.label)

    def stream(self, *, reconnect: bool = False) -> Iterator[Generated]:
        """Every token of every request from now on, as it is generated; ends only by an error.

        Args:
            reconnect: keep trying when the server goes away or does not answer, after pauses from 0.5 to 10 seconds.

        Raises:
            LiveUnreachable: no answer, or the stream ended; not with `reconnect`.
            ReadoutChanged: the server came back with another readout, whose scores would mean something else.
            ReadoutsOff, KeyRefused: as for `manifest`.
        """
        served: Served | None = None
        failures = 0
        while True:
            try:
                now = self.manifest()
                if served is not None and now.manifest != served.manifest:
                    raise ReadoutChanged(
                        "the server came back with another readout", label=self.label, remedy="start again"
                    )
                served = now
                for generated in self.stream_of(served):
                    failures = 0
                    yield generated
            except LiveUnreachable:
                if not reconnect:
                    raise
                failures += 1
                time.sleep(pause_after(failures))

    def stream_of(self, served: Served) -> Iterator[Generated]:
        """One connection to the stream of what `manifest` told.

        Raises:
            LiveUnreachable: no answer, the stream ended, or an event is none of `served`.
            ReadoutsOff, KeyRefused: as for `manifest`.
        """
        patience = httpx.Timeout(self._timeout, read=_SILENCE)
        with self._answers():
            with self._client.stream("GET", "/v1/readout/stream", timeout=patience) as response:
                self._check(response)
                for event in events(response.iter_bytes()):
                    if event.data:
                        yield generated_of(event.data, served, self.label)
            raise httpx.RemoteProtocolError("the stream ended")

    def _json(self, path: str) -> Any:
        with self._answers():
            response = self._client.get(path)
            self._check(response)
            try:
                return response.json()
            except ValueError:
                raise self._refused(response) from None

    def _check(self, response: httpx.Response) -> None:
        if response.status_code == 404:
            raise ReadoutsOff(
                "readouts are off on this server",
                label=self.label,
                got=f"HTTP 404 at {response.url.path}",
                remedy="start vLLM with VLLM_READOUT_VECTORS and VLLM_READOUT_MANIFEST set, and amygdala-tl beside it",
            )
        if response.status_code in (401, 403):
            raise KeyRefused(
                "the server wants an API key that it did not get",
                label=self.label,
                got=f"HTTP {response.status_code}",
                remedy=f"set {KEY_VARIABLE} to the key that the server was started with",
            )
        if not response.is_success:
            raise self._refused(response)

    def _refused(self, response: httpx.Response) -> LiveReadoutError:
        return LiveUnreachable(
            "the server answers, but not as a readout server",
            label=self.label,
            got=f"HTTP {response.status_code} at {response.url.path}",
            remedy="check the address and the server's log",
        )

    @contextlib.contextmanager
    def _answers(self) -> Iterator[None]:
        try:
            yield
        except httpx.RequestError as error:
            raise LiveUnreachable(
                "no answer from the vLLM server",
                label=self.label,
                got=str(error) or type(error).__name__,
                remedy="check that the server runs and that the address and port are right",
            ) from error


def pause_after(failures: int) -> float:
    """Seconds to wait after so many failures on end: 0.5, 1, 2, ... up to 10, jittered by up to a half downwards.

    Clients that lost a server together so do not come back together.
    """
    return float(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(failures - 1, 10)) * random.uniform(0.5, 1.0))
