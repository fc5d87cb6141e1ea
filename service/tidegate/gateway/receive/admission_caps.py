"""How many calls are under way, and how many bytes their bodies hold, in all and of one caller, within bounds."""

from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import Refusal
from tidegate.gateway.call import Call

__all__ = ["AdmissionCaps"]

_RETRY_AFTER_SECONDS = 1.0
"""Nobody can know when a call ends; the shortest wait that `retry-after` can name."""


class AdmissionCaps:
    """Counts calls from their arrival to their end.

    Args:
        most: calls at a time.
        max_per_caller: calls of one caller at a time; 0: as many as in all.
        max_bytes: bytes of bodies that are held at a time, to be sent or sent again; 0: no bound.
        max_bytes_per_caller: the same of one caller; 0: as many as in all.
    """

    def __init__(self, most: int, max_per_caller: int, max_bytes: int = 0, max_bytes_per_caller: int = 0) -> None:
        self._max_bytes = max_bytes
        self._max_bytes_per_caller = max_bytes_per_caller
        self._bytes = 0
        self._bytes_by_caller: dict[str, int] = {}
        self._most = most
        self._max_per_caller = max_per_caller
        self._total = 0
        self._by_caller: dict[str, int] = {}

    def enter(self, call: Call) -> None:
        """Counts a call; in the end it must `leave`, also if it was refused.

        Raises:
            Refusal: QUEUE_FULL, there are too many.
        """
        if self._total >= self._most:
            raise _refusal(Cause.QUEUE_FULL, f"{self._most} calls are under way already, more are not taken")
        self._total += 1
        call.is_counted = True

    def identified(self, call: Call) -> None:
        """Counts a call as one of its caller's.

        Raises:
            Refusal: CALLER_LIMIT, the caller has too many.
        """
        if not self._max_per_caller:
            return
        name = call.caller.name
        number = self._by_caller.get(name, 0)
        if number >= self._max_per_caller:
            message = (
                f"{number} calls of this caller are under way already; max_calls_per_caller is {self._max_per_caller}"
            )
            raise _refusal(Cause.CALLER_LIMIT, message)
        self._by_caller[name] = number + 1
        call.is_counted_for = name

    def hold(self, call: Call, body_bytes: int) -> None:
        """Counts so many bytes more of a call's body, until it is dropped.

        Raises:
            Refusal: QUEUE_FULL, or CALLER_LIMIT, there would be too many.
        """
        if not body_bytes:
            return
        name = call.caller.name
        of_caller = self._bytes_by_caller.get(name, 0)
        if 0 < self._max_bytes < self._bytes + body_bytes:
            raise _refusal(
                Cause.QUEUE_FULL,
                f"bodies of calls hold {self._bytes:,} bytes already, of {self._max_bytes:,} that may",
            )
        if 0 < self._max_bytes_per_caller < of_caller + body_bytes:
            raise _refusal(
                Cause.CALLER_LIMIT,
                f"bodies of this caller's calls hold {of_caller:,} bytes already; "
                f"max_held_body_bytes_per_caller is {self._max_bytes_per_caller:,}",
            )
        self._bytes += body_bytes
        self._bytes_by_caller[name] = of_caller + body_bytes
        call.held_bytes += body_bytes

    def drop_body(self, call: Call) -> None:
        """A call's body is held no more."""
        if call.held_bytes:
            name = call.caller.name
            self._bytes -= call.held_bytes
            self._bytes_by_caller[name] -= call.held_bytes
            if not self._bytes_by_caller[name]:
                del self._bytes_by_caller[name]
            call.held_bytes = 0

    def leave(self, call: Call) -> None:
        """A call is over."""
        if call.held_bytes:
            self.drop_body(call)
        self._total -= call.is_counted
        name = call.is_counted_for
        if name is not None:
            self._by_caller[name] -= 1
            if not self._by_caller[name]:
                del self._by_caller[name]


def _refusal(cause: Cause, message: str) -> Refusal:
    return Refusal(cause, message, retry_after_seconds=_RETRY_AFTER_SECONDS)
