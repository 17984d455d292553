"""Addresses and tokens of servers, checked before a request."""

import os

import httpx

from amygdala_tl.errors import InputError

_HERE = ("localhost", "127.0.0.1", "::1")


def http_address(url: str) -> httpx.URL:
    """Parse an http(s) address and drop its fragment.

    Raises:
        InputError: `url` is not an http(s) address that a resolver accepts.
    """
    try:
        given = httpx.URL(url.strip()).copy_with(fragment=None)
        given.raw_host.decode("ascii").encode("idna")  # as the resolver does, which refuses labels over 63 letters
    except (httpx.InvalidURL, UnicodeError) as error:
        raise InputError(
            "not an address", label=url, got=error, need="http://host:port/path", remedy="check the address"
        ) from error
    if given.scheme not in ("http", "https") or not given.host:
        raise InputError(
            "not an http(s) address", label=url, need="http://host:port/path", remedy="write the address in full"
        )
    return given


def shown_address(url: httpx.URL) -> str:
    """Return `url` without user, password, query and fragment, for a message."""
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))


def bearer_token(token: str | None, variable: str) -> str | None:
    """Return the token to send: `token`, or by default the environment's `variable`; None without a token.

    Raises:
        InputError: a header cannot carry the token.
    """
    secret = (os.environ.get(variable) if token is None else token) or ""
    secret = secret.strip()
    # Checked here because the HTTP library's own message would quote the token.
    if not all("\x21" <= character <= "\x7e" for character in secret):
        raise InputError(
            "a header cannot carry the bearer token",
            label=variable,
            need="printable ASCII without spaces",
            remedy="set it to the token alone",
        )
    return secret or None


def through_proxy(url: httpx.URL) -> bool:
    """Say whether to use the environment's proxy for `url`: a proxy cannot reach servers on this machine."""
    return url.host not in _HERE
