"""Charges a stream while it comes, as the upstream does."""

from collections.abc import Callable
from typing import Final

from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE
from tidegate.core.domain.usage import Usage
from tidegate.gateway.attempt.relay_context import Reply

__all__ = ["StreamCharge"]

_EVERY_BYTES: Final = 1_024
"""A few hundred tokens, which take a few seconds to come: a charge costs microseconds."""
_EVERY_NS: Final = 10 * NS_PER_MINUTE
"""A lease that is silent for an hour counts as forgotten."""
_NOTHING: Final = Cost()


class StreamCharge:
    """What a stream has been charged so far. `used` says what its answer has used."""

    __slots__ = ("_charged_bytes", "_charged_ns", "_reply", "_used")

    def __init__(self, reply: Reply, used: Callable[[], Usage | None], now_ns: int) -> None:
        self._reply = reply
        self._used = used
        self._charged_bytes = 0
        self._charged_ns = now_ns

    def is_due(self, now_ns: int) -> bool:
        """Whether so much has come, or so much time has passed, since the last charge that the pool should know."""
        unreported_bytes = self._reply.answer.reader.unreported_bytes
        return unreported_bytes - self._charged_bytes >= _EVERY_BYTES or now_ns - self._charged_ns >= _EVERY_NS

    async def charge(self, now_ns: int) -> None:
        """Charges what the stream has produced so far; if that is unknown, this says that its lease is alive."""
        self._charged_bytes, self._charged_ns = self._reply.answer.reader.unreported_bytes, now_ns
        usage = self._used()
        await self._reply.lease.charge(_NOTHING if usage is None else usage.cost())
