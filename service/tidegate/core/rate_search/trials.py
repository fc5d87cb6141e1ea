"""Decides when a searched rate is raised, and by how much."""

from typing import Annotated, Final, Self

from msgspec import Meta, Struct

from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.rate_search.search_settings import RateSearchSettings
from tidegate.core.rate_search.use_counter import UseCounter

__all__ = ["Trials", "TrialsState"]

_MOST_LEAPS: Final = 30
"""Further doublings change neither the step nor the time until the next one."""


class TrialsState(Struct, frozen=True, array_like=True):
    """The dump of `Trials`."""

    changed_ago_ns: int
    used: Cost
    under_way: int
    early: int
    passed: int
    vain: Annotated[int, Meta(ge=0, le=64)]
    leaps: Annotated[int, Meta(ge=0, le=_MOST_LEAPS)]


class Trials:
    """Counts trials: steps to a higher rate, each of which a 429 refuses or enough requests pass.

    Trials of a rate that is measured well are rare and small. Trials of a poorly measured rate are more frequent and
    larger. Each trial that passes where no bound is known doubles the next step and halves the time until it.

    Attributes:
        changed_ns: when the rate was last changed.
        used: all use until then.
        passed: number of trials in a row without a 429.
        early: number of 429s in a row that came too early.
        vain: number of refused trials in a row that have shown nothing new.
    """

    __slots__ = ("_leaps", "_settings", "_under_way", "changed_ns", "early", "passed", "used", "vain")

    def __init__(self, now_ns: int, settings: RateSearchSettings) -> None:
        self._settings = settings
        self.changed_ns = now_ns
        self.used = Cost()
        self._under_way = 0  # requests in flight when the rate was last changed
        self.early = 0
        self.passed = 0
        self.vain = 0
        self._leaps = 0  # passed trials in a row that had no bound

    def dump(self, now_ns: int) -> TrialsState:
        """The state, for `restore`."""
        changed_ago_ns = now_ns - self.changed_ns
        return TrialsState(changed_ago_ns, self.used, self._under_way, self.early, self.passed, self.vain, self._leaps)

    @classmethod
    def restore(cls, state: TrialsState, now_ns: int, settings: RateSearchSettings) -> Self:
        """Continues exactly from `state`."""
        restored = cls(now_ns - state.changed_ago_ns, settings)
        restored.used, restored._under_way = state.used, state.under_way
        restored.early, restored.passed, restored.vain = state.early, state.passed, state.vain
        restored._leaps = state.leaps
        return restored

    def begin(self, now_ns: int, use: UseCounter) -> None:
        """The rate changes."""
        self.changed_ns, self.used, self._under_way = now_ns, use.used, use.in_flight

    def recount(self, units: Cost, sent_ns: int) -> None:
        """The use of a request that was sent at `sent_ns` turned out to be larger by `units`."""
        if sent_ns < self.changed_ns:
            self.used = self.used.plus(units)

    def refused(self, used: Cost, enough: float) -> int:
        """A 429 ends the trial. Returns how many trials had passed since the 429 before."""
        is_early = used.requests - self.used.requests < self._settings.early * enough
        self.early = self.early + 1 if is_early else 0
        passed, self.passed, self._leaps = self.passed, 0, 0
        return passed

    def is_pending(self, use: UseCounter) -> bool:
        """Whether requests that were sent since the last change have not produced their output yet."""
        return use.used.requests - self.used.requests < 2 * min(self._under_way, use.in_flight)

    def is_due(
        self, elapsed_ns: int, used: Cost, uncertainty: float, near: float, *, share: float, enough: float
    ) -> bool:
        """Whether it is time to raise the rate.

        Args:
            elapsed_ns: time since the last change.
            used: all use until now.
            uncertainty: relative uncertainty of the rate.
            near: relative step towards a rate that was too high; 0 if there is none.
            share: the measured rate divided by the highest recent one. After a drop, trials come sooner.
            enough: number of requests over which one 429 is acceptable.
        """
        settings = self._settings
        requests = used.requests - self.used.requests
        patience_s = settings.least_patience * settings.every_seconds
        if near >= settings.least_step:  # a rate that is too high would have been refused by then
            return elapsed_ns >= patience_s * NS_PER_SECOND and requests >= settings.least_requests
        # Where a pause costs more than a bucket holds, early trials measure nothing well, however many there are.
        frequency = 0.5 ** max(0, self.vain - 1)
        certainty, eagerness = min(1.0, settings.trial_share / (frequency * uncertainty)), 0.5**self._leaps
        patience_s = max(patience_s, certainty * eagerness * settings.every_seconds)
        least = max(settings.least_requests, certainty**2 * eagerness * share * enough)
        return elapsed_ns >= patience_s * NS_PER_SECOND and requests >= least

    def step(self, uncertainty: float, near: float, least: float) -> float:
        """Counts the present trial as passed. Returns the relative step of the next one, which is at least `least`."""
        self.passed += 1
        if near >= self._settings.least_step:
            return near
        step: float = min(max(least, uncertainty) * 2**self._leaps, self._settings.largest_trial)
        self._leaps = min(self._leaps + 1, _MOST_LEAPS)
        return step
