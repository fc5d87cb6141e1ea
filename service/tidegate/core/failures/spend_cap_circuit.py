"""The circuit that is open while a spend cap is reached."""

from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.nanoseconds import NS_PER_MINUTE

__all__ = ["SpendCapCircuit", "SpendCapCircuitState"]

_FIRST_PROBE_NS: Final = NS_PER_MINUTE
_PROBE_EVERY_NS: Final = 15 * NS_PER_MINUTE
"""Caps are raised and credit is bought at any time, without a notice to us: a request now and then finds out."""


class SpendCapCircuitState(Struct, frozen=True, array_like=True):
    """The dump of a `SpendCapCircuit`. Ages and remaining times are relative to the time of the dump."""

    opened_ago_ns: int | None
    ends_in_ns: int | None
    probe_in_ns: int
    wait_ns: int


class SpendCapCircuit:
    """Open while a spend cap is reached. `now_ns` is monotonic time.

    It closes at the date that the upstream named. Until then, and where it named none, one request goes now and then:
    an answer closes the circuit at once.

    Attributes:
        opened_ns: when the upstream last reported the cap; None once the cap is known to be gone.
    """

    __slots__ = ("_ends_ns", "_probe_ns", "_wait_ns", "opened_ns")

    def __init__(self) -> None:
        self.opened_ns: int | None = None
        self._ends_ns: int | None = None
        self._probe_ns = 0
        self._wait_ns = _FIRST_PROBE_NS

    def dump(self, now_ns: int) -> SpendCapCircuitState:
        """The state, for `restore`."""
        return SpendCapCircuitState(
            None if self.opened_ns is None else now_ns - self.opened_ns,
            None if self._ends_ns is None else self._ends_ns - now_ns,
            self._probe_ns - now_ns,
            self._wait_ns,
        )

    @classmethod
    def restore(cls, state: SpendCapCircuitState, now_ns: int) -> Self:
        """A circuit that continues from `state`."""
        circuit = cls()
        circuit.opened_ns = None if state.opened_ago_ns is None else now_ns - state.opened_ago_ns
        circuit._ends_ns = None if state.ends_in_ns is None else now_ns + state.ends_in_ns
        circuit._probe_ns = now_ns + state.probe_in_ns
        circuit._wait_ns = state.wait_ns
        return circuit

    def is_open(self, now_ns: int) -> bool:
        """Whether the cap is reached and nothing has ended that yet."""
        return self.opened_ns is not None and (self._ends_ns is None or now_ns < self._ends_ns)

    def reached(self, ends_in_ns: int | None, now_ns: int) -> bool:
        """The upstream reports that the cap is reached, for `ends_in_ns` (None: it does not say).

        Returns whether the circuit was closed before.
        """
        was_closed = self.opened_ns is None
        if was_closed:
            self._wait_ns = _FIRST_PROBE_NS if ends_in_ns is None else _PROBE_EVERY_NS
            self._probe_ns = now_ns + self._wait_ns
        self.opened_ns = now_ns
        self._ends_ns = None if ends_in_ns is None else now_ns + max(0, ends_in_ns)
        return was_closed

    def close_if_due(self, now_ns: int) -> bool:
        """Closes the circuit if its date has come. Returns whether it has."""
        if self._ends_ns is None or now_ns < self._ends_ns:
            return False
        self.close()
        return True

    def try_probe(self, now_ns: int) -> bool:
        """Whether one request may find out now if the cap is gone. The interval between probes grows to 15 minutes."""
        if now_ns < self._probe_ns:
            return False
        self._wait_ns = min(2 * self._wait_ns, _PROBE_EVERY_NS)
        self._probe_ns = now_ns + self._wait_ns
        return True

    def answered(self, sent_ns: int) -> bool:
        """The upstream answered a request sent at `sent_ns`. Closes if that was after the refusal; returns whether."""
        if self.opened_ns is None or sent_ns < self.opened_ns:
            return False
        self.close()
        return True

    def close(self) -> None:
        """Closes the circuit."""
        self.opened_ns = self._ends_ns = None

    def retry_after_ns(self, now_ns: int) -> int:
        """Time until a refused call may succeed: until the date if one is known, else until the next probe."""
        return max(0, (self._probe_ns if self._ends_ns is None else self._ends_ns) - now_ns)
