"""The client's address, with and without trusted proxies."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.identity.proxies import TrustedProxies

PROXIES = TrustedProxies([ip_network("127.0.0.1"), ip_network("10.1.0.0/16"), ip_network("fd00::/8")])


def forwarded_for(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", value.encode()) for value in values]


@pytest.mark.parametrize("peer", ["127.0.0.1", "203.0.113.5", "::1", None, "testclient"])
def test_a_direct_request_comes_from_its_peer(peer: str | None) -> None:
    assert TrustedProxies().client(peer, [(b"host", b"x")]) == peer


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"x-forwarded-for", b"127.0.0.1"),
        (b"x-forwarded-for", b""),
        (b"forwarded", b"for=127.0.0.1"),
        (b"x-real-ip", b"127.0.0.1"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"localhost"),
    ],
)
def test_the_client_behind_a_proxy_that_is_not_trusted_is_unknown(name: bytes, value: bytes) -> None:
    assert TrustedProxies().client("127.0.0.1", [(name, value)]) is None
    assert PROXIES.client("203.0.113.5", [(name, value)]) is None


@pytest.mark.parametrize(
    ("values", "client"),
    [
        (["203.0.113.5"], "203.0.113.5"),
        (["127.0.0.1, 203.0.113.5"], "203.0.113.5"),
        (["127.0.0.1", "203.0.113.5"], "203.0.113.5"),
        (["203.0.113.5, 10.1.2.3 , fd00::7"], "203.0.113.5"),
        (["198.51.100.1, 203.0.113.5, 10.1.2.3"], "203.0.113.5"),
        (["10.1.2.3, 127.0.0.1"], "10.1.2.3"),
        (["2001:db8::1"], "2001:db8::1"),
        (["unknown"], None),
        (["203.0.113.5, "], None),
        ([""], None),
        ([], None),
    ],
)
def test_a_trusted_proxy_names_the_client(values: list[str], client: str | None) -> None:
    assert PROXIES.client("127.0.0.1", forwarded_for(*values)) == client


def test_other_forwarded_fields_of_a_trusted_proxy_give_no_client() -> None:
    assert PROXIES.client("127.0.0.1", [(b"forwarded", b"for=127.0.0.1"), (b"x-real-ip", b"127.0.0.1")]) is None


def test_an_ipv4_address_may_come_in_ipv6_notation() -> None:
    assert PROXIES.trusts("::ffff:10.1.2.3")
    assert not PROXIES.trusts("::ffff:10.2.2.3")


@given(st.lists(st.sampled_from(["127.0.0.1", "10.1.9.9", "203.0.113.5", "::1", "x", ""]), max_size=4))
def test_a_client_cannot_forge_the_address_that_the_proxy_saw(invented: list[str]) -> None:
    """The proxy appends what it saw to whatever the client has sent."""
    sent = forwarded_for(*invented)
    assert PROXIES.client("127.0.0.1", [*sent, *forwarded_for("198.51.100.9")]) == "198.51.100.9"
