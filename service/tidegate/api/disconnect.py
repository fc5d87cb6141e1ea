"""Stops work for a client that has left: frameworks only do so for some kinds of answers."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

__all__ = ["ClientLeft", "unless_client_leaves"]

T = TypeVar("T")


class ClientLeft(Exception):
    """The client closed its connection before it had its answer; nobody hears what is sent now."""


async def unless_client_leaves(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Does the work, and cancels it at once when the client leaves. The request's body must have been read.

    Raises:
        ClientLeft: the client left first; the work has been cancelled and has ended.
    """
    task = asyncio.ensure_future(work)
    departure = asyncio.ensure_future(_departure(receive))
    try:
        await asyncio.wait({task, departure}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        departure.cancel()
        if not task.done():
            task.cancel()
        await asyncio.gather(task, departure, return_exceptions=True)
    if task.cancelled():
        raise ClientLeft
    return task.result()


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
