"""Predicts how the output charges of admitted requests will change: of those in flight, and of those that go next."""

from itertools import pairwise
from typing import Final, NamedTuple, Self

from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.leases.answer_lengths import AnswerLengths, AnswerLengthsState, LengthDistribution, relative_age
from tidegate.core.leases.open_leases import OpenLease, OpenLeases

__all__ = ["OutputAhead"]

_HORIZONS_NS: Final[tuple[int, ...]] = (0, *(NS_PER_SECOND << number for number in range(9)))
_NO_CHANGES: Final = (0.0,) * len(_HORIZONS_NS)
_KEPT_NS: Final = NS_PER_SECOND // 4
"""Leases are looked at again after this time: their answers go on, and others are admitted."""
_MOST_LEASES: Final = 256
"""So many leases are looked at. They stand for the others."""
_MOST_FASTER: Final = 4.0
"""No answer is taken to be faster than the mean by more than this factor."""


class _Outlook(NamedTuple):
    """The findings at one time.

    Attributes:
        at_ns: the time.
        changes: at each horizon, the expected change of all charges, in tokens.
        lengths: the distribution of lengths.
    """

    at_ns: int
    changes: tuple[float, ...]
    lengths: LengthDistribution | None


class OutputAhead:
    """Predicts the wait for output quota.

    An admitted request is charged its estimate at once. If its answer ends earlier, the rest is given back; if it is
    longer, the excess is charged as it is produced. Few long answers can take most of the rate for minutes. So the wait
    T for `units` of estimates, after `wait` for what is missing now, is the smallest solution of

        T = wait + (units × charge(T) + change(T)) ÷ rate

    `change(T)` is the expected change of the charges in flight until T. `charge(T)` is the expected charge of requests
    that are admitted evenly until T, as a share of their estimates. Both are linear between the horizons.

    Attributes:
        leases: all open leases of the pool.
    """

    __slots__ = ("_lengths", "_outlook", "leases")

    def __init__(self) -> None:
        self.leases = OpenLeases()
        self._lengths = AnswerLengths()
        self._outlook: _Outlook | None = None

    def dump(self, now_ns: int) -> AnswerLengthsState:
        """The state, for `restore`: without leases, which are looked at anew after it."""
        self._outlook = None
        return self._lengths.dump(now_ns)

    @classmethod
    def restore(cls, state: AnswerLengthsState, now_ns: int) -> Self:
        """Continues from `state`, without leases."""
        restored = cls()
        restored._lengths = AnswerLengths.restore(state, now_ns)
        return restored

    def grew(self, lease: OpenLease, seen_ns: int, now_ns: int) -> None:
        """The holder of a lease reports, and did so at `seen_ns` before: its answer has not ended."""
        if estimate := lease.demand.cost.output_tokens:
            self._lengths.grew(estimate, seen_ns - lease.granted_ns, now_ns - lease.granted_ns)

    def ended(self, lease: OpenLease, tokens: int, now_ns: int) -> None:
        """The answer to the request of a lease has ended, with so many output tokens."""
        if estimate := lease.demand.cost.output_tokens:
            self._lengths.ended(estimate, lease.alive_ns - lease.granted_ns, now_ns - lease.granted_ns, tokens)

    def wait_ns(self, requests: float, units: float, ns_per_unit: float, wait_ns: int, now_ns: int) -> int:
        """The wait for `units` of estimates of so many requests, and `wait_ns` for what is missing now.

        A negative `wait_ns` is the time in which what is available beside them would refill.
        """
        outlook, plain_ns = self._look(now_ns), wait_ns + units * ns_per_unit
        if outlook.lengths is None or plain_ns <= 0 or not units:
            return max(0, round(plain_ns))
        estimate = units / max(1.0, requests)
        likely = self._lengths.without_chance(estimate)
        charges = _charges(outlook.lengths, likely)
        units *= likely / estimate
        waits_ns = [
            wait_ns + ns_per_unit * (units * charge + change)
            for charge, change in zip(charges, outlook.changes, strict=True)
        ]
        for (start_ns, then_ns), (end_ns, later_ns) in pairwise(zip(_HORIZONS_NS, waits_ns, strict=True)):
            if later_ns <= end_ns:
                lead_ns, lag_ns = then_ns - start_ns, end_ns - later_ns
                return max(0, round(start_ns + (end_ns - start_ns) * lead_ns / (lead_ns + lag_ns)))
        return round(waits_ns[-1])

    def _look(self, now_ns: int) -> _Outlook:
        outlook = self._outlook
        if outlook is None or now_ns - outlook.at_ns >= _KEPT_NS:
            lengths = self._lengths.distribution()
            changes = _NO_CHANGES if lengths is None else self._changes(lengths, now_ns)
            outlook = self._outlook = _Outlook(now_ns, changes, lengths)
        return outlook

    def _changes(self, lengths: LengthDistribution, now_ns: int) -> tuple[float, ...]:
        step = max(1, -(-len(self.leases) // _MOST_LEASES))
        changes = list(_NO_CHANGES)
        for lease in tuple(self.leases.values())[::step]:
            if not (estimate := lease.demand.cost.output_tokens):
                continue
            likely, charged = self._lengths.without_chance(estimate), lease.charged.output_tokens
            age, pace = relative_age(now_ns - lease.granted_ns, likely), _pace(lease, likely, lengths)
            for index, horizon_ns in enumerate(_HORIZONS_NS):
                if index:
                    later = relative_age(horizon_ns, likely)
                    changes[index] += likely * lengths.charge(age, later, pace, charged / likely) - charged
        return tuple(step * change for change in changes)


def _charges(lengths: LengthDistribution, estimate: float) -> list[float]:
    """The mean charge of requests that are admitted evenly until each horizon, relative to the estimate."""
    charges, total, before = [1.0], 0.0, 1.0
    for start_ns, end_ns in pairwise(_HORIZONS_NS):
        charge = lengths.charge(0.0, relative_age(end_ns, estimate))
        total += (end_ns - start_ns) * (before + charge) / 2
        charges.append(total / end_ns)
        before = charge
    return charges


def _pace(lease: OpenLease, estimate: float, lengths: LengthDistribution) -> float:
    """The pace of an answer divided by the usual one, by what was reported last."""
    known = lease.known.output_tokens
    if known < estimate:  # reported in steps, the first of which says that it has begun
        return 1.0
    usual = lengths.produced(relative_age(lease.alive_ns - lease.granted_ns, estimate))
    return min(max(known / (estimate * usual), 1 / _MOST_FASTER), _MOST_FASTER) if usual else 1.0
