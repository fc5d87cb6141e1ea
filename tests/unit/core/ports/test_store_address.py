"""The URL of a shared store."""

import pytest

from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.ports.store_address import StoreAddress, parse_store_url, without_credentials


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("valkey://cache", StoreAddress("server", (("cache", 6379),))),
        ("redis://:p%40ss@10.0.0.1:7000/3", StoreAddress("server", (("10.0.0.1", 7000),), database=3, password="p@ss")),
        (
            "rediss://tide:x@[::1]:6380",
            StoreAddress("server", (("::1", 6380),), username="tide", password="x", tls=True),
        ),
        ("valkey://ann:a:b@[FE80::a]:1", StoreAddress("server", (("FE80::a", 1),), username="ann", password="a:b")),
        ("valkey://cache:65535", StoreAddress("server", (("cache", 65_535),))),
        ("valkeys://cache?ca_file=/ca.pem", StoreAddress("server", (("cache", 6379),), tls=True, ca_file="/ca.pem")),
        ("valkey://cache?prefix=team-a", StoreAddress("server", (("cache", 6379),), prefix="team-a")),
        (
            "valkey+sentinel://one,two:26380/main",
            StoreAddress("sentinel", (("one", 26379), ("two", 26380)), service="main"),
        ),
        (
            "valkey+sentinel://one/main?sentinel_user=ann&sentinel_password=p%2Bw",
            StoreAddress(
                "sentinel", (("one", 26379),), service="main", sentinel_username="ann", sentinel_password="p+w"
            ),
        ),
        (
            "valkey+cluster://one:7000,two:7001?tls=true",
            StoreAddress("cluster", (("one", 7000), ("two", 7001)), tls=True),
        ),
    ],
)
def test_the_forms_of_a_url(url: str, address: StoreAddress) -> None:
    assert parse_store_url(url) == address


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("memcached://cache", "(another scheme)"),
        ("valkey://", "(a host is missing)"),
        ("valkey://one,two", "(several hosts)"),
        ("valkey://cache:0", "(a port is not between 1 and 65535)"),
        ("valkey://cache:65536", "(a port is not between 1 and 65535)"),
        ("valkey://cache:http", "(a host is malformed)"),
        ("valkey://cache/name", "(the database is not a number)"),
        ("valkey://cache/X", "(the database is not a number)"),
        ("valkey://cache#x", "(a fragment, which no server reads; write # in a password as %23)"),
        ("valkey://cache?prefix=", "(a prefix has 1 to 100 letters, digits, dots, colons, underscores or hyphens)"),
        ("valkey://cache?tls", "(bad query field: 'tls')"),
        ("valkey://cache?prefix={a}", "a prefix has 1 to 100"),
        ("valkey://cache?tls=yes", "(tls is true or false)"),
        (
            "valkey://cache?db=3",
            "(unknown option db; known are prefix, tls, ca_file, sentinel_user and sentinel_password)",
        ),
        ("valkey://cache?sentinel_password=x", "(sentinel_user and sentinel_password belong to valkey+sentinel://)"),
        ("valkey+sentinel://cache/main?sentinel_user=x", "(sentinel_user without sentinel_password)"),
        ("valkey+sentinel://cache", "(the name of the service is missing)"),
        ("valkey+cluster://cache/1", "(a cluster has no databases)"),
    ],
)
def test_another_url_is_refused_with_the_reason_and_the_forms(url: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^store_url: got .*allowed is memory://") as caught:
        parse_store_url(url)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "valkey://ann:hunter2@cache/x",
        "valkey://ann:hunt#er2@cache",
        "ann:hunter2@cache",
        "valkey+sentinel://cache/main?sentinel_user=ann&sentinel_password=hunter2&x=y",
    ],
)
def test_no_password_is_shown(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_store_url(url)
    assert "er2" not in str(caught.value)
    assert "ann" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("valkey://cache:7000/3", "valkey://cache:7000/3"),
        ("valkey://ann:hunt@er2@cache://x", "valkey://(hidden)@cache://x"),
        ("cache:6379", "cache:6379"),
        ("ann:hunter2@cache", "(hidden)"),
        (
            "valkey+sentinel://cache/main?sentinel_user=ann&sentinel_password=hunter2&x=y",
            "valkey+sentinel://cache/main?sentinel_user=(hidden)&sentinel_password=(hidden)&x=y",
        ),
    ],
)
def test_a_url_is_shown_without_user_and_password(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("valkey://ann:hunter2@cache", "cache:6379"),
        ("valkey+sentinel://ann:hunter2@one,two/main", "service main of Sentinel one:26379, two:26379"),
        ("valkey+cluster://ann:hunter2@one,two", "cluster one:6379, two:6379"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    address = parse_store_url(url)
    assert str(address) == shown
    assert repr(address) == f"StoreAddress({shown})"
