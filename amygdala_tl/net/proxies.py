"""The environment's proxies and certificates; whatever is wrong with them is an error that names the variable.

httpx reads the same variables, but takes networks in NO_PROXY for host names, and fails with a traceback.
"""

import importlib.util
import ipaddress
import os
import ssl
from pathlib import Path
from urllib.request import getproxies

import httpcore
import httpx

from amygdala_tl.errors import InputError

_SCHEMES = ("http", "https", "socks5", "socks5h")


def proxy_of(url: httpx.URL) -> httpcore.Proxy | None:
    """Return the proxy that the environment names for `url`: HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, except for NO_PROXY.

    Raises:
        InputError: the variable holds no address of a proxy, or the proxy needs a package that is not installed.
    """
    named = getproxies()
    kind = url.scheme if named.get(url.scheme) else "all"
    given = named.get(kind)
    if not given or _excepted(url, named.get("no", "")):
        return None
    variable = _variable(f"{kind}_proxy")
    try:
        proxy = httpx.Proxy(given if "://" in given else f"http://{given}")
        host, port = proxy.url.raw_host, proxy.url.port
        address = httpcore.URL(scheme=proxy.url.raw_scheme, host=host, port=port, target=b"/")
        usable = bool(proxy.url.host) and proxy.url.scheme in _SCHEMES
    except (httpx.InvalidURL, ValueError):
        usable = False
    if not usable:  # the value is not quoted, since it may hold a password
        need = " or ".join(f"{scheme}://host:port" for scheme in _SCHEMES)
        raise InputError("not the address of a proxy", label=variable, need=need, remedy=f"correct or unset {variable}")
    if proxy.url.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        remedy = f"install it (`pip install httpx[socks]`), or unset {variable}"
        raise InputError("a SOCKS proxy needs the package socksio", label=variable, remedy=remedy)
    return httpcore.Proxy(address, auth=proxy.raw_auth)


def _excepted(url: httpx.URL, no_proxy: str) -> bool:
    """Whether NO_PROXY names the host: `*`, a domain, an address or a network, each perhaps with a port."""
    return any(_names(entry, url) for part in no_proxy.split(",") for entry in part.split())


def _names(entry: str, url: httpx.URL) -> bool:
    entry = entry.partition("://")[2] or entry
    if entry == "*":
        return True
    network = _network(entry.replace("[", "").replace("]", ""))
    if network is not None:
        try:
            return ipaddress.ip_address(url.host) in network
        except ValueError:
            return False
    if "/" in entry:
        variable = _variable("no_proxy")
        need = "hosts, addresses and networks such as 10.0.0.0/8 or fd00::/8, separated by commas"
        remedy = f"correct or unset {variable}"
        raise InputError("not a network", label=variable, got=entry[:100], need=need, remedy=remedy)
    host, _, port = entry.rpartition(":") if entry.rpartition(":")[2].isdecimal() else (entry, "", "")
    host = host.strip("[]").removeprefix("*").removeprefix(".").lower()
    fits = url.host == host or (bool(host) and url.host.endswith(f".{host}"))
    return fits and port in ("", str(url.port or {"http": 80, "https": 443}.get(url.scheme)))


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def tls_context() -> ssl.SSLContext:
    """Return a context that trusts the certificates of SSL_CERT_FILE or SSL_CERT_DIR, by default those of certifi.

    Raises:
        InputError: the variable names no file or folder, or no certificates are there.
    """
    named = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), None)
    try:
        if named == "SSL_CERT_DIR" and not Path(os.environ[named]).is_dir():
            raise NotADirectoryError("no such folder")
        return httpx.create_ssl_context()
    except (OSError, ValueError) as error:
        if named is None:
            raise
        raise InputError(
            "the certificates of trusted authorities cannot be read",
            label=named,
            got=f"{os.environ[named]}: {getattr(error, 'strerror', None) or error}",
            remedy=f"correct or unset {named}",
        ) from error


def _variable(lower: str) -> str:
    """Return the name of the variable as the environment spells it; lower case comes first, as in `getproxies`."""
    return lower if os.environ.get(lower) else lower.upper()
