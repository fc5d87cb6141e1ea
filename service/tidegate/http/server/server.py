"""Runs an HTTP server on a bound socket, and stops it gracefully."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, Literal, cast

import uvicorn
from starlette.types import ASGIApp

from tidegate.core.domain.events import Event
from tidegate.http.server.connection import ClientConnection, DrainableState, ErrorResponse, plain_error
from tidegate.http.server.connection_limits import ConnectionLimits
from tidegate.http.write_batching import WriteBatcher

__all__ = ["HttpImplementation", "HttpServer", "serving"]

HttpImplementation = Literal["tidegate", "uvicorn"]
"""The class of client connections: `ClientConnection`, or uvicorn's own, which has none of its limits."""
_KEEP_ALIVE_SECONDS: Final = 75
"""Longer than load balancers keep idle connections (60 s is common). Otherwise they use one that is just closing."""
_GRACE_SECONDS: Final = 10
"""For calls under way when a server stops that was not drained before."""
_CONNECTION_LIMITS: Final = ConnectionLimits()
_LAST_WRITES_SECONDS: Final = 0.5
"""For clients to read the error of their calls, if the service is stopped at once."""
_IDLE_POLL_SECONDS: Final = 0.1
_FIRST_REQUEST_POLLS: Final = 10
"""For the first request of clients that connected just before the listener closed, and could not know."""
_STARTING_POLL_SECONDS: Final = 0.01
"""uvicorn has no event for this."""


class HttpServer(uvicorn.Server):
    """A server on a bound socket. It handles no signals.

    Args:
        app: the ASGI application.
        listener: a bound socket.
        lifespan: whether the application takes part in the ASGI lifespan.
        http: which connections serve clients; with `uvicorn`, the arguments below have no effect.
        limits: limits on what a client may do.
        report: receives a `HeadRefused` for each request that the server refuses.
        write_batcher: decides when to write; None: a new one.
        error_response: makes the response to a request that the server refuses before the application sees it.

    Attributes:
        limits: limits on what the client of a new connection may do. They may be replaced.
    """

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        *,
        lifespan: bool = False,
        http: HttpImplementation = "tidegate",
        limits: ConnectionLimits = _CONNECTION_LIMITS,
        report: Callable[[Event], None] | None = None,
        write_batcher: WriteBatcher | None = None,
        error_response: ErrorResponse = plain_error,
    ) -> None:
        self._listener = listener
        self.limits = limits
        batcher = write_batcher or WriteBatcher()

        def own(**arguments: Any) -> ClientConnection:  # uvicorn's, for each connection
            return ClientConnection(
                limits=self.limits, write_batcher=batcher, report=report, error_response=error_response, **arguments
            )

        super().__init__(
            uvicorn.Config(
                app,
                http="httptools" if http == "uvicorn" else cast("type[asyncio.Protocol]", own),
                ws="none",
                lifespan="on" if lifespan else "off",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # the access rules read them
                server_header=False,
                date_header=False,  # relayed responses have the upstream's
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )
        self.server_state = self._state = DrainableState()
        self._hurry = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures no signals: uvicorn would raise them again at the end, and the exit status would not be 0."""
        yield

    @property
    def open_calls(self) -> int:
        """The number of calls under way."""
        return len(self.server_state.tasks)

    async def drain(self, notice_seconds: float, drain_seconds: float, *, awaits_idle: bool = False) -> None:
        """Ends the calls gracefully; afterwards the server may stop. `stop_now` shortens it.

        For `notice_seconds` connections and calls are still accepted, so that load balancers can notice. Each response
        closes its connection; idle connections stay open until the server stops. Then the listener closes. Clients
        that have just connected have a second to begin a request, and calls have `drain_seconds` to end. Calls that are
        left after that are cancelled.

        With `awaits_idle`, idle connections have that time as well. They end with the response to their next request,
        or as usual after a while without one. So no client finds its connection closed in the moment that it uses it.
        """
        self._state.is_draining = True
        for connection in tuple(self.server_state.connections):
            if isinstance(connection, ClientConnection):
                connection.close_after_response()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(notice_seconds):
                await self._hurry.wait()
        self.stop_listening()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_seconds):
                await self._first_requests()
                await self._until_idle(connections=awaits_idle)
        for task in tuple(self.server_state.tasks):
            task.cancel()

    async def _first_requests(self) -> None:
        """Waits until each new connection has begun a request, for a second at most."""
        for _ in range(_FIRST_REQUEST_POLLS):
            connections = (each for each in self.server_state.connections if isinstance(each, ClientConnection))
            if self._hurry.is_set() or not any(each.is_new for each in connections):
                return
            await asyncio.sleep(_IDLE_POLL_SECONDS)

    def stop_listening(self) -> None:
        """Accepts no more connections. Those that wait are left to another process, if one has the same socket."""
        for server in self.servers:
            server.close()
        self._listener.close()

    async def _until_idle(self, *, connections: bool) -> None:
        """Waits for all calls, and for all connections if wanted."""
        while True:
            if tasks := tuple(self.server_state.tasks):
                await asyncio.wait(tasks)
            elif connections and self.server_state.connections and not self._hurry.is_set():
                await asyncio.sleep(_IDLE_POLL_SECONDS)
            else:
                return

    def stop_now(self) -> None:
        """Ends the calls that a stopping server waits for. Clients get an error, unless their response has begun."""
        self._hurry.set()
        for task in tuple(self.server_state.tasks):
            task.cancel()
        asyncio.get_running_loop().call_later(_LAST_WRITES_SECONDS, self._abort_connections)

    def _abort_connections(self) -> None:
        for connection in cast("set[ClientConnection]", set(self.server_state.connections)):
            connection.transport.abort()  # drops what the client has not read

    async def serve_bound(self) -> None:
        """Serves until `should_exit` is set. Calls that were not drained before have 10 s to end."""
        await self.serve([self._listener])


@contextlib.asynccontextmanager
async def serving(server: HttpServer) -> AsyncIterator[None]:
    """Runs a server for the duration of a block. It is reachable at its beginning, and has stopped at its end."""
    task = asyncio.create_task(server.serve_bound())
    try:
        while not server.started:
            if task.done():
                task.result()  # raises the reason
            await asyncio.sleep(_STARTING_POLL_SECONDS)
        yield
    finally:
        server.should_exit = True
        await task
