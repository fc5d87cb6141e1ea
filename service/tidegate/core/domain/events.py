"""Events that the `Observer` receives. Names are past tense, durations are nanoseconds.

Every call causes several. They are structs, because frozen dataclasses take ten times as long to create. None can be
part of a reference cycle, so the garbage collector need not track them.
"""

from collections.abc import Mapping

from msgspec import Struct

from tidegate.core.domain.budget import NOTHING_SPENT, BudgetSnapshot, Spending
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.usage import Usage

__all__ = [
    "Admitted",
    "Anomaly",
    "AttemptFinished",
    "BatchResultsRead",
    "BudgetReached",
    "CircuitClosed",
    "CircuitOpened",
    "Event",
    "FallbackUsed",
    "Frozen",
    "HeadRefused",
    "LeaseEnded",
    "LimitLearned",
    "Queued",
    "RateChanged",
    "RefusedCall",
    "RequestFinished",
    "RetryScheduled",
    "SpendCapReached",
    "Thawed",
    "UpstreamRateLimited",
    "Withdrawn",
    "WorkflowFinished",
]


class Queued(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """A demand had to wait."""

    pool: str
    caller: Caller
    cost: Cost
    predicted_ns: int


class Admitted(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """A demand was admitted after a wait of `waited_ns` (0: at once). `cost` is the estimate.

    `is_own_limit` tells whether it had to wait for a limit of its caller's own longer than for the pool, as predicted
    when it began to wait.
    """

    pool: str
    caller: Caller
    cost: Cost
    waited_ns: int
    is_own_limit: bool = False


class Withdrawn(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """A waiter left the queue without a grant: it was refused, its patience ended, or its task was cancelled.

    It does not say which.
    """

    pool: str
    caller: Caller
    waited_ns: int


class RefusedCall(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """Tidegate refused a call. `pool` is empty if no pool was known yet."""

    pool: str
    caller: Caller
    cause: Cause


class LeaseEnded(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """A lease ended: the reserved and the finally charged cost.

    `spending` is what budgets count, of this session of the caller.
    """

    pool: str
    caller: Caller
    outcome: str
    reserved: Cost
    used: Cost
    session: str = ""
    spending: Spending = NOTHING_SPENT


class BudgetReached(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """A subject of a budget has spent this share of its limit, in percent: 80 or 100. Reported once per period.

    100 also means that a call was refused, because what is left does not suffice for it.
    """

    percent: int
    budget: BudgetSnapshot


class Anomaly(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """A fault occurred, and its effect was bounded. `kind` is a value of `AnomalyKind`."""

    pool: str
    kind: str


class Frozen(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """The pool admits nobody for `duration_ns` from now."""

    pool: str
    duration_ns: int


class Thawed(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """A freeze ended."""

    pool: str


class CircuitOpened(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """The pool sends only probes from now on, because of `cause`.

    `closes_in_ns`: the time until the date that the upstream named; None if it named none. A probe may end it earlier.
    """

    pool: str
    cause: Cause
    closes_in_ns: int | None


class CircuitClosed(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """The cause that had opened a pool's circuit is over."""

    pool: str
    cause: Cause


class RateChanged(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """The effective rate of a pool changed in a dimension, in units per minute; None: nothing limits it.

    `reason` is `rate_limited` or `succeeded` (the upstream's answer), `reported` (headers report another limit),
    `competing_traffic` (others leave another share), `unreported` (no limit is reported, so the rate is searched),
    `demand` (a request waits, so a searched rate grows or is tried), or `configured`. Continuous changes are reported
    from a tenth on.
    """

    pool: str
    dimension: Dimension
    before_per_minute: float | None
    after_per_minute: float | None
    reason: str


class LimitLearned(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """The upstream reported a new limit, or another one than before."""

    pool: str
    dimension: Dimension
    per_minute: float


class UpstreamRateLimited(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """The upstream answered 429. `dimension` is the one that its headers show as empty, `acceleration` or `unknown`."""

    pool: str
    dimension: str
    retry_after_ns: int | None


class SpendCapReached(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """The upstream refused an attempt because a spend cap is reached. No retry helps."""

    pool: str


class AttemptFinished(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """One attempt at the upstream ended.

    `status` is its HTTP status. Without an answer it is `error` (a fault of the upstream or the network), `deadline`
    (the call's own deadline passed) or `abandoned` (the client left, or the service stopped).

    `first_token_ns` is the time to the first content of a stream; None where there was none. `usage` is set once per
    answer that reported it, and `cost_pico_usd` is its exact cost; None if its model has no known price. `session` is
    the caller's session of the call; empty if it has none.
    """

    pool: str
    model: str
    caller: Caller
    status: str
    duration_ns: int
    first_token_ns: int | None = None
    usage: Usage | None = None
    session: str = ""
    cost_pico_usd: int | None = None


class BatchResultsRead(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """Results of a batch were relayed for the first time: the model and usage of each, at batch prices."""

    caller: Caller
    used: tuple[tuple[str, Usage], ...]


class HeadRefused(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """A request was refused before it was complete: 400 for invalid HTTP, 408 for a slow head, 431 for a long one.

    `client` is the address of the client, the only thing known of it. `request_id` is also in the answer.
    """

    status: int
    client: str = ""
    request_id: str = ""


class RetryScheduled(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """An attempt failed and will be retried after `wait_ns`. `reason` is a result of `retry_reason`."""

    pool: str
    reason: str
    attempt: int
    wait_ns: int


class RequestFinished(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """A call of one of Tidegate's routes ended.

    `outcome` is `ok`, `refused` (by Tidegate), `rate_limited` (a 429 of the upstream was passed on), `upstream_error`,
    `deadline` (the call gave the upstream less than a minute, and got no response), `client_error` or `abandoned` (the
    client left, or the service stopped after the response had begun).

    `overhead_ns` is Tidegate's own time, without waits for quota, upstream or client. The other fields are for logs,
    some also for metrics: `status` is the HTTP status sent (0: none), `cause` that of a refusal, `queue_wait_ns` the
    wait for quota, `usage` that of all answers together as far as it is known, `exemplar` the ids of its span if it is
    traced, and `upstream_request_id` the upstream's id of the last attempt that got a response.
    """

    route: str
    pool: str
    caller: Caller
    outcome: str
    duration_ns: int
    overhead_ns: int | None = None
    request_id: str = ""
    model: str = ""
    status: int = 0
    cause: Cause | None = None
    queue_wait_ns: int = 0
    attempts: int = 0
    usage: Usage | None = None
    exemplar: Mapping[str, str] | None = None
    upstream_request_id: str = ""


class WorkflowFinished(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """A generation ended: `ok`, `repaired`, `invalid`, `refused`, `truncated` or `failed`."""

    outcome: str


class FallbackUsed(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """A generation continued with the simpler request. `reason` is that of the answer."""

    reason: str


Event = (
    Queued
    | Admitted
    | Withdrawn
    | RefusedCall
    | LeaseEnded
    | BudgetReached
    | Anomaly
    | Frozen
    | Thawed
    | CircuitOpened
    | CircuitClosed
    | RateChanged
    | LimitLearned
    | UpstreamRateLimited
    | SpendCapReached
    | AttemptFinished
    | BatchResultsRead
    | HeadRefused
    | RetryScheduled
    | RequestFinished
    | WorkflowFinished
    | FallbackUsed
)
