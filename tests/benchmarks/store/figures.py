"""Computes the figures of the store benchmark. Pure."""

from collections.abc import Sequence
from itertools import chain
from typing import Final, NamedTuple

from benchmarks.gateway.rows import Bound
from benchmarks.store.limiters import OURS
from benchmarks.store.measure import Measured
from benchmarks.store.worker import Found

__all__ = ["HEADER", "Figures", "bounds", "figures", "most_in_any"]

_NARROW_PER_SECOND: Final = 1_000
_SHORT_SECONDS: Final = 0.05

HEADER: Final = (
    f"{'':24}{'processes':>10}{'pairs/s':>9}{'per process':>14}{'p50 ms':>8}{'p99 ms':>8}"
    f"{'steady p50':>12}{'p99':>8}{'CPU µs/pair':>13}{'leader':>8}{'most/s':>8}{'/50 ms':>8}{'late ms':>9}"
)


class Figures(NamedTuple):
    """The figures of one limiter.

    Attributes:
        pairs: per second, by process.
        busy_ms: p50 and p99 of reservations in the first phase, the worst of all processes.
        steady_ms: the same in the second phase.
        cpu_us: CPU time of the processes that make calls, per pair, without the server.
        leader_cpu_us: that of the leader; 0 without one.
        most_in_second: the most calls admitted in any second, divided by the quota.
        most_in_moment: the same for 50 ms.
        late_ms: the longest time by which the leader's event loop was late in the second phase; 0 without one.
    """

    name: str
    pairs: tuple[float, ...]
    busy_ms: tuple[float, float]
    steady_ms: tuple[float, float]
    cpu_us: float
    leader_cpu_us: float
    most_in_second: float
    most_in_moment: float
    late_ms: float

    def line(self) -> str:
        """The line of the table."""
        spread = f"{min(self.pairs):.0f}-{max(self.pairs):.0f}"
        return (
            f"{self.name:24}{len(self.pairs):>10}{sum(self.pairs):>9.0f}{spread:>14}"
            f"{self.busy_ms[0]:>8.1f}{self.busy_ms[1]:>8.1f}{self.steady_ms[0]:>12.2f}{self.steady_ms[1]:>8.2f}"
            f"{self.cpu_us:>13.0f}{self.leader_cpu_us:>8.0f}{self.most_in_second:>8.2f}{self.most_in_moment:>8.2f}"
            f"{self.late_ms:>9.1f}"
        )


def figures(name: str, measured: Measured) -> Figures:
    """The figures of a measurement."""
    plan, followers, leader = measured
    pairs = max(1, sum(each.pairs for each in followers))
    admitted = sorted(chain.from_iterable(each.admitted for each in followers))
    return Figures(
        name,
        tuple(each.pairs / plan.seconds for each in followers),
        _worst([each.busy for each in followers]),
        _worst([each.steady for each in followers]),
        1e6 * sum(each.cpu_seconds for each in followers) / pairs,
        1e6 * (leader or Found()).cpu_seconds / pairs,
        most_in_any(1.0, admitted) / _NARROW_PER_SECOND,
        most_in_any(_SHORT_SECONDS, admitted) / (_NARROW_PER_SECOND * _SHORT_SECONDS),
        1e3 * (leader or Found()).slowest_turn,
    )


def bounds(found: Sequence[Figures]) -> list[Bound]:
    """What is asked of ours: that it is exact, and fast at a constant rate."""
    judged = []
    for each in found:
        if each.name == OURS:
            processes = f"{OURS}, {len(each.pairs)}"
            judged.append(Bound(f"{processes}: most in any second, × the quota", each.most_in_second, at_most=1.06))
            judged.append(Bound(f"{processes}: p99 at a constant rate, ms", each.steady_ms[1], at_most=20))
    return judged


def most_in_any(seconds: float, times: Sequence[float]) -> int:
    """The most of these times, which are in order, within any window of this length."""
    most = first = 0
    for last, time in enumerate(times):
        while times[first] <= time - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def _worst(latencies: Sequence[list[float]]) -> tuple[float, float]:
    """The largest p50, and the largest p99, of all processes, in milliseconds; 0 without any latency."""
    ordered = [sorted(each) for each in latencies if each]
    if not ordered:
        return 0.0, 0.0
    p50, p99 = (max(each[min(len(each) - 1, int(share * len(each)))] for each in ordered) for share in (0.5, 0.99))
    return 1e3 * p50, 1e3 * p99
