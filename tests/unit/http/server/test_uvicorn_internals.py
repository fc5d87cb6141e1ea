"""Undocumented parts of uvicorn that are used: the reason for the upper bound in pyproject.toml.

Raise the bound when these tests pass with the newer version.
"""

import asyncio
import contextlib
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from uvicorn.protocols.utils import get_local_addr, get_remote_addr

from support.gateway import until
from support.project import ROOT
from tidegate.http.server.listener import bind

if TYPE_CHECKING:
    from uvicorn.server import ServerState


class Recording(asyncio.Protocol):
    """A connection that records its arguments, and stays until it is shut down."""

    made: list["Recording"]

    def __init__(self, **keywords: Any) -> None:
        self.keywords = keywords
        self.state: ServerState = keywords["server_state"]
        self.is_shut_down = asyncio.Event()
        self.made.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.addresses = get_local_addr(self.transport), get_remote_addr(self.transport)
        self.state.connections.add(self)  # type: ignore[arg-type]  # uvicorn names its own two

    def shutdown(self) -> None:
        self.is_shut_down.set()


class Server(uvicorn.Server):
    captured = 0

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        self.captured += 1
        yield


async def app(_scope: Any, _receive: Any, _send: Any) -> None:
    """Never called."""


def test_uvicorn_is_bounded_to_the_minor_version_that_was_looked_at() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert [line for line in dependencies if line.startswith("uvicorn")] == ["uvicorn>=0.54,<0.55"]
    assert version("uvicorn").startswith("0.54.")


def test_the_internals_of_uvicorn_that_are_used_are_unchanged() -> None:
    asyncio.run(_use_uvicorn())


async def _use_uvicorn() -> None:
    Recording.made = []
    with bind("127.0.0.1", 0, "--host", "--port") as listener:
        address = listener.getsockname()
        server = Server(
            uvicorn.Config(app, http=Recording, lifespan="off", ws="none", log_config=None, proxy_headers=False)
        )
        serving = asyncio.create_task(server.serve([listener]))
        async with asyncio.timeout(10):
            await until(lambda: server.started)
            assert server.captured == 1

            _, writer = await asyncio.open_connection(*address)
            own_address = writer.get_extra_info("sockname")
            await until(lambda: bool(Recording.made) and hasattr(Recording.made[0], "addresses"))
            (connection,) = Recording.made
            assert set(connection.keywords) == {"config", "server_state", "app_state", "_loop"}
            assert connection.keywords["config"].loaded_app is app
            assert connection.keywords["config"].timeout_keep_alive == 5
            assert connection.keywords["app_state"] == {}
            assert connection.addresses == (address, own_address)

            task: asyncio.Task[None] = asyncio.create_task(asyncio.sleep(0.2))
            connection.state.tasks.add(task)
            server.should_exit = True
            await connection.is_shut_down.wait()
            await asyncio.sleep(0.15)
            assert not serving.done(), "a connection is open"
            connection.state.connections.clear()
            connection.transport.close()
            await task
            await asyncio.sleep(0.15)
            assert not serving.done(), "a task is not yet taken off the list"
            connection.state.tasks.clear()
            await serving
            writer.close()
            await writer.wait_closed()
