"""Pools that note every step that is made on them, and what becomes of each attempt."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from tidegate.core.domain.demand import Outcome, Refused
from tidegate.core.domain.feedback import RateLimited
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.ports.store import Change
from tidegate.stores.pools import Pools
from tidegate.stores.recording.attempts import Attempts

__all__ = ["ObservedPools", "Operation"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of a method of `Pools`.

    Attributes:
        method: its name.
        arguments: without the time; `options` are those by name.
        now_ns: the time.
    """

    method: str
    arguments: tuple[Any, ...]
    now_ns: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def run(self, pools: Pools, now_ns: int) -> Any:
        """Makes the same call on other pools, at another time."""
        return getattr(pools, self.method)(*self.arguments, now_ns, **self.options)


def _noted(
    method: Callable[Concatenate["ObservedPools", P], R],
) -> Callable[Concatenate["ObservedPools", P], R]:
    """The method, which is noted unless another one calls it. The time is its last argument without a name."""

    @wraps(method)
    def noted(self: "ObservedPools", /, *arguments: P.args, **options: P.kwargs) -> R:
        if self.is_in_step:
            return method(self, *arguments, **options)
        self.is_in_step = True
        try:
            *others, self.now_ns = arguments  # type: ignore[assignment]
            result = method(self, *arguments, **options)
        finally:
            self.is_in_step = False
        self.note(Operation(method.__name__, tuple(others), self.now_ns, options), result)
        return result

    return noted


class ObservedPools(Pools):
    """As `Pools`.

    Attributes:
        operations: all steps so far, in order.
        attempts: all attempts so far.
        now_ns: the time of the last step.
        is_in_step: whether a step is under way.
    """

    def __init__(
        self, configured: Mapping[str, PoolSettings] | None = None, otherwise: PoolSettings | None = None
    ) -> None:
        super().__init__(configured, otherwise)
        self.operations: list[Operation] = []
        self.attempts = Attempts()
        self.now_ns = 0
        self.is_in_step = False

    reserve = _noted(Pools.reserve)
    withdraw = _noted(Pools.withdraw)
    charge = _noted(Pools.charge)
    end = _noted(Pools.end)
    release = _noted(Pools.release)
    learn = _noted(Pools.learn)
    advance = _noted(Pools.advance)
    advance_all = _noted(Pools.advance_all)
    reprice = _noted(Pools.reprice)
    configure = _noted(Pools.configure)
    reload = _noted(Pools.reload)
    limit_callers = _noted(Pools.limit_callers)
    set_budgets = _noted(Pools.set_budgets)
    turn_budgets = _noted(Pools.turn_budgets)
    spend = _noted(Pools.spend)
    abandon = _noted(Pools.abandon)
    hold = _noted(Pools.hold)
    use_elsewhere = _noted(Pools.use_elsewhere)
    set_aside = _noted(Pools.set_aside)
    drain = _noted(Pools.drain)
    pool_for = _noted(Pools.pool_for)
    snapshot = _noted(Pools.snapshot)

    def take_changes(self) -> list[Change]:
        """As `Pools.take_changes`."""
        changes = super().take_changes()
        self.attempts.changed(changes, self.now_ns)
        return changes

    def note(self, operation: Operation, result: Any) -> None:
        """Notes a step and its result."""
        self.operations.append(operation)
        if (observe := _OBSERVERS.get(operation.method)) is not None:
            observe(self.attempts, result, operation.now_ns, *operation.arguments)


# Each observer gets the attempts, the result of the step, its time, and its arguments.


def _observe_withdraw(attempts: Attempts, result: Any, now_ns: int, _pool: str, lease_id: str) -> None:
    if isinstance(result, Refused):
        attempts.refused(lease_id, result, now_ns)


def _observe_end(
    attempts: Attempts, result: Any, now_ns: int, _pool: str, lease_id: str, outcome: Outcome, *_rest: Any
) -> None:
    if result:
        attempts.ended(lease_id, outcome, now_ns)


def _observe_learn(attempts: Attempts, _result: Any, now_ns: int, _pool: str, feedback: Any) -> None:
    if isinstance(feedback, RateLimited):
        attempts.ended(feedback.lease_id, Outcome.THROTTLED, now_ns)


_OBSERVERS: Final[Mapping[str, Callable[..., None]]] = {
    "reserve": lambda attempts, result, now_ns, lease_id, demand: attempts.asked(lease_id, demand, result, now_ns),
    "hold": lambda attempts, _, now_ns, lease_id, demand, _known: attempts.held(lease_id, demand, now_ns),
    "withdraw": _observe_withdraw,
    "end": _observe_end,
    "release": lambda attempts, _, now_ns, _pool, lease_id: attempts.ended(lease_id, Outcome.RELEASED, now_ns),
    "learn": _observe_learn,
    "abandon": lambda attempts, _, now_ns, is_gone: attempts.abandoned(is_gone, now_ns),
    "snapshot": lambda attempts, result, now_ns, _name: attempts.measured(result, now_ns),
}
