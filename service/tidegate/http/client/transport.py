"""The pool of connections to one upstream."""

import asyncio
import os
import re
import socket
import ssl
from collections import deque
from collections.abc import Callable
from time import monotonic, monotonic_ns
from typing import Final, Protocol
from urllib.parse import urlsplit

from tidegate.core.domain.errors import ConfigurationError, UpstreamUnreachable
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.ports.transport import EncodedHeaders, TransportRequest, TransportResponse
from tidegate.http.client.connection import Connection, ConnectionTimeouts
from tidegate.http.client.proxy import Proxy, ProxyError
from tidegate.http.client.response import unreachable
from tidegate.http.write_batching import WriteBatcher

__all__ = ["ConnectionWatcher", "HttpTransport"]

_END: Final = (b"", b"")
_ERRNO: Final = re.compile(r"\[Errno (\d+)\]")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class ConnectionWatcher(Protocol):
    """Hears of each connection to the upstream whether it could be opened."""

    @property
    def is_failing(self) -> bool:
        """Whether the latest connection failed."""
        ...

    def reached(self) -> None:
        """A connection was opened, or an open one has carried a response."""
        ...

    def failed(self, reason: str, took_ns: int) -> None:
        """A connection could not be opened; the attempt took `took_ns`."""
        ...


