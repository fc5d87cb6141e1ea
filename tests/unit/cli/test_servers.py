"""Sockets and the URLs that people are told."""

from typing import TYPE_CHECKING, cast

import pytest

from tidegate.cli.servers import bind, url_of

if TYPE_CHECKING:
    import socket


class BoundSocket:
    """A socket that is bound here, whether or not this machine has IPv6."""

    def __init__(self, *address: str | int) -> None:
        self._address = address

    def getsockname(self) -> tuple[str | int, ...]:
        return self._address


@pytest.mark.parametrize(
    ("host", "reached_at"),
    [("127.0.0.1", "http://127.0.0.1"), ("0.0.0.0", "http://127.0.0.1")],  # noqa: S104
)
def test_a_url_leads_to_the_socket_from_this_machine(host: str, reached_at: str) -> None:
    with bind(host, 0, "--host", "--port") as listener:
        assert url_of(listener) == f"{reached_at}:{listener.getsockname()[1]}"


@pytest.mark.parametrize("host", ["::1", "::"])
def test_an_ipv6_address_stands_in_brackets(host: str) -> None:
    assert url_of(cast("socket.socket", BoundSocket(host, 8080, 0, 0))) == "http://[::1]:8080"
