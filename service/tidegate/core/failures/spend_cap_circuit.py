"""The circuit that is open while a spend cap is reached."""

from typing import Final

from tidegate.core.domain.nanoseconds import NS_PER_MINUTE

__all__ = ["SpendCapCircuit"]

_FIRST_PROBE_NS: Final = NS_PER_MINUTE
_PROBE_EVERY_NS: Final = 15 * NS_PER_MINUTE
"""Caps are raised, and credit is bought, at any time, and nobody tells us: one request now and then finds out."""


class SpendCapCircuit:
    """Open while a spend cap is reached; `now_ns` is monotonic time.

    It closes at the date that the upstream named. Until then, and where it named none, one request goes now and then:
    an answer closes it at once.

    Attributes:
        opened_ns: when it was opened, for the last time; None once it is known that the cap has gone.
    """

    __slots__ = ("_ends_ns", "_probe_ns", "_wait_ns", "opened_ns")

    def __init__(self) -> None:
        self.opened_ns: int | None = None
        self._ends_ns: int | None = None
        self._probe_ns = 0
        self._wait_ns = _FIRST_PROBE_NS

    def is_open(self, now_ns: int) -> bool:
        """Whether the cap was reached, and nothing has ended that yet."""
        return self.opened_ns is not None and (self._ends_ns is None or now_ns < self._ends_ns)

    def reached(self, ends_in_ns: int | None, now_ns: int) -> bool:
        """The upstream says that the cap is reached, so long (None: it does not say). Returns whether that is news."""
        news = self.opened_ns is None
        if news:
            self._wait_ns = _FIRST_PROBE_NS if ends_in_ns is None else _PROBE_EVERY_NS
            self._probe_ns = now_ns + self._wait_ns
        self.opened_ns = now_ns
        self._ends_ns = None if ends_in_ns is None else now_ns + max(0, ends_in_ns)
        return news

    def closes(self, now_ns: int) -> bool:
        """Closes the circuit if its date has come; returns whether it has."""
        if self._ends_ns is None or now_ns < self._ends_ns:
            return False
        self.close()
        return True

    def lets_probe(self, now_ns: int) -> bool:
        """Whether one request may find out now if the cap has gone; the next one later, at last every 15 minutes."""
        if now_ns < self._probe_ns:
            return False
        self._wait_ns = min(2 * self._wait_ns, _PROBE_EVERY_NS)
        self._probe_ns = now_ns + self._wait_ns
        return True

    def answered(self, sent_ns: int) -> bool:
        """The upstream answered a request sent then: closes, if that was after the refusal. Returns whether it has."""
        if self.opened_ns is None or sent_ns < self.opened_ns:
            return False
        self.close()
        return True

    def close(self) -> None:
        """Forgets the cap."""
        self.opened_ns = self._ends_ns = None

    def retry_after_ns(self, now_ns: int) -> int:
        """When a refused call may succeed: at the date, where one is known, else at the next probe."""
        return max(0, (self._probe_ns if self._ends_ns is None else self._ends_ns) - now_ns)
