"""Runs an ASGI application on a real uvicorn, on a free port, in the running event loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn


class _Server(uvicorn.Server):
    """Does not install signal handlers, and signals when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@asynccontextmanager
async def serve(app: Any) -> AsyncIterator[str]:
    """Run an application without server headers, and yield its base URL."""
    config = uvicorn.Config(
        app, port=0, log_level="critical", lifespan="off", server_header=False, date_header=False, access_log=False
    )
    server = _Server(config)
    running = asyncio.create_task(server._serve())
    try:
        async with asyncio.timeout(10):
            await server.listening.wait()
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = server.force_exit = True
        await running
