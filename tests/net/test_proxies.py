"""The environment's proxies and certificates: used as they are meant, or named in one message."""

import httpx
import pytest

from amygdala_tl.errors import InputError
from amygdala_tl.memory import read_memory_server
from amygdala_tl.net.client import client_of
from amygdala_tl.net.proxies import proxy_of
from tests.net.raw_server import Send, raw_server

FAR = "http://memory.test:7777/mcp"


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all", "no"):
        for variable in (f"{name}_proxy", f"{name}_proxy".upper()):
            monkeypatch.delenv(variable, raising=False)
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize(
    "value",
    [
        "socks5://user:pass@127.0.0.1:1",
        "socks4://user:pass@h:1",
        "http://user:pass@h:port",
        "http://",
        "ftp://h",
        "http://[::1",
        "//pass@:x",
    ],
)
def test_a_proxy_that_cannot_be_used_is_one_message_with_the_variables_name(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InputError, match=rf"^{variable}: ") as caught:
        read_memory_server(FAR)
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("fd00::/8", "http://[fd00::1]:7777", True),
        ("fd00::/8", "http://[fe80::1]:7777", False),
        ("fd00::/8,10.0.0.0/8", "http://10.1.2.3", True),
        ("10.0.0.0/8", "http://11.1.2.3", False),
        ("10.0.0.0/8", "http://ten.test", False),
        ("10.1.2.3", "http://10.1.2.3", True),
        ("10.9.9.9/8", "http://10.1.2.3", True),
        ("[fd00::1]", "http://[fd00::1]", True),
        ("memory.test", FAR, True),
        (".test", FAR, True),
        ("*.test", FAR, True),
        ("memory.test:7777", FAR, True),
        ("memory.test:80", FAR, False),
        ("memory.test:80", "http://memory.test", True),
        ("http://memory.test", FAR, True),
        ("other.test, MEMORY.test", FAR, True),
        ("ry.test", FAR, False),
        ("", FAR, False),
        ("*", FAR, True),
    ],
)
def test_no_proxy_names_hosts_domains_and_networks(
    no_proxy: str, url: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (proxy_of(httpx.URL(url)) is None) == direct


def test_a_network_that_is_none_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", "localhost,fd00::/200")
    with pytest.raises(InputError, match=r"^NO_PROXY: not a network \(got: fd00::/200"):
        read_memory_server(FAR)


def test_a_proxy_is_asked_for_other_machines_with_its_own_password(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def talk(request: bytes, send: Send) -> None:
        seen.append(request)
        send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    with raw_server(talk) as url:
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("HTTP_PROXY", url.replace("http://", "user:pass@"))
        with client_of(httpx.URL(FAR), "key") as client:
            assert client.get(FAR).text == "hi"
        with client_of(httpx.URL(url), "key") as client:
            assert client.get(url + "/direct").text == "hi"
    assert seen[0].startswith(b"GET http://memory.test:7777/mcp HTTP/1.1")
    assert b"Proxy-Authorization: Basic dXNlcjpwYXNz" in seen[0]
    assert seen[1].startswith(b"GET /direct HTTP/1.1")


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
@pytest.mark.parametrize("url", ["https://memory.test/mcp", "https://127.0.0.1:1/mcp"])
def test_certificates_that_are_not_there_are_named_with_their_variable(
    variable: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "/no/such/place")
    with pytest.raises(InputError, match=f"^{variable}: .*/no/such/place"):
        read_memory_server(url)


def test_a_file_without_certificates_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", __file__)
    with pytest.raises(InputError, match=r"^SSL_CERT_FILE: "):
        read_memory_server("https://memory.test/mcp")
