"""What a client sees, and the operator, when a server stops while answers are on their way."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from amygdala_tl.net.loopback import running_app


async def endless(request: Request) -> Response:
    """Say one thing and then nothing, for ever."""

    async def silent() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.Event().wait()

    return StreamingResponse(silent())


async def flood(request: Request) -> Response:
    """Say more than a client reads."""

    async def much() -> AsyncIterator[bytes]:
        while True:
            yield bytes(2**20)
            await asyncio.sleep(0)  # or a client that is gone would leave the loop no other turn

    return StreamingResponse(much())


async def short(request: Request) -> Response:
    """Answer in two pieces, a third of a second apart."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first "
        await asyncio.sleep(0.3)
        yield b"last"

    return StreamingResponse(pieces())


APP = Starlette(routes=[Route("/endless", endless), Route("/flood", flood), Route("/short", short)])


@pytest.mark.parametrize("path", ["endless", "flood"])
def test_a_server_stops_under_an_answer_that_does_not_end(path, capfd):
    with httpx.Client() as client:
        with running_app(APP) as url:
            answer = client.send(client.build_request("GET", f"{url}/{path}"), stream=True)
            pieces = answer.iter_raw()
            next(pieces)
        with pytest.raises(httpx.TransportError):  # not the end of a whole answer
            list(pieces)
        with pytest.raises(httpx.ConnectError):
            client.get(url)
    assert capfd.readouterr() == ("", "")


def test_an_answer_that_ends_soon_arrives_whole():
    with httpx.Client() as client:
        with running_app(APP) as url:
            answer = client.send(client.build_request("GET", f"{url}/short"), stream=True)
            pieces = answer.iter_raw()
            assert next(pieces) == b"first "
        assert b"".join(pieces) == b"last"
