"""Types of ASGI, and the extension that Tidegate's server offers."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol

__all__ = ["EXCHANGE", "App", "Message", "Receive", "Send", "ServerExchange"]

Message = MutableMapping[str, Any]
"""An ASGI scope or event."""
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
EXCHANGE: Final = "tidegate.exchange"
"""Name of an extension in the scope: a `ServerExchange`. With a server that lacks it, plain ASGI is used, which needs a
task per call to notice that the client disconnects."""


class ServerExchange(Protocol):
    """Functions of Tidegate's server for a request, in addition to ASGI.

    Attributes:
        task: the task that runs the application.
    """

    task: asyncio.Task[None] | None

    def whole_body(self) -> bytes | None:
        """The body, if all of it has arrived and none was received. It is returned once; None otherwise."""
        ...

    def respond(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bool:
        """Sends a whole response. Returns False, without effect, if the client reads too slowly: use `send` then.

        Raises:
            RuntimeError: the response has already begun, or is not valid.
        """
        ...

    async def send(self, message: Message) -> None:
        """As in ASGI."""
        ...

    def on_disconnect(self, callback: Callable[[], None] | None) -> None:
        """Sets what is called when the client disconnects, or has already; None calls nothing."""
        ...
