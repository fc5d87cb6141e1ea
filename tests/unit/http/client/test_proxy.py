"""The proxy that the environment names for an upstream."""

import pytest

from tidegate.core.domain.errors import ConfigurationError
from tidegate.http.client.proxy import Proxy, proxy_for

API = "https://api.anthropic.com"
HTTPS_PROXY = {"HTTPS_PROXY": "http://proxy.example:3128"}


@pytest.mark.parametrize(
    ("value", "proxy"),
    [
        ("http://proxy.example:3128", Proxy("proxy.example", 3128)),
        ("http://proxy.example/", Proxy("proxy.example", 80)),
        ("proxy.example:3128", Proxy("proxy.example", 3128)),
        ("http://[::1]:3128", Proxy("::1", 3128)),
        ("http://user:p%40ss@proxy.example:1", Proxy("proxy.example", 1, b"Basic dXNlcjpwQHNz")),
        ("http://user@proxy.example:1", Proxy("proxy.example", 1, b"Basic dXNlcjo=")),
        ("", None),
    ],
)
def test_the_proxy_for_an_https_upstream(value: str, proxy: Proxy | None) -> None:
    assert proxy_for(API, {"HTTPS_PROXY": value}) == proxy


def test_the_name_in_lower_case_goes_before_and_plain_http_needs_none() -> None:
    both = {"https_proxy": "http://lower:1", **HTTPS_PROXY}
    assert proxy_for(API, both) == Proxy("lower", 1)
    assert proxy_for(API, {}) is None
    assert proxy_for("http://127.0.0.1:8090", both) is None


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize(
    "excepted",
    [
        "api.anthropic.com",
        "anthropic.com",
        ".anthropic.com",
        "*.Anthropic.com",
        "*",
        "localhost, api.anthropic.com:443",
    ],
)
def test_an_exception_goes_directly(name: str, excepted: str) -> None:
    assert proxy_for(API, {**HTTPS_PROXY, name: excepted}) is None


@pytest.mark.parametrize("excepted", ["", ".", "thropic.com", "api.anthropic.com:8443", "10.0.0.0/8", "localhost"])
def test_a_host_outside_no_proxy_goes_through_the_proxy(excepted: str) -> None:
    assert proxy_for(API, {**HTTPS_PROXY, "NO_PROXY": excepted}) is not None


@pytest.mark.parametrize("excepted", ["10.0.0.0/8", "10.1.2.3", "10.1.2.3:443", "192.168.0.1,10.0.0.0/8"])
def test_an_address_is_excepted_by_its_network(excepted: str) -> None:
    assert proxy_for("https://10.1.2.3", {**HTTPS_PROXY, "NO_PROXY": excepted}) is None


def test_an_ipv6_address_is_excepted_by_its_network() -> None:
    assert proxy_for("https://[fd00::1]:8443", {**HTTPS_PROXY, "NO_PROXY": "fd00::/8"}) is None
    assert proxy_for("https://[fd00::1]:8443", {**HTTPS_PROXY, "NO_PROXY": "[fd00::1]"}) is None
    assert proxy_for("https://[fd00::1]:8443", {**HTTPS_PROXY, "NO_PROXY": "::1"}) is not None


@pytest.mark.parametrize(
    "value",
    ["https://proxy:1", "socks5://proxy:1", "http://", "http://u:secret@proxy:x", "http://proxy/path", "http://p/?q"],
)
def test_the_error_for_a_proxy_of_another_kind_has_no_secrets(value: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"HTTPS_PROXY: got .* allowed is the http:// URL of a proxy"
    ) as caught:
        proxy_for(API, {"HTTPS_PROXY": value})
    assert "secret" not in str(caught.value)


def test_the_proxys_password_is_not_shown() -> None:
    assert "dXNlcjo" not in repr(proxy_for(API, {"HTTPS_PROXY": "http://user@proxy.example:1"}))
