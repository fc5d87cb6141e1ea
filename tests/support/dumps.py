"""Checks that a mechanism continues from its dump as if it had never stopped, under a clock that starts elsewhere."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

__all__ = ["assert_continues", "round_trip", "without_times_that_are_not_set"]


class _Dumps(Protocol):
    def dump(self, now_ns: int, /) -> msgspec.Struct: ...


M = TypeVar("M", bound=_Dumps)
S = TypeVar("S", bound=msgspec.Struct)
Operation = Any
START_NS = 10**15 + 12_345
"""Not a multiple of any time slice, so that nothing depends on the start of the clock."""
_NEVER_NS = 5 * 10**14
"""Longer ago than anything in these tests."""


def round_trip(state: S) -> S:
    """The state after encoding and decoding."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=type(state))


def without_times_that_are_not_set(dumped: Any) -> object:
    """The dump as plain values. A time that was never set is the clock's start, which differs between clocks."""
    if isinstance(dumped, msgspec.Struct | tuple | list):
        return [without_times_that_are_not_set(each) for each in msgspec.to_builtins(dumped)]
    return None if isinstance(dumped, int) and abs(dumped) >= _NEVER_NS else dumped


def assert_continues(
    made: M,
    apply: Callable[[M, Operation, int], object],
    restore: Callable[[Any, int], M],
    history: Sequence[tuple[int, Operation]],
    continuation: Sequence[tuple[int, Operation]],
    shift_ns: int,
    comparable: Callable[[Any], object] = lambda state: state,
) -> None:
    """Asserts that a restored mechanism gives the same results and the same next dump as the original.

    Args:
        made: a mechanism made at `START_NS`.
        apply: does one operation at a time and returns everything that can be observed.
        restore: makes a mechanism from a state at a time.
        history: operations before the dump; each with the time that passes before it.
        continuation: operations after the dump.
        shift_ns: how far the clock of the restored mechanism is ahead.
        comparable: the part of a dump that has to be equal after the continuation.
    """
    now_ns = START_NS
    for passed_ns, operation in history:
        now_ns += passed_ns
        apply(made, operation, now_ns)
    state: Any = made.dump(now_ns)
    assert round_trip(state) == state
    restored = restore(round_trip(state), now_ns + shift_ns)
    assert restored.dump(now_ns + shift_ns) == state
    for passed_ns, operation in continuation:
        now_ns += passed_ns
        assert apply(restored, operation, now_ns + shift_ns) == apply(made, operation, now_ns), operation
    assert comparable(restored.dump(now_ns + shift_ns)) == comparable(made.dump(now_ns))