class HttpTransport:
    """Implements `core.ports.transport.Transport` over kept-alive HTTP/1.1 connections. Belongs to one event loop.

    It retries nothing, with one exception. If the upstream closed a kept-alive connection before the request could
    arrive there, that is, within one round trip of the write, a replayable request is sent again on a new connection.

    Args:
        base_url: `http://` or `https://` URL of the upstream; its path is put before every target.
        ssl_context: how to check the upstream's certificate; None: OpenSSL's default, which honours `SSL_CERT_FILE`.
        proxy: the proxy for an https upstream; None: none.
        connect_timeout_seconds: for DNS, TCP and TLS together.
        head_timeout_seconds: from the end of sending to the head of the response; without streaming, the upstream
            computes the whole response in this time.
        idle_timeout_seconds: between two pieces of a body.
        max_connections: exchanges at a time; further ones wait.
        keep_alive_seconds: connections that are idle for longer are closed.
        write_batcher: decides when to write; None: a new one.
        watcher: is told of every connection that was opened or could not be opened.

    Raises:
        ConfigurationError: the URL or a number is not allowed.
    """

    def __init__(
        self,
        base_url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
        connect_timeout_seconds: float = 10.0,
        head_timeout_seconds: float = 600.0,
        idle_timeout_seconds: float = 300.0,
        max_connections: int = 1_000,
        keep_alive_seconds: float = 55.0,
        write_batcher: WriteBatcher | None = None,
        watcher: ConnectionWatcher | None = None,
    ) -> None:
        for name, value in (
            ("connect_timeout_seconds", connect_timeout_seconds),
            ("head_timeout_seconds", head_timeout_seconds),
            ("idle_timeout_seconds", idle_timeout_seconds),
            ("max_connections", max_connections),
            ("keep_alive_seconds", keep_alive_seconds),
        ):
            if not value > 0:
                raise ConfigurationError(name, value, "a number above 0")
        scheme, self._address, self._authority, self._prefix = _parts(base_url)
        self._proxy = proxy if scheme == "https" else None
        self._ssl = (ssl_context or ssl.create_default_context()) if scheme == "https" else None
        self._host_line = b"host: " + self._authority
        self._timeouts = ConnectionTimeouts(connect_timeout_seconds, head_timeout_seconds, idle_timeout_seconds)
        self._write_batcher = write_batcher or WriteBatcher()
        self._watcher = watcher
        self._keep_alive_seconds = keep_alive_seconds
        self._max_connections = self._slots = max_connections
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: list[Connection] = []  # in the order in which they became idle; the last one is used next
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False

    def configure(self, *, idle_timeout_seconds: float, max_connections: int) -> None:
        """Replaces the idle timeout, for waits that begin from now on, and the number of exchanges at a time.

        If more exchanges are under way than that, they continue, and further ones wait.
        """
        self._timeouts.idle_seconds = idle_timeout_seconds
        self._slots += max_connections - self._max_connections
        self._max_connections = max_connections
        while self._slots > 0 and self._waiting:
            self._slots -= 1
            self._release_slot()

    async def send(self, request: TransportRequest, on_begin: Callable[[], None] | None = None) -> TransportResponse:
        """Sends a request and waits for the head of the response; see `Transport`."""
        connection = self._idle_connection() or await self._connection(fresh=False)
        if on_begin is not None:
            on_begin()
        head = self._head(request)
        while True:
            response = connection.start_exchange(head, request)
            try:
                await response.head(self._timeouts.head_seconds)
                response.check()
            except BaseException as error:
                await response.aclose()
                if not (request.replayable and connection.went_stale and isinstance(error, UpstreamUnreachable)):
                    raise
            else:
                if self._watcher is not None and self._watcher.is_failing:
                    self._watcher.reached()
                return response
            connection = await self._connection(fresh=True)

    async def check(self) -> None:
        """Opens a connection and closes it, to check whether the upstream can be reached.

        Raises:
            UpstreamUnreachable: it cannot.
        """
        (await self._connect()).close()

    async def aclose(self) -> None:
        """Closes idle connections and refuses further requests; see `Transport`."""
        self._closed = True
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None

    def _idle_connection(self) -> Connection | None:
        """An idle connection with a slot; None if either is missing."""
        if self._slots <= 0:
            return None
        connection = self._take_idle()
        self._slots -= connection is not None
        return connection

    async def _connection(self, *, fresh: bool) -> Connection:
        """A connection with a slot, which `_on_exchange_end` releases."""
        if self._slots > 0:
            self._slots -= 1
        else:
            await self._wait_for_slot()
        try:
            return (None if fresh else self._take_idle()) or await self._connect()
        except BaseException:
            self._release_slot()
            raise

    async def _wait_for_slot(self) -> None:
        """Like a semaphore's `acquire`. asyncio's takes as long as everything else here."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it already has a slot
                self._release_slot()
            raise

    def _release_slot(self) -> None:
        """Gives the slot to the request that has waited longest."""
        while self._waiting and self._slots >= 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._slots += 1

    async def _connect(self) -> Connection:
        if self._closed:
            raise unreachable("the relay is shutting down", may_have_been_accepted=False)
        started_ns = monotonic_ns()
        try:
            async with asyncio.timeout(self._timeouts.connect_seconds):
                transport, connection = await self._open()
        except TimeoutError:
            reason = f"no connection within {self._timeouts.connect_seconds:g} s"
            raise self._unconnected(reason, started_ns) from None
        except OSError as error:
            raise self._unconnected(self._reason(error), started_ns) from error
        except UnicodeError:
            raise self._unconnected("no such host (the name is not valid)", started_ns) from None
        # Responses may be silent for minutes. Middleboxes drop connections that are silent for so long.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.opened_in_ns = monotonic_ns() - started_ns
        connection.round_trip_seconds = min(connection.round_trip_seconds, connection.opened_in_ns / NS_PER_SECOND)
        if self._watcher is not None:
            self._watcher.reached()
        return connection

    def _unconnected(self, reason: str, started_ns: int) -> UpstreamUnreachable:
        if self._watcher is not None:
            self._watcher.failed(reason, monotonic_ns() - started_ns)
        return unreachable(reason, may_have_been_accepted=False)

    def _reason(self, error: OSError) -> str:
        """The reason that no connection could be opened, without the addresses that asyncio's errors list."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted ({error.verify_message})"
        if isinstance(error, ssl.SSLError):
            return f"no TLS connection ({error.strerror or type(error).__name__})"
        if isinstance(error, ProxyError):
            return str(error.strerror)
        reason = _dns_reason(error) if isinstance(error, socket.gaierror) else _socket_reason(error)
        return reason if self._proxy is None else f"the proxy cannot be reached: {reason}"

    async def _open(self) -> tuple[asyncio.Transport, Connection]:
        host, port = self._address
        loop = asyncio.get_running_loop()
        if self._proxy is None:
            return await loop.create_connection(self._new_connection, host, port, ssl=self._ssl)
        tunnel = await self._proxy.tunnel(host, port)
        try:
            return await loop.create_connection(self._new_connection, sock=tunnel, ssl=self._ssl, server_hostname=host)
        except BaseException:
            tunnel.close()
            raise

    def _new_connection(self) -> Connection:
        return Connection(self._timeouts, self._write_batcher, self._on_exchange_end, self._forget)

    def _take_idle(self) -> Connection | None:
        now_seconds = monotonic()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and now_seconds - connection.idle_since_seconds <= self._keep_alive_seconds:
                return connection
            connection.close()
        return None

    def _on_exchange_end(self, connection: Connection, reusable: bool) -> None:  # noqa: FBT001 - a callback of Connection
        self._release_slot()
        if reusable and self._closed:
            connection.close()
        elif reusable:
            connection.idle_since_seconds = monotonic()
            self._idle.append(connection)
            self._reap_later()

    def _reap_later(self) -> None:
        if self._idle and self._reaper is None:
            due_seconds = self._idle[0].idle_since_seconds + self._keep_alive_seconds
            self._reaper = asyncio.get_running_loop().call_later(max(0.0, due_seconds - monotonic()), self._reap)

    def _reap(self) -> None:
        """Closes connections that were idle for too long: the most recent ones are used first, others maybe never."""
        self._reaper = None
        idle_since_seconds = monotonic() - self._keep_alive_seconds
        while self._idle and self._idle[0].idle_since_seconds <= idle_since_seconds:
            self._idle.pop(0).close()
        self._reap_later()

    def _forget(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)

    def _head(self, request: TransportRequest) -> bytes:
        first = b"%b %b%b HTTP/1.1" % (request.method, self._prefix, request.target)
        lines = [first, self._host_line]
        headers = request.headers if isinstance(request.headers, EncodedHeaders) else EncodedHeaders(request.headers)
        if headers.text:
            lines.append(headers.text)
        if not isinstance(request.body, bytes):
            length = request.content_length
            lines.append(b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length)
        elif request.body or request.method not in {b"GET", b"HEAD", b"DELETE", b"OPTIONS"}:
            lines.append(b"content-length: %d" % len(request.body))
        lines += _END
        return b"\r\n".join(lines)


