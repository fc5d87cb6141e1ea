"""The steps of a store as values, for a log or a connection between processes.

Several processes can share one store. Each of them is a replica. One replica, the leader, holds the pools and folds the
steps of all replicas into them. The others are followers: they send their steps and receive the results.

A replica numbers its steps from 1, without gaps, and sends them in the order of their numbers, several in one `Batch`.
The name of the replica and the number are the id of a step. So a replica that does not know whether its steps have
arrived sends them again: the fold ignores the steps that it has folded before, and the steps after a gap.

The leader folds a batch at one time, which is the only time that the fold knows:

    folded = store.fold(batch)              # `MemoryStore`, at the time of its clock
    folded = fold.fold(batch, now_ns)       # `Fold`, over `Pools`: the same without a lock and a clock

`Folded` holds the answers to the steps of the batch, and the changes that the batch has caused, for all replicas. The
name of a lease begins with the name of the replica that made it (`replica_of`), so `part_of` can select the part of a
change that a replica needs. A follower's waiter may also be granted by a step of another replica. Therefore a leader
with a `MemoryStore` watches the store (`Store.watch`, which reports the changes of `fold` as well), and passes on to
each follower its part of every change.

`Fold.dump` is a checkpoint: a fold that is restored from it continues with the steps after it as if it had folded all.

A replica that leaves, or that died, takes its waiters and leases along by `Leave`. A replica whose steps were lost, or
that was thought dead, or that comes from another leader, continues by `Rejoin`.
"""

from collections.abc import Iterable

from msgspec import Struct

from tidegate.core.domain.budget import BudgetWindow, Spender, Spending
from tidegate.core.domain.caller import CallerLimits
from tidegate.core.domain.demand import Demand, Granted, Outcome, Refused, Wait
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.feedback import Feedback
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.ports.store import Change
from tidegate.stores.runtime_settings import SetAtRuntime

__all__ = [
    "Advance",
    "Answer",
    "Batch",
    "Charge",
    "Configure",
    "End",
    "Folded",
    "Held",
    "LastingStep",
    "Learn",
    "Leave",
    "LimitCallers",
    "Rejoin",
    "Release",
    "Reload",
    "Reprice",
    "Reserve",
    "SetBudgets",
    "Spend",
    "Step",
    "TurnBudgets",
    "Withdraw",
    "lasting_part",
    "part_of",
    "replica_of",
]


class Reserve(Struct, frozen=True, array_like=True, tag=True):
    """As `Store.reserve`. Answered. The demand has no `price`, which stays with its replica: see `Reprice`."""

    lease_id: str
    demand: Demand


class Withdraw(Struct, frozen=True, array_like=True, tag=True):
    """As `Store.withdraw`. Answered."""

    pool: str
    lease_id: str


class Charge(Struct, frozen=True, array_like=True, tag=True):
    """As `Store.charge`."""

    pool: str
    lease_id: str
    known: Cost
    spent: Spending | None = None


class End(Struct, frozen=True, array_like=True, tag=True):
    """As `Store.end`. Answered.

    `spender` is set if the lease may be unknown, because a replica alone has granted it: then `spent` counts anyway.
    """

    pool: str
    lease_id: str
    outcome: Outcome
    used: Cost | None = None
    feedback: tuple[Feedback, ...] = ()
    spent: Spending | None = None
    spender: Spender | None = None


class Release(Struct, frozen=True, array_like=True, tag=True):
    """As `Store.release`."""

    pool: str
    lease_id: str


class Learn(Struct, frozen=True, array_like=True, tag=True):
    """As `Store.learn`."""

    pool: str
    feedback: Feedback


class Advance(Struct, frozen=True, array_like=True, tag=True):
    """As `Store.advance`: time has passed, and the waiters that fit by now are admitted."""

    pool: str


class Reprice(Struct, frozen=True, array_like=True, tag=True):
    """The cost of a waiter was estimated anew. No effect on a request that does not wait."""

    pool: str
    lease_id: str
    cost: Cost


class Configure(Struct, frozen=True, array_like=True, tag=True):
    """As `Store.configure`. `origin`: who sets them, and when."""

    pool: str
    settings: PoolSettings
    origin: SetAtRuntime | None = None


class Reload(Struct, frozen=True, array_like=True, tag=True):
    """Replaces the settings by configuration: those of pools by name, and those of every other pool."""

    configured: dict[str, PoolSettings]
    otherwise: PoolSettings


class LimitCallers(Struct, frozen=True, array_like=True, tag=True):
    """Replaces callers' own limits by name of caller."""

    limits: dict[str, CallerLimits | None]


class SetBudgets(Struct, frozen=True, array_like=True, tag=True):
    """Replaces all budgets. As `Budgets.configure`."""

    windows: tuple[BudgetWindow, ...]


