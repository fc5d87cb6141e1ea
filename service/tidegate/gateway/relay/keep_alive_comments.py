"""Signs of life for a client whose stream has not begun yet."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tidegate.gateway.relay.client_response import ClientResponse

__all__ = ["with_keep_alive_comments"]


@contextlib.asynccontextmanager
async def with_keep_alive_comments(client_response: ClientResponse, every_seconds: float) -> AsyncIterator[None]:
    """While the block runs, sends a comment whenever that much time has passed; none is under way when it is left."""
    over = asyncio.Event()

    async def comment() -> None:
        while True:
            try:
                async with asyncio.timeout(every_seconds):
                    await over.wait()
                    return
            except TimeoutError:
                await client_response.comment()

    commenting = asyncio.create_task(comment())
    try:
        yield
    finally:
        over.set()
        await commenting