def _parts(base_url: str) -> tuple[str, tuple[str, int], bytes, bytes]:
    """Scheme, address, `host` header and path prefix of a URL."""
    allowed = "a URL such as https://api.anthropic.com, without credentials, query and fragment"
    try:
        url = urlsplit(base_url)
        port = url.port
    except ValueError:
        raise ConfigurationError("base_url", base_url, allowed) from None
    if url.username is not None or url.password is not None:
        raise ConfigurationError("base_url", "a URL with credentials", allowed)
    usable = url.scheme in _DEFAULT_PORTS and url.hostname and base_url.isascii() and base_url.isprintable()
    if not usable or not url.hostname or url.query or url.fragment or " " in base_url:
        raise ConfigurationError("base_url", base_url, allowed)
    address = (url.hostname, port or _DEFAULT_PORTS[url.scheme])
    return url.scheme, address, url.netloc.encode(), url.path.rstrip("/").encode()


def _dns_reason(error: socket.gaierror) -> str:
    if error.errno == socket.EAI_AGAIN:
        return f"DNS does not answer ({error.strerror})"
    return f"no such host ({error.strerror})"


def _socket_reason(error: OSError) -> str:
    if error.errno:
        return os.strerror(error.errno)
    # If a name has several addresses, asyncio joins their errors into one text.
    numbers = {int(number) for number in _ERRNO.findall(str(error))}
    return ", ".join(map(os.strerror, sorted(numbers))) or type(error).__name__
