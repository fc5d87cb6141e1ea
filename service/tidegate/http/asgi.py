"""Types of ASGI, and the extension that our own server offers."""

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
"""Name of an extension in the scope: a `ServerExchange`. A server without it is asked by way of ASGI, which takes a
task that waits for the client's leaving."""


class ServerExchange(Protocol):
    """What our own server tells of a request, beyond ASGI.

    Attributes:
        task: the one that answers it.
    """

    task: asyncio.Task[None] | None

    def whole_body(self) -> bytes | None:
        """The body, if all of it has come and none has been received; it is handed out once."""
        ...

    def answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bool:
        """Sends a whole answer; False, without effect, if the client reads too slowly for that: then it is to be sent.

        Raises:
            RuntimeError: the answer has begun already, or cannot be sent as it is.
        """
        ...

    async def send(self, message: Message) -> None:
        """As in ASGI."""
        ...

    def on_leave(self, leave: Callable[[], None] | None) -> None:
        """What to call when the client closes its connection; None takes that back."""
        ...
