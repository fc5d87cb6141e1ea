"""What a caller asks of a pool, and the pool's answers.

None of these values can be part of a reference cycle, so the garbage collector need not track them (`gc=False`): many
thousands may wait.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from msgspec import Struct

from tidegate.core.domain.caller import Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.dimension import Cost, Dimension

__all__ = ["GRANTED", "Demand", "Granted", "Outcome", "Refused", "Wait"]


class Outcome(StrEnum):
    """How a lease ends; each ends exactly once."""

    SETTLED = "settled"
    """Done: the real usage replaces the estimate."""
    RELEASED = "released"
    """Nothing was spent: everything is given back."""
    THROTTLED = "throttled"
    """The upstream answered 429 and counted nothing: everything is given back."""
    OVERLOADED = "overloaded"
    """529 or 5xx. Without `used`, which an error status says nothing of, an answer had begun and failed: the request
    counts, its input, by estimate where no `charge` has said more, and of its output what a `charge` has said."""
    ABANDONED = "abandoned"
    """The client left, or no answer came: what was spent is still charged, the estimate where it is unknown."""


class Demand(Struct, frozen=True, gc=False):
    """What somebody wants from a pool.

    Attributes:
        pool: name of the pool.
        caller: who asks; fairness goes by its name and weight.
        cost: the estimate; all dimensions are reserved at once or none.
        patience_ns: how long the caller would wait; None: as long as it takes.
        front: a request that the upstream refused with 429 comes back ahead of all others.
        retry: a request that failed otherwise comes back: ahead of all others as well, as soon as the pool's budget for
            retries, or a probe, lets it; it is not refused for having to wait.
        settle_at_once: the cost is exact, nobody will report usage: no lease is kept after admission.
        overdraw_tokens: how much more output it may well become.
        session: the caller's session that the request belongs to; sessions of a caller share what it gets.
        agent: the agent of that session; agents of a session share what it gets, first come, first served within one.
        session_front: continues work of its session, and goes ahead of that session's other requests.
        price: what it costs at a moment of the monotonic clock, for a store in this process: asked again for who has
            waited, before it is admitted. Others go by `cost`.
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


class Granted(Struct, frozen=True, gc=False):
    """Admitted: the cost is reserved under the lease id until `Store.end`."""


GRANTED: Final = Granted()
"""The one value of its kind: admission at once is the hot path."""


@dataclass(slots=True)
class Wait:
    """Queued: a `Change` will tell of the grant.

    Attributes:
        predicted_ns: how long it will probably take.
        binding: what it waits for, for information: `queue` (others came first), a dimension, `frozen`, `probe` (an
            answer to the one request that may go), `acceleration`, `outage`, `concurrency`, or `retry_budget`.
    """

    predicted_ns: int
    binding: str = field(default="queue", compare=False)


class Refused(Struct, frozen=True, gc=False):
    """Not admitted and not queued, without any side effect.

    `full` says which cap of the queue was reached. `limit` names the field of `CallerLimits` that a caller exceeds.
    """

    cause: Cause
    retry_after_ns: int | None = None
    dimension: Dimension | None = None
    full: str | None = None
    limit: str | None = None
