"""An upstream behind a proxy, over TLS: connections go through a CONNECT tunnel."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.certificates import server_context
from support.raw_upstream import Exchange, RawUpstream, raw_upstream, says_nothing
from support.transport import OK, run_in_loop, says, whole
from support.tunnel_proxy import TunnelProxy
from tidegate.core.domain.errors import UpstreamUnreachable
from tidegate.http.client.proxy import Proxy
from tidegate.http.client.transport import HttpTransport

pytestmark = pytest.mark.usefixtures("each_event_loop")

Script = Callable[[Exchange], Awaitable[None]]


async def through(proxy_script: Script, upstream: RawUpstream, credentials: bytes = b"") -> list[tuple[int, bytes]]:
    url = upstream.url.replace("http://127.0.0.1", "https://localhost")
    async with raw_upstream(proxy_script) as proxy, asyncio.timeout(10):
        address = urlsplit(proxy.url)
        way = Proxy(address.hostname or "", address.port or 0, credentials)
        transport = HttpTransport(url, proxy=way, connect_timeout_seconds=1)
        try:
            return [await whole(transport) for _ in range(2)]
        finally:
            await transport.aclose()


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a certificate that `SSL_CERT_FILE` makes trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    return tmp_path


def test_a_tunnel_carries_many_exchanges_and_is_asked_for_with_the_proxys_credentials(trusted: Path) -> None:
    proxy = TunnelProxy()

    async def main() -> None:
        async with raw_upstream(says(OK, OK), server_context(trusted)) as upstream:
            assert await through(proxy, upstream, b"Basic dXNlcjo=") == [(200, b"ok")] * 2
            assert upstream.connections == 1
            target = upstream.url.replace("http://127.0.0.1", "localhost").encode()
            head = b"CONNECT %b HTTP/1.1\r\nhost: %b\r\nproxy-authorization: Basic dXNlcjo=\r\n\r\n"
            assert proxy.heads == [head % (target, target)]

    run_in_loop(main())


def test_the_certificate_is_the_upstreams_and_it_is_checked(
    trusted: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server_context(trusted)
    another = server_context(tmp_path_factory.mktemp("another"))

    async def main() -> None:
        async with raw_upstream(says(OK, OK), another) as upstream:
            with pytest.raises(UpstreamUnreachable, match="certificate"):
                await through(TunnelProxy(), upstream)

    run_in_loop(main())


async def closes(exchange: Exchange) -> None:
    await exchange.request()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (says(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), "the proxy refused with status 407"),
        (says(b"HTTP/1.1 200 OK\r\n\r\nand more"), "the proxy sent bytes after its response"),
        (says(b"SSH-2.0-OpenSSH\r\n\r\n"), "the proxy sent no valid response"),
        (says(b"x" * 20_000), "the proxy sent no valid response"),
        (closes, "the proxy sent no valid response"),
        (says_nothing, "no connection within 1 s"),
    ],
)
def test_a_proxy_that_makes_no_tunnel_is_named_as_the_reason(script: Script, reason: str) -> None:
    async def main() -> None:
        async with raw_upstream(says(OK)) as upstream:
            with pytest.raises(UpstreamUnreachable, match=reason) as caught:
                await through(script, upstream)
            assert not caught.value.may_have_been_accepted
            assert upstream.connections == 0

    run_in_loop(main())


def test_a_proxy_that_cannot_be_reached_is_no_connection() -> None:
    async def main() -> None:
        for host, port in (("127.0.0.1", 1), ("proxy.invalid", 1)):
            transport = HttpTransport("https://localhost:1", proxy=Proxy(host, port))
            with pytest.raises(UpstreamUnreachable) as caught:
                await whole(transport)
            assert not caught.value.may_have_been_accepted
            await transport.aclose()

    run_in_loop(main())
