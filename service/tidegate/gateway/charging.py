"""Charges a stream while it comes, as the upstream does."""

from collections.abc import Callable
from typing import Final

from tidegate.core.usage import Usage
from tidegate.gateway.reply import Reply

__all__ = ["StreamCharge"]

_EVERY_BYTES: Final = 1_024
"""A few hundred tokens, which take a few seconds to come: a charge costs microseconds."""


class StreamCharge:
    """What a stream has been charged so far. `used` says what its answer has used."""

    __slots__ = ("_charged_bytes", "_reply", "_used")

    def __init__(self, reply: Reply, used: Callable[[], Usage | None]) -> None:
        self._reply = reply
        self._used = used
        self._charged_bytes = 0

    def is_due(self) -> bool:
        """Whether so much has come since the last charge that the pool should know."""
        return self._reply.answer.reader.unreported_bytes - self._charged_bytes >= _EVERY_BYTES

    async def charge(self) -> None:
        """Charges what the stream has produced so far."""
        self._charged_bytes = self._reply.answer.reader.unreported_bytes
        if (usage := self._used()) is not None:
            await self._reply.lease.charge(usage.cost())
