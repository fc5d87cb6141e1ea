"""An HTTP server on a bound socket: runs while a block runs, and stops gracefully."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Final, Literal, cast

import uvicorn
from starlette.types import ASGIApp

from tidegate.core.domain.events import Event
from tidegate.http.server.connection import ClientConnection, ErrorResponse, plain_error
from tidegate.http.server.connection_limits import ConnectionLimits
from tidegate.http.write_batching import WriteBatcher

__all__ = ["HttpImplementation", "HttpServer", "serving"]

HttpImplementation = Literal["tidegate", "uvicorn"]
"""Who speaks HTTP with clients: `ClientConnection`, or uvicorn's own connections, which have none of its bounds."""
_KEEP_ALIVE_SECONDS: Final = 75
"""Longer than load balancers keep idle connections (60 s is common): else they use one that is just being closed."""
_GRACE_SECONDS: Final = 10
"""For answers under way when the service stops; below the 30 s that orchestrators wait before they kill."""
_CONNECTION_LIMITS: Final = ConnectionLimits()
_LAST_WORDS_SECONDS: Final = 0.5
"""For clients to take in why their calls have ended, when the service is stopped at once."""
_STARTING_POLL_SECONDS: Final = 0.01
"""uvicorn has no event for having started."""


class HttpServer(uvicorn.Server):
    """A server on a bound socket that leaves signals to whoever runs it.

    Args:
        app: what answers.
        listener: a bound socket.
        lifespan: whether the application wants to hear of start and stop.
        http: who speaks HTTP; with `uvicorn`, the arguments below have no effect.
        limits: bounds on what a client may do.
        report: hears of each `HeadRefused`.
        write_batcher: when to write; one of its own unless given.
        error_response: makes the answer to a request that the server refuses before the application sees it.
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
        own = partial(
            ClientConnection,
            limits=limits,
            write_batcher=write_batcher or WriteBatcher(),
            report=report,
            error_response=error_response,
        )
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools" if http == "uvicorn" else cast("type[asyncio.Protocol]", own),
                ws="none",
                lifespan="on" if lifespan else "off",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # the dispatcher heeds them, where it matters who calls
                server_header=False,
                date_header=False,  # relayed answers have the upstream's
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none: uvicorn would raise them again at the end, and the process would not end with 0."""
        yield

    @property
    def open_calls(self) -> int:
        """How many calls are being answered."""
        return len(self.server_state.tasks)

    def stop_now(self) -> None:
        """Ends the calls that a stopping server waits for: they are told so, unless their answer has begun."""
        for task in tuple(self.server_state.tasks):
            task.cancel()
        asyncio.get_running_loop().call_later(_LAST_WORDS_SECONDS, self._abort_connections)

    def _abort_connections(self) -> None:
        for connection in cast("set[ClientConnection]", set(self.server_state.connections)):
            connection.transport.abort()  # what a client has not read is dropped

    async def serve_bound(self) -> None:
        """Serves until `should_exit` is set, and then until answers under way have gone out, or for 10 s."""
        await self.serve([self._listener])


@contextlib.asynccontextmanager
async def serving(server: HttpServer) -> AsyncIterator[None]:
    """Runs a server while the block does; it is reachable when that begins, and has ended when that is left."""
    task = asyncio.create_task(server.serve_bound())
    try:
        while not server.started:
            if task.done():
                task.result()  # raises why it did not start
            await asyncio.sleep(_STARTING_POLL_SECONDS)
        yield
    finally:
        server.should_exit = True
        await task
