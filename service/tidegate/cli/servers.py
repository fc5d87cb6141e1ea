"""HTTP servers: sockets that say plainly why they cannot be had, and servers that run as long as a block does."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import typer
import uvicorn
from starlette.types import ASGIApp

from tidegate.cli.connection_limits import ConnectionLimits
from tidegate.cli.connections import ClientConnection
from tidegate.core.errors import ConfigurationError
from tidegate.core.events import Event
from tidegate.gateway.outbox import Outbox
from tidegate.observe.logs import open_logs

if TYPE_CHECKING:
    from tidegate.simulator import Clock, SimulatorOptions

__all__ = [
    "HttpImplementation",
    "HttpServer",
    "allow_many_connections",
    "bind",
    "on_stop_signal",
    "run",
    "run_simulator",
    "serving",
    "url_of",
]

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
_LOOPBACK_OF_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here
"""Addresses that mean all of a machine's, and the one of them that is always there."""
_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def bind(host: str, port: int, host_setting: str, port_setting: str) -> socket.socket:
    """A socket bound to an address; the settings are those to blame when it cannot be had.

    Raises:
        ConfigurationError: the port is in use or may not be used, or the host is none of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigurationError(host_setting, host, f"a host name or address ({error.strerror})") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        allowed = f"a port that is free on {host} ({error.strerror})"
        raise ConfigurationError(port_setting, port, allowed) from None
    return listener


def url_of(listener: socket.socket) -> str:
    """The base URL under which this machine reaches a socket."""
    host, port = listener.getsockname()[:2]
    host = _LOOPBACK_OF_ANY.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def allow_many_connections() -> None:
    """Raises the limit of open files as far as the system lets a process: each connection is one."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on Windows; not everywhere as far as it says
        import resource  # noqa: PLC0415 - as above

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class HttpServer(uvicorn.Server):
    """A server on a bound socket that leaves signals to whoever runs it.

    Args:
        app: what answers.
        listener: a bound socket.
        lifespan: whether the application wants to hear of start and stop.
        http: who speaks HTTP; with `uvicorn`, the arguments below have no effect.
        limits: bounds on what a client may do.
        report: hears of each `HeadRefused`.
        outbox: when to write; one of its own unless given.
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
        outbox: Outbox | None = None,
    ) -> None:
        self._listener = listener
        own = partial(ClientConnection, limits=limits, outbox=outbox or Outbox(), report=report)
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


def on_stop_signal(action: Callable[[], None], again: Callable[[], None]) -> asyncio.Event:
    """An event that is set, after `action`, by the first SIGINT or SIGTERM; each further one calls `again`."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if stopped.is_set():
            again()
            return
        action()
        stopped.set()

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    return stopped


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs the process's main coroutine on the fastest event loop there is."""
    new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop as new_loop  # noqa: PLC0415 - not available on every platform
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main)


def run_simulator(options: "SimulatorOptions", host: str, port: int, *, clock: "Clock | None" = None) -> None:
    """Runs the simulated Claude API until SIGINT or SIGTERM.

    Raises:
        ConfigurationError: the address cannot be had.
    """
    from tidegate.simulator import create_app  # noqa: PLC0415 - for this command only

    listener = bind(host, port, "--host", "--port")

    async def main() -> None:
        server = HttpServer(create_app(options, clock=clock), listener)
        async with serving(server):
            stopped = on_stop_signal(lambda: None, server.stop_now)
            typer.echo(f"Simulated Claude API on {url_of(listener)}  (faults: POST /simulator/faults)")
            await stopped.wait()

    open_logs("warning", "auto")
    run(main())
