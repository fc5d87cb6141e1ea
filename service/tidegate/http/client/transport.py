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
from tidegate.http.client.response import lost
from tidegate.http.write_batching import WriteBatcher

__all__ = ["ConnectionWatcher", "HttpTransport"]

_END: Final = (b"", b"")
_ERRNO: Final = re.compile(r"\[Errno (\d+)\]")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class ConnectionWatcher(Protocol):
    """Learns whether connections to the upstream can be opened."""

    @property
    def is_failing(self) -> bool:
        """Whether the latest connection failed."""
        ...

    def reached(self) -> None:
        """A connection was opened, or one that was open has carried an answer."""
        ...

    def failed(self, reason: str, took_ns: int) -> None:
        """A connection could not be opened; that took `took_ns`."""
        ...


class HttpTransport:
    """Implements `core.transport.Transport` over kept-alive HTTP/1.1 connections. Belongs to one event loop.

    It retries nothing, with one exception: a replayable request is sent again, on a new connection, if the upstream had
    closed the kept-alive one before the request could reach it, that is, within one round trip of the write.

    Args:
        base_url: `http://` or `https://` URL of the upstream; a path in it goes before every target.
        ssl_context: how to check the upstream's certificate; None: as OpenSSL does, which heeds `SSL_CERT_FILE`.
        proxy: through which an https upstream is reached; None: directly.
        connect_timeout_seconds: for DNS, TCP and TLS together.
        head_timeout_seconds: from the end of sending to the head of the answer; an answer that is not streamed is
            computed in this time.
        idle_timeout_seconds: between two pieces of a body.
        max_connections: exchanges at a time; one more waits for another to end.
        keep_alive_seconds: connections that are idle for longer are closed.
        write_batcher: when to write; one of its own unless given.
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
        self._slots = max_connections
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: list[Connection] = []  # the one that is idle for longest comes first, the next to be used last
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(self, request: TransportRequest, on_begin: Callable[[], None] | None = None) -> TransportResponse:
        """Sends a request and waits for the head of the answer; see `Transport`."""
        connection = self._idle_connection() or await self._connection(fresh=False)
        if on_begin is not None:
            on_begin()
        head = self._head(request)
        while True:
            answer = connection.begin(head, request)
            try:
                await answer.head(self._timeouts.head_seconds)
                answer.check()
            except BaseException as error:
                await answer.aclose()
                if not (request.replayable and connection.went_stale and isinstance(error, UpstreamUnreachable)):
                    raise
            else:
                if self._watcher is not None and self._watcher.is_failing:
                    self._watcher.reached()  # over a connection that was open before
                return answer
            connection = await self._connection(fresh=True)

    async def check(self) -> None:
        """Opens a connection and closes it, to find out whether the upstream can be reached.

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
        """A connection that is open and free, with a slot, if both are there."""
        if not self._slots:
            return None
        connection = self._take_idle()
        self._slots -= connection is not None
        return connection

    async def _connection(self, *, fresh: bool) -> Connection:
        """A connection, with a slot that `_exchange_over` gives back."""
        if self._slots:
            self._slots -= 1
        else:
            await self._wait_for_slot()
        try:
            return (None if fresh else self._take_idle()) or await self._connect()
        except BaseException:
            self._give_slot()
            raise

    async def _wait_for_slot(self) -> None:
        """As a semaphore's `acquire`, for which asyncio takes as long as all the rest here."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it had been given one
                self._give_slot()
            raise

    def _give_slot(self) -> None:
        """Gives a slot to who has been waiting for longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._slots += 1

    async def _connect(self) -> Connection:
        if self._closed:
            raise lost("the relay is shutting down", may_have_been_accepted=False)
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
        # Answers may be silent for minutes, in which a middlebox forgets a connection that shows no life.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.opened_in_ns = monotonic_ns() - started_ns
        connection.round_trip_seconds = min(connection.round_trip_seconds, connection.opened_in_ns / NS_PER_SECOND)
        if self._watcher is not None:
            self._watcher.reached()
        return connection

    def _unconnected(self, reason: str, started_ns: int) -> UpstreamUnreachable:
        if self._watcher is not None:
            self._watcher.failed(reason, monotonic_ns() - started_ns)
        return lost(reason, may_have_been_accepted=False)

    def _reason(self, error: OSError) -> str:
        """Why no connection could be opened, without addresses: an error of asyncio lists each that it tried."""
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
        return Connection(self._timeouts, self._write_batcher, self._exchange_over, self._forget)

    def _take_idle(self) -> Connection | None:
        now_seconds = monotonic()
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and now_seconds - connection.idle_since_seconds <= self._keep_alive_seconds:
                return connection
            connection.close()
        return None

    def _exchange_over(self, connection: Connection, reusable: bool) -> None:  # noqa: FBT001 - a callback of Connection
        self._give_slot()
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
        """Closes what has been idle for too long: the last ones are taken first, so others may never be used again."""
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
    # Where a name has several addresses, asyncio joins the errors of all of them into one text.
    numbers = {int(number) for number in _ERRNO.findall(str(error))}
    return ", ".join(map(os.strerror, sorted(numbers))) or type(error).__name__
