"""A caller's demand on a pool, and the pool's answers.

None of these values can be part of a reference cycle, so the garbage collector need not track them (`gc=False`). Many
thousands may wait.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from msgspec import Struct

from tidegate.core.domain.budget import NOTHING_SPENT, BudgetSnapshot, Spender, Spending
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.dimension import Cost, Dimension

__all__ = ["FREE_OUTCOMES", "GRANTED", "Demand", "Granted", "Outcome", "Refused", "Wait"]


class Outcome(StrEnum):
    """The end of a lease. Each lease ends exactly once."""

    SETTLED = "settled"
    """Completed: the real usage replaces the estimate."""
    RELEASED = "released"
    """Nothing was spent. Everything is given back."""
    THROTTLED = "throttled"
    """The upstream answered 429 and counted nothing. Everything is given back."""
    OVERLOADED = "overloaded"
    """529 or 5xx. If `used` is unknown, the response started and then failed. Charges the request, its input (estimated
    unless a `charge` reported it), and the output that a `charge` reported."""
    ABANDONED = "abandoned"
    """The client left, or no answer came. The used cost is still charged: the estimate where it is unknown."""


FREE_OUTCOMES: Final = frozenset({Outcome.RELEASED, Outcome.THROTTLED})
"""The outcomes of leases that cost nothing."""


class Demand(Struct, frozen=True, gc=False, array_like=True):
    """A request for quota from a pool.

    Attributes:
        pool: name of the pool.
        caller: shares the pool by its name and weight.
        cost: the estimate. All dimensions are reserved at once or none.
        patience_ns: how long the caller waits at most; None: without limit.
        front: the request returns after a 429, and goes before all new ones.
        retry: the request returns after another failure, and goes before all new ones as soon as the pool's retry
            budget, or a probe, admits it. It is never refused because of its wait.
        settle_at_once: the cost is exact and no usage will be reported. `Store.try_admit` keeps no lease for it, and
            the holder of any other lease for it ends that at once.
        overdraw_tokens: by how much the output may well exceed the estimate.
        session: the caller's session of the request. The sessions of a caller share its part.
        agent: the agent of that session. The agents of a session share its part; each is first come, first served.
        session_front: continues work of its session, and goes before that session's other requests.
        spending: what the request will probably cost in money and in tokens of all kinds, for budgets.
        is_priced_later: the request spends something that its response does not say, such as that for a batch.
        price: returns the cost at a time of the monotonic clock, for a store in this process. Called again before the
            admission of a request that has waited. Other stores use `cost`.
    """

    pool: str
    caller: Caller
    cost: Cost
    patience_ns: int | None = None
    front: bool = False
    retry: bool = False
    settle_at_once: bool = False
    overdraw_tokens: int = 0
    session: str = ""
    agent: str = ""
    session_front: bool = False
    price: Callable[[int], Cost] | None = None
    spending: Spending = NOTHING_SPENT
    is_priced_later: bool = False

    @property
    def spender(self) -> Spender:
        """The spender, for budgets."""
        return Spender(self.caller.label, self.caller.team, self.session)


class Granted(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """Admitted: the cost is reserved under the lease id until `Store.end`."""


GRANTED: Final = Granted()
"""The only instance, because immediate admission is the hot path."""


class Wait(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """Queued. A later `Change` grants or refuses it.

    Two of them are equal if they predict the same wait.

    Attributes:
        predicted_ns: the predicted wait.
        binding: what it waits for, for information: `queue` (others go first, or it fits and will be granted), a
            dimension, `frozen`, `probe` (the result of a probe), `acceleration`, `outage`, `concurrency`,
            `retry_budget`, `caller_limit` or `budget` (calls in progress have reserved the rest of it).
    """

    predicted_ns: int
    binding: str = "queue"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Wait) and self.predicted_ns == other.predicted_ns

    def __hash__(self) -> int:
        return hash(self.predicted_ns)


class Refused(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """The demand is neither admitted nor queued. Nothing else changed.

    Attributes:
        cause: why.
        retry_after_ns: when the same demand may succeed; None where waiting does not help or nobody can know.
        dimension: the dimension in which the cost is too large.
        full: the cap of the queue that was reached.
        limit: the field of `CallerLimits` that the caller exceeds.
        budget: the budget that has too little left.
    """

    cause: Cause
    retry_after_ns: int | None = None
    dimension: Dimension | None = None
    full: str | None = None
    limit: str | None = None
    budget: BudgetSnapshot | None = None
