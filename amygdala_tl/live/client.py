"""A client of a vLLM server's readout routes, for programs.

    with readout_client("http://localhost:8000") as client:
        served = client.manifest()
        for generated in client.stream(reconnect=True):
            z = served.z(generated.scores)  # [token, layer, concept]

Reading changes nothing in the server. The server does not wait for a slow reader, which misses the oldest tokens.
"""

import contextlib
import math
import random
import sys
import time
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import msgspec

from amygdala_tl.decode import decode
from amygdala_tl.errors import KeyRefused, LiveUnreachable, ReadoutChanged, ReadoutsOff, RequestUnknown
from amygdala_tl.live.answers import REMEDY, generated_of, sequences_of, served_of
from amygdala_tl.live.records import Generated, Sequence, Served
from amygdala_tl.net.address import bearer_token, http_address, shown_address
from amygdala_tl.net.client import Budget, Patience, TooMuch, check_values, chunks_of, client_of, read_body
from amygdala_tl.net.quoting import quoted
from amygdala_tl.net.sse import events
from amygdala_tl.settings import SERVER, ServerLimits

KEY_VARIABLE = "AMYGDALA_VLLM_TOKEN"
DEFAULT_TIMEOUT = 10.0
_SILENCE = 45.0  # seconds; the server's stream sends a sign of life at least every 15
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model] = []


def readout_client(
    url: str, *, token: str | None = None, timeout: float = DEFAULT_TIMEOUT, limits: ServerLimits = SERVER
) -> "ReadoutClient":
    """Return a client of the vLLM server at `url`; it sends nothing yet.

    Args:
        url: the server's address, with or without `/v1` (`http://localhost:8000`).
        token: the server's API key, by default AMYGDALA_VLLM_TOKEN. The client sends it to the origin of `url` only.
        timeout: seconds of silence after which an attempt fails; a whole answer may take ten times as long.
        limits: what the server may take of memory and time.

    Raises:
        InputError: `url` is not an http(s) address, a header cannot carry the token, or the environment's proxy or
            certificates are wrong.
    """
    return ReadoutClient(url, token=token, timeout=timeout, limits=limits)


