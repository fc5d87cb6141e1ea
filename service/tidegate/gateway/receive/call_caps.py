"""Bounds the calls under way and the memory of their bodies, in total and per caller."""

from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import Refusal
from tidegate.gateway.call import Call
from tidegate.gateway.relay_limits import RelayLimits

__all__ = ["CallCaps"]

_RETRY_AFTER_SECONDS = 1.0
"""The shortest wait that `retry-after` can name: it is unknown when a call will end."""


class CallCaps:
    """Counts calls from their arrival to their end, and the bytes of their bodies while they are in memory.

    Args:
        limits: the bounds of calls and of bodies.
    """

    def __init__(self, limits: RelayLimits) -> None:
        self._total = 0
        self._by_caller: dict[str, int] = {}
        self._bytes = 0
        self._bytes_by_caller: dict[str, int] = {}
        self.configure(limits)

    def configure(self, limits: RelayLimits) -> None:
        """Replaces the bounds. Calls under way count, but none of them is refused."""
        self._max_calls = limits.calls
        self._max_calls_per_caller = limits.calls_per_caller
        self._max_bytes = limits.body_bytes
        self._max_bytes_per_caller = limits.body_bytes_per_caller

    def enter(self, call: Call) -> None:
        """Counts a call. At its end it must `leave`, even if it was refused.

        Raises:
            Refusal: QUEUE_FULL, there are too many calls.
        """
        if self._total >= self._max_calls:
            raise _refusal(Cause.QUEUE_FULL, f"{self._max_calls} calls are already under way, which is the maximum")
        self._total += 1
        call.is_counted = True

    def enter_caller(self, call: Call) -> None:
        """Counts a call as one of its caller's, once the caller is identified.

        Raises:
            Refusal: CALLER_LIMIT, the caller has too many calls.
        """
        name = call.caller.name
        calls = self._by_caller.get(name, 0)
        if 0 < self._max_calls_per_caller <= calls:
            limit = f"max_calls_per_caller is {self._max_calls_per_caller}"
            raise _refusal(Cause.CALLER_LIMIT, f"{calls} calls of this caller are already under way; {limit}")
        self._by_caller[name] = calls + 1
        call.is_counted_for = name

    def add_body_bytes(self, call: Call, body_bytes: int) -> None:
        """Counts more bytes of a call's body, until `remove_body`.

        Raises:
            Refusal: QUEUE_FULL or CALLER_LIMIT, the bodies would take too much memory.
        """
        if not body_bytes:
            return
        name = call.caller.name
        caller_bytes = self._bytes_by_caller.get(name, 0)
        if 0 < self._max_bytes < self._bytes + body_bytes:
            raise _refusal(
                Cause.QUEUE_FULL,
                f"request bodies already take {self._bytes:,} bytes of memory; the maximum is {self._max_bytes:,}",
            )
        if 0 < self._max_bytes_per_caller < caller_bytes + body_bytes:
            raise _refusal(
                Cause.CALLER_LIMIT,
                f"request bodies of this caller already take {caller_bytes:,} bytes of memory; "
                f"max_held_body_bytes_per_caller is {self._max_bytes_per_caller:,}",
            )
        self._bytes += body_bytes
        self._bytes_by_caller[name] = caller_bytes + body_bytes
        call.held_bytes += body_bytes

    def remove_body(self, call: Call) -> None:
        """Counts a call's body no longer: it is not in memory any more."""
        if call.held_bytes:
            name = call.caller.name
            self._bytes -= call.held_bytes
            self._bytes_by_caller[name] -= call.held_bytes
            if not self._bytes_by_caller[name]:
                del self._bytes_by_caller[name]
            call.held_bytes = 0

    def leave(self, call: Call) -> None:
        """Counts a call no longer: it has ended."""
        if call.held_bytes:
            self.remove_body(call)
        self._total -= call.is_counted
        name = call.is_counted_for
        if name is not None:
            self._by_caller[name] -= 1
            if not self._by_caller[name]:
                del self._by_caller[name]


def _refusal(cause: Cause, message: str) -> Refusal:
    return Refusal(cause, message, retry_after_seconds=_RETRY_AFTER_SECONDS)
