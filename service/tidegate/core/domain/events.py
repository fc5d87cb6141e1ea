"""Facts that happened, as values: what the `Observer` hears. Names are past tense; durations are nanoseconds.

They are structs, because every call has a few: frozen dataclasses take ten times as long to make. None leads back to
itself, so the collector need not know of them.
"""

from collections.abc import Mapping

from msgspec import Struct

from tidegate.core.domain.caller import Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.usage import Usage

__all__ = [
    "Admitted",
    "Anomaly",
    "AttemptFinished",
    "BatchResultsRead",
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


class Queued(Struct, frozen=True, gc=False):
    """A demand had to wait."""

    pool: str
    caller: Caller
    cost: Cost
    predicted_ns: int


class Admitted(Struct, frozen=True, gc=False):
    """A demand was admitted after waiting for `waited_ns` (0: at once). `cost` is the estimate that it came with."""

    pool: str
    caller: Caller
    cost: Cost
    waited_ns: int


class Withdrawn(Struct, frozen=True, gc=False):
    """A waiter left before it was admitted."""

    pool: str
    caller: Caller
    waited_ns: int


class RefusedCall(Struct, frozen=True, gc=False):
    """Tidegate refused a call; `pool` is empty when it was refused before a pool was known."""

    pool: str
    caller: Caller
    cause: Cause


class LeaseEnded(Struct, frozen=True, gc=False):
    """A lease ended: what had been reserved, and what was charged in the end."""

    pool: str
    caller: Caller
    outcome: str
    reserved: Cost
    used: Cost


class Anomaly(Struct, frozen=True, gc=False):
    """Something was not as it should be, and its effect was bounded. `kind` is one of `core.anomaly.AnomalyKind`."""

    pool: str
    kind: str


class Frozen(Struct, frozen=True, gc=False):
    """Nobody is admitted to the pool for `duration_ns` from now."""

    pool: str
    duration_ns: int


class Thawed(Struct, frozen=True, gc=False):
    """A freeze ended."""

    pool: str


class CircuitOpened(Struct, frozen=True, gc=False):
    """The pool sends nothing but probes from now on, because of `cause`; `closes_in_ns` is None where nobody knows."""

    pool: str
    cause: Cause
    closes_in_ns: int | None


class CircuitClosed(Struct, frozen=True, gc=False):
    """What had opened a pool's circuit is over."""

    pool: str
    cause: Cause


class RateChanged(Struct, frozen=True, gc=False):
    """The rate that a pool goes by changed in a dimension, in units a minute; None: nothing limits it.

    `reason`: `rate_limited` or `succeeded`, what the upstream answered; `told`, its headers told another limit;
    `others`, who take part of it; `untold`, it tells none, so that the rate has to be searched; `demand`, somebody
    waits, so that a rate that is searched grows or is tried; `configured`. One that grows with time, or moves with
    every answer, is told of when it has changed by a tenth.
    """

    pool: str
    dimension: Dimension
    before_per_minute: float | None
    after_per_minute: float | None
    reason: str


class LimitLearned(Struct, frozen=True, gc=False):
    """The upstream reported a limit that was not known, or another one than before."""

    pool: str
    dimension: Dimension
    per_minute: float


class UpstreamRateLimited(Struct, frozen=True, gc=False):
    """The upstream answered 429. `dimension` is the one its headers show as empty, `acceleration`, or `unknown`."""

    pool: str
    dimension: str
    retry_after_ns: int | None


class SpendCapReached(Struct, frozen=True, gc=False):
    """The upstream refused an attempt because a spend cap is reached: no retry helps."""

    pool: str


class AttemptFinished(Struct, frozen=True, gc=False):
    """One attempt at the upstream ended.

    `status` is its HTTP status. Without an answer it is `error`, for which the upstream is to blame or the way to it;
    `deadline`, when the call's own time was over; `abandoned`, when its client left or the service stopped.

    `first_token_ns` is the time to the first content of a stream; None where there was none. `usage` is set once per
    answer that reported it.
    """

    pool: str
    model: str
    caller: Caller
    status: str
    duration_ns: int
    first_token_ns: int | None = None
    usage: Usage | None = None


class BatchResultsRead(Struct, frozen=True, gc=False):
    """Results of a batch came by for the first time: the model of each, and what it used, at the price of batches."""

    caller: Caller
    used: tuple[tuple[str, Usage], ...]


class HeadRefused(Struct, frozen=True, gc=False):
    """What a client sent was refused before it was a call: 400 for no HTTP, 408 for a slow head, 431 for a long one.

    `client` is the address that it came from, the only thing known of it. `request_id` is in the answer, too.
    """

    status: int
    client: str = ""
    request_id: str = ""


class RetryScheduled(Struct, frozen=True, gc=False):
    """An attempt failed and will be repeated after `wait_ns`; `reason` as in `core.retry`."""

    pool: str
    reason: str
    attempt: int
    wait_ns: int


class RequestFinished(Struct, frozen=True, gc=False):
    """A call of one of our routes ended.

    `outcome` is `ok`; `refused` by us; `rate_limited`: a 429 of the upstream was passed on; `upstream_error`;
    `client_error`; or `abandoned`.

    `overhead_ns` is our own time in it: never waiting for quota, upstream or client. The rest is for logs: `status` is
    the HTTP status that went out (0: none did), `cause` ours where we refused, `queued_ns` the wait for quota, `usage`
    that of all answers together as far as it is known, `exemplar` the ids of its span where it is traced.
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
    queued_ns: int = 0
    attempts: int = 0
    usage: Usage | None = None
    exemplar: Mapping[str, str] | None = None


class WorkflowFinished(Struct, frozen=True, gc=False):
    """A generation ended: `ok`, `repaired`, `invalid`, `refused`, `truncated` or `failed`."""

    outcome: str


class FallbackUsed(Struct, frozen=True, gc=False):
    """A generation went on with the simpler request; `reason` as in the answer."""

    reason: str


Event = (
    Queued
    | Admitted
    | Withdrawn
    | RefusedCall
    | LeaseEnded
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