class ReadoutClient:
    """See `readout_client`. Use it from one thread at a time; close it, or use it in a `with` block.

    Attributes:
        label: the server's address, fit for a message.
    """

    def __init__(
        self, url: str, *, token: str | None = None, timeout: float = DEFAULT_TIMEOUT, limits: ServerLimits = SERVER
    ) -> None:
        given = http_address(url)
        base = given.copy_with(path=given.path.rstrip("/").removesuffix("/v1") or "/", query=None)
        self.label = shown_address(base).rstrip("/")
        self._timeout = timeout
        self._limits = limits
        self._secret = bearer_token(token, KEY_VARIABLE)
        self._client = client_of(base, self._secret, base_url=base)

    def __enter__(self) -> "ReadoutClient":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def manifest(self) -> Served:
        """Return the readout that the server serves.

        Raises:
            LiveUnreachable: no answer, or an answer that is not a readout's.
            ReadoutsOff: the server has no readouts.
            KeyRefused: the server requires another API key.
        """
        label = f"{self.label}/v1/readout/manifest"
        return served_of(self._get("/v1/readout/manifest", self._limits.event_bytes), label, self._limits)

    def served_model(self) -> str:
        """Return the server's name for its model, or an empty string.

        Raises:
            LiveUnreachable: no answer.
        """
        try:
            answer = self._get("/v1/models", self._limits.event_bytes)
        except (ReadoutsOff, KeyRefused):  # the key of the readout routes need not be the server's
            return ""
        label = f"{self.label}/v1/models"
        models = decode(answer, _Models, label=label, remedy=REMEDY, error=LiveUnreachable).data
        return models[0].id if models else ""

    def request(self, request_id: str) -> tuple[Sequence, ...]:
        """Return every position of a request that runs or has recently finished, one record for each sequence.

        Args:
            request_id: the `id` of the completion.

        Raises:
            RequestUnknown: the request never ran there, or the server has forgotten it.
            LiveUnreachable, ReadoutsOff, KeyRefused: as for `manifest`.
        """
        try:
            answer = self._get(f"/v1/readout/{quote(request_id, safe='')}", self._limits.readout_bytes)
        except ReadoutsOff:
            self.manifest()  # raises if readouts are off altogether
            raise RequestUnknown(
                "no such request is running or has recently finished",
                label=request_id,
                remedy="ask with the `id` of the completion, while it runs or soon after",
            ) from None
        return sequences_of(answer, self.label, self._limits)

    def stream(self, *, reconnect: bool = False) -> Iterator[Generated]:
        """Yield every token of every request from now on, as it is generated; only an error ends it.

        Args:
            reconnect: keep trying when the server goes away or does not answer, after pauses from 0.5 to 10 seconds.

        Raises:
            LiveUnreachable: no answer, or the stream ended; not with `reconnect`.
            ReadoutChanged: the server came back with another readout, so the scores would mean something else.
            ReadoutsOff, KeyRefused: as for `manifest`.
        """
        served: Served | None = None
        failures = 0
        while True:
            try:
                now = self.manifest()
                if served is not None and now.digest != served.digest:
                    what = "the server came back with another readout"
                    raise ReadoutChanged(what, label=self.label, remedy="start again")
                served = now
                for generated in self.stream_of(served):
                    failures = 0
                    yield generated
            except LiveUnreachable:
                if not reconnect:
                    raise
                failures += 1
                time.sleep(pause_after(failures))

    def stream_of(self, served: Served, *, seconds: float = math.inf) -> Iterator[Generated]:
        """Yield the events of one connection to the stream of `served`, the answer of `manifest`, for so many seconds.

        Raises:
            LiveUnreachable: no answer, the stream ended, or an event is not of `served`.
            ReadoutsOff, KeyRefused: as for `manifest`.
        """
        patience, endless = Patience(_SILENCE, self._timeout * self._limits.patience), Budget(sys.maxsize)
        timeout = httpx.Timeout(self._timeout, read=patience)
        with self._answers():
            with self._client.stream("GET", "/v1/readout/stream", timeout=timeout) as response:
                self._check(response)
                patience.deadline = time.monotonic() + seconds  # the one before was of the answer's head
                try:
                    for event in events(chunks_of(response, endless), self._limits.event_bytes):
                        if event.data:
                            yield generated_of(event.data, served, self.label, self._limits)
                except httpx.ReadTimeout:
                    if patience.left > 0:
                        raise
                    return
            raise httpx.RemoteProtocolError("the stream ended")

    def _get(self, path: str, limit: int) -> bytes:
        patience = Patience(self._timeout, self._timeout * self._limits.patience)
        with self._answers(), self._client.stream("GET", path, timeout=patience) as response:
            self._check(response)
            body = read_body(response, Budget(limit))
            if limit < self._limits.readout_bytes:
                check_values(body, self._limits.values)
            return body

    def _check(self, response: httpx.Response) -> None:
        status = f"HTTP {response.status_code}"
        got = f"{status} at {response.url.path}"
        if response.status_code == 404:
            remedy = "start vLLM with VLLM_READOUT_VECTORS and VLLM_READOUT_MANIFEST set, and amygdala-tl beside it"
            raise ReadoutsOff("readouts are off on this server", label=self.label, got=got, remedy=remedy)
        if response.status_code in (401, 403):
            remedy = f"set {KEY_VARIABLE} to the key that the server was started with, or to its VLLM_READOUT_KEY"
            raise KeyRefused("the server requires an API key", label=self.label, got=status, remedy=remedy)
        if not response.is_success:
            what, remedy = "the server answers, but not as a readout server", "check the address and the server's log"
            raise LiveUnreachable(what, label=self.label, got=got, remedy=remedy)

    @contextlib.contextmanager
    def _answers(self) -> Iterator[None]:
        try:
            yield
        except (httpx.RequestError, httpx.InvalidURL) as error:  # without its cause, which quotes the server
            got = quoted(error, self._secret) or type(error).__name__
            what, remedy = (
                "no answer from the vLLM server",
                "check that the server runs and that the address and port are right",
            )
            if isinstance(error, TooMuch):
                what, remedy = "the server's answer is too large", REMEDY
            raise LiveUnreachable(what, label=self.label, got=got, remedy=remedy) from None


def pause_after(failures: int) -> float:
    """Return the seconds to wait after `failures` in a row: 0.5, 1, 2, ... up to 10, shortened at random by up to half.

    The jitter keeps clients that lost a server together from coming back together.
    """
    return float(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(failures - 1, 10)) * random.uniform(0.5, 1.0))
