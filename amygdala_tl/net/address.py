"""Addresses and tokens of servers, checked before a request."""

import os
import re

import httpx

from amygdala_tl.errors import InputError

_HERE = ("localhost", "127.0.0.1", "::1")
_PRIVATE = re.compile(r"(?<=//)[^/?#]*@|[?#].*", re.DOTALL)


def http_address(url: str) -> httpx.URL:
    """Parse an http(s) address and drop its fragment.

    Raises:
        InputError: `url` is not an http(s) address that a resolver accepts.
    """
    need, label = "http://host:port/path", _PRIVATE.sub("", url)
    try:
        given = httpx.URL(url.strip()).copy_with(fragment=None)
        given.raw_host.decode("ascii").encode("idna")  # as the resolver does, which refuses labels over 63 letters
        host = given.host  # decodes IDNA
    except (httpx.InvalidURL, UnicodeError) as error:
        raise InputError("not an address", label=label, got=error, need=need, remedy="check the address") from None
    if given.scheme not in ("http", "https") or not host:
        raise InputError("not an http(s) address", label=label, need=need, remedy="write the address in full")
    return given


def shown_address(url: httpx.URL) -> str:
    """Return `url` without user, password, query and fragment, for a message."""
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))


def is_here(url: httpx.URL) -> bool:
    """Whether `url` is on this machine, which a proxy cannot reach."""
    return url.host in _HERE


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