class TurnBudgets(Struct, frozen=True, array_like=True, tag=True):
    """Begins new periods of budgets. As `Budgets.begin`. Replicas may all send it: each period begins once."""

    periods: dict[str, tuple[int, int | None]]


class Spend(Struct, frozen=True, array_like=True, tag=True):
    """Counts an amount that was spent without a lease here that reserved it."""

    spender: Spender
    spending: Spending


class Leave(Struct, frozen=True, array_like=True, tag=True):
    """A replica has left or died: its waiters are refused as `STORE_UNAVAILABLE`, and its leases end as abandoned.

    The replica itself sends it, or another one that knows.
    """

    replica: str


LastingStep = (
    Charge | End | Release | Learn | Configure | Reload | LimitCallers | SetBudgets | TurnBudgets | Spend | Leave
)
"""A step whose effect lasts, whoever waits."""


class Held(Struct, frozen=True, array_like=True):
    """An open lease.

    Attributes:
        lease_id: its id.
        demand: what was granted.
        known: what is known of its cost, from `Charge`.
    """

    lease_id: str
    demand: Demand
    known: Cost = Cost()


class Rejoin(Struct, frozen=True, array_like=True, tag=True):
    """All that a replica has now. Other waiters and leases of it end.

    It may follow a gap, and takes the place of all steps before it. Each of its reservations is answered, by the number
    of that step. Leases were charged before, so they are not charged again.

    Attributes:
        waiting: its requests that wait, in order, each with the number of its step.
        leases: its open leases.
        steps: steps before this one that may be missing.
        incarnation: of the log, by the last report that the replica got.
        folded: all of its steps up to this number were folded.
        serial: of the last results that it got.
        alone: if the replica has decided alone since then: for each pool, what it used of its share of the level.
    """

    waiting: tuple[tuple[int, Reserve], ...] = ()
    leases: tuple[Held, ...] = ()
    steps: tuple[LastingStep, ...] = ()
    incarnation: str = ""
    folded: int = 0
    serial: int = 0
    alone: dict[str, Cost] | None = None


Step = LastingStep | Reserve | Withdraw | Advance | Reprice | Rejoin
"""One step of a replica."""


class Batch(Struct, frozen=True, array_like=True):
    """Consecutive steps of one replica.

    Attributes:
        replica: name of the replica, unique over all time.
        number: of the first step.
        steps: the steps; their numbers are consecutive.
    """

    replica: str
    number: int
    steps: tuple[Step, ...]


class Answer(Struct, frozen=True, array_like=True):
    """The answer to one step.

    A step that was folded before changes nothing. Its answer says what is true now: a `Reserve` is answered by
    `Granted` or `Wait` while its lease or waiter exists, and refused as `STORE_UNAVAILABLE` otherwise.

    Attributes:
        number: of the step.
        result: of `Reserve`: granted, queued or refused. Of `Withdraw`: the refusal; None if it did not wait. Of `End`:
            whether the lease existed.
    """

    number: int
    result: Granted | Wait | Refused | bool | None


class Folded(Struct, frozen=True, array_like=True):
    """The results of a batch.

    Attributes:
        number: all steps of the replica up to this number are folded. A number below those of the batch means that
            steps before it are missing: they have to be sent again. 0: the replica is unknown.
        answers: to the steps of the batch.
        changes: of the pools, for all replicas.
    """

    number: int
    answers: tuple[Answer, ...] = ()
    changes: tuple[Change, ...] = ()


def lasting_part(steps: Iterable[Step]) -> tuple[tuple[LastingStep, ...], dict[str, Cost] | None]:
    """The steps that last among those that were not folded, and what was used alone, by `Rejoin.alone`.

    An earlier `Rejoin` that was not folded either has both in it.
    """
    lasting: list[LastingStep] = []
    alone: dict[str, Cost] | None = None
    for step in steps:
        if isinstance(step, Rejoin):
            lasting += step.steps
            alone = step.alone if step.alone is not None else alone
        elif isinstance(step, LastingStep):
            lasting.append(step)
    return tuple(lasting), alone


def replica_of(lease_id: str) -> str:
    """The name of the replica that made a lease id: `<replica>-<number>`."""
    return lease_id.rpartition("-")[0]


def part_of(change: Change, replica: str) -> Change | None:
    """The grants and refusals of a change for one replica, and the time of the next grant; None if it has neither.

    Events are not part of it: each fact is reported once, by the leader.
    """
    granted = tuple(lease_id for lease_id in change.granted if replica_of(lease_id) == replica)
    refused = tuple(each for each in change.refused if replica_of(each[0]) == replica)
    if not (granted or refused) and change.next_in_ns is None:
        return None
    return Change(change.pool, granted, (), change.next_in_ns, refused)
