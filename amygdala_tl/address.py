"""Addresses and tokens of servers, checked before a request."""

import os
from typing import Any

import httpx

from amygdala_tl.errors import InputError

_HERE = ("localhost", "127.0.0.1", "::1")


def http_address(url: str) -> httpx.URL:
    """Parse an http(s) address and drop its fragment.

    Raises:
        InputError: `url` is not an http(s) address that a resolver accepts.
    """
    need = "http://host:port/path"
    try:
        given = httpx.URL(url.strip()).copy_with(fragment=None)
        given.raw_host.decode("ascii").encode("idna")  # as the resolver does, which refuses labels over 63 letters
    except (httpx.InvalidURL, UnicodeError) as error:
        raise InputError("not an address", label=url, got=error, need=need, remedy="check the address") from error
    if given.scheme not in ("http", "https") or not given.host:
        raise InputError("not an http(s) address", label=url, need=need, remedy="write the address in full")
    return given


def shown_address(url: httpx.URL) -> str:
    """Return `url` without user, password, query and fragment, for a message."""
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))


def bearer_token(token: str | None, variable: str) -> str | None:
    """Return the token to send: `token`, or by default the environment's `variable`; None without a token.

    Raises:
        InputError: a header cannot carry the token.
    """
    secret = (os.environ.get(variable, "") if token is None else token).strip()
    # Checked here because the HTTP library's own message would quote the token.
    if not all("\x21" <= character <= "\x7e" for character in secret):
        what, need = "a header cannot carry the bearer token", "printable ASCII without spaces"
        raise InputError(what, label=variable, need=need, remedy="set it to the token alone")
    return secret or None


def client_of(url: httpx.URL, secret: str | None, **options: Any) -> httpx.Client:
    """Return a client for the server at `url`: it sends the bearer token, follows no redirect, and uses the environment's proxy
    only for other machines, since a proxy cannot reach this one.
    """
    headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
    return httpx.Client(headers=headers, follow_redirects=False, trust_env=url.host not in _HERE, **options)
