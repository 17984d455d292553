"""Addresses and tokens of servers, checked before anything is sent."""

import os

import httpx

from amygdala_tl.errors import InputError

_HERE = ("localhost", "127.0.0.1", "::1")


def http_address(url: str) -> httpx.URL:
    """`url` without its fragment, if it is an http(s) address that a resolver will take.

    Raises:
        InputError: it is not.
    """
    try:
        given = httpx.URL(url.strip()).copy_with(fragment=None)
        given.raw_host.decode("ascii").encode("idna")  # what the resolver will do; it refuses labels over 63 letters
    except (httpx.InvalidURL, UnicodeError) as error:
        raise InputError(
            "no address", label=url, got=error, need="http://host:port/path", remedy="check the address"
        ) from error
    if given.scheme not in ("http", "https") or not given.host:
        raise InputError(
            "no http(s) address", label=url, need="http://host:port/path", remedy="write the address in full"
        )
    return given


def shown_address(url: httpx.URL) -> str:
    """`url` fit for a message: without user, password, query and fragment."""
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))


def bearer_token(token: str | None, variable: str) -> str | None:
    """The token to send: `token`, or that of the environment's `variable` if None; None where there is none.

    Raises:
        InputError: it cannot be sent in a header.
    """
    secret = (os.environ.get(variable) if token is None else token) or ""
    secret = secret.strip()
    # Said here, without the token: the HTTP library's own message would quote the header that it cannot send.
    if not all("\x21" <= character <= "\x7e" for character in secret):
        raise InputError(
            "the bearer token cannot be sent in a header",
            label=variable,
            need="printable ASCII without spaces",
            remedy="set it to the token alone",
        )
    return secret or None


def through_proxy(url: httpx.URL) -> bool:
    """Whether a proxy of the environment may be asked for `url`: it cannot reach this machine's own servers."""
    return url.host not in _HERE
