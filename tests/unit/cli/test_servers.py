"""Sockets and the URLs that people are told."""

import socket

import pytest

from tidegate.cli.servers import bind, url_of


@pytest.mark.parametrize(
    ("host", "reached_at"),
    [
        ("127.0.0.1", "http://127.0.0.1"),
        ("0.0.0.0", "http://127.0.0.1"),  # noqa: S104
        ("::1", "http://[::1]"),
        ("::", "http://[::1]"),
    ],
)
def test_a_url_leads_to_the_socket_from_this_machine(host: str, reached_at: str) -> None:
    if ":" in host and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with bind(host, 0, "--host", "--port") as listener:
        assert url_of(listener) == f"{reached_at}:{listener.getsockname()[1]}"
