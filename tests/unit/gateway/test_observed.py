"""The events of each situation: each is reported once, in the scope that it belongs to."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, get_args

import pytest

from support.asgi_client import call
from support.gateway import MESSAGE, ONE_A_MINUTE, FakeTransport, Reply, Rig, error, make_gateway, unreachable
from support.recording_observer import RecordingObserver
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.events import (
    Admitted,
    Anomaly,
    AttemptFinished,
    BatchResultsRead,
    BudgetReached,
    CircuitClosed,
    CircuitOpened,
    Event,
    FallbackUsed,
    Frozen,
    HeadRefused,
    LeaseEnded,
    LimitLearned,
    Queued,
    RateChanged,
    RefusedCall,
    RequestFinished,
    RetryScheduled,
    SpendCapReached,
    Thawed,
    UpstreamRateLimited,
    Withdrawn,
    WorkflowFinished,
)
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings, QueueCaps

UNTOLD = Reply()
TOLD = Reply(
    200,
    (
        (b"content-type", b"application/json"),
        (b"anthropic-ratelimit-requests-limit", b"50"),
        (b"anthropic-ratelimit-requests-remaining", b"49"),
    ),
)
ENDED = ["attempt: settled (1, 7, 3)", "attempt: finished 200", "request: ok"]
ANSWERED = [
    "attempt: limit of requests: 50",
    "attempt: rate of requests changed: reported",
    *ENDED,
]
HEADERLESS = ["attempt: anomaly limits_missing", *ENDED]
FAILED = ["acquire: admitted after 0 s", "attempt: overloaded (0, 0, 0)", "attempt: finished 500"]


async def one(rig: Rig, **headers: str) -> None:
    await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, headers=headers)


async def two_in_turn(rig: Rig) -> None:
    await one(rig)
    await one(rig)


async def two_at_once(rig: Rig) -> None:
    await asyncio.gather(one(rig), one(rig))


async def second_has_no_time(rig: Rig) -> None:
    await one(rig)
    await one(rig, **{"x-tidegate-timeout-seconds": "5"})


async def second_leaves(rig: Rig) -> None:
    await one(rig)
    waiting = asyncio.ensure_future(one(rig))
    await asyncio.sleep(2)
    waiting.cancel()
    await asyncio.wait([waiting])


@dataclass(frozen=True)
class Situation:
    name: str
    answers: list[Reply | Exception]
    told: list[str]
    happens: Callable[[Rig], Coroutine[Any, Any, None]] = one
    settings: PoolSettings | None = None

    def __str__(self) -> str:
        return self.name


SUMMARIES: dict[type[Event], Callable[[Any], str]] = {
    Admitted: lambda event: f"admitted after {event.waited_ns / S:g} s",
    Queued: lambda event: f"queued for {event.predicted_ns / S:g} s",
    Withdrawn: lambda event: f"withdrawn after {event.waited_ns / S:g} s",
    RefusedCall: lambda event: f"refused {event.cause}",
    LeaseEnded: lambda event: f"{event.outcome} {tuple(event.used)}",
    Anomaly: lambda event: f"anomaly {event.kind}",
    Frozen: lambda event: f"frozen for {event.duration_ns / S:g} s",
    Thawed: lambda _event: "thawed",
    CircuitOpened: lambda event: f"circuit opened: {event.cause}",
    CircuitClosed: lambda event: f"circuit closed: {event.cause}",
    RateChanged: lambda event: f"rate of {event.dimension} changed: {event.reason}",
    LimitLearned: lambda event: f"limit of {event.dimension}: {event.per_minute:g}",
    UpstreamRateLimited: lambda event: f"429 by {event.dimension}",
    SpendCapReached: lambda _event: "spend cap reached",
    AttemptFinished: lambda event: f"finished {event.status}",
    RetryScheduled: lambda event: f"retry for {event.reason}",
    RequestFinished: lambda event: str(event.outcome),
}

SITUATIONS = [
    Situation(
        "a good answer that tells no limits",
        [UNTOLD],
        [
            "acquire: admitted after 0 s",
            "attempt: anomaly limits_missing",
            "attempt: rate of requests changed: unreported",
            *ENDED,
        ],
    ),
    Situation("a good answer that tells a limit", [TOLD], ["acquire: admitted after 0 s", *ANSWERED]),
    Situation(
        "somebody waits",
        [UNTOLD],
        [
            "acquire: admitted after 0 s",
            "acquire: queued for 60 s",
            *HEADERLESS,
            "acquire: admitted after 60 s",
            *HEADERLESS,
        ],
        two_at_once,
        ONE_A_MINUTE,
    ),
    Situation(
        "somebody has too little time",
        [UNTOLD],
        [
            "acquire: admitted after 0 s",
            *HEADERLESS,
            "acquire: queued for 60 s",
            "acquire: withdrawn after 5 s",
            "acquire: refused deadline",
            "request: refused",
        ],
        second_has_no_time,
        ONE_A_MINUTE,
    ),
    Situation(
        "the queue is full",
        [UNTOLD],
        ["acquire: admitted after 0 s", *HEADERLESS, "acquire: refused queue_full", "request: refused"],
        two_in_turn,
        PoolSettings(ONE_A_MINUTE.limits, caps=QueueCaps(0)),
    ),
    Situation(
        "what can never fit",
        [UNTOLD],
        ["acquire: refused cost_exceeds_capacity", "request: refused"],
        settings=PoolSettings({Dimension.INPUT_TOKENS: LimitSettings(10, 1)}, allow_debt=False),
    ),
    Situation(
        "somebody leaves the queue",
        [UNTOLD],
        [
            "acquire: admitted after 0 s",
            *HEADERLESS,
            "acquire: queued for 60 s",
            "acquire: withdrawn after 2 s",
            "request: abandoned",
        ],
        second_leaves,
        ONE_A_MINUTE,
    ),
    Situation(
        "a 429",
        [error(429, "rate_limit_error", retry_after="20"), TOLD],
        [
            "acquire: admitted after 0 s",
            "attempt: retry for rate_limited",
            "attempt: throttled (0, 0, 0)",
            "attempt: frozen for 20 s",
            "attempt: rate of requests changed: rate_limited",
            "attempt: 429 by unknown",
            "attempt: finished 429",
            "acquire: queued for 20 s",
            "acquire: thawed",
            "acquire: admitted after 20 s",
            *ANSWERED,
        ],
    ),
    Situation(
        "an overload",
        [error(500, "api_error"), TOLD],
        [*FAILED, "chat: retry for server_error", "acquire: admitted after 0 s", *ANSWERED],
    ),
    Situation(
        "no answer",
        [unreachable(), TOLD],
        [
            "acquire: admitted after 0 s",
            "attempt: released (0, 0, 0)",
            "attempt: finished error",
            "chat: retry for connection",
            "acquire: admitted after 0 s",
            *ANSWERED,
        ],
    ),
    Situation(
        "a spend cap",
        [error(429, "rate_limit_error", "enforced_spend_limit_reached")],
        [
            "acquire: admitted after 0 s",
            "attempt: circuit opened: spend_cap",
            "attempt: spend cap reached",
            "attempt: throttled (0, 0, 0)",
            "attempt: finished 429",
            "request: rate_limited",
            "acquire: refused spend_cap",
            "request: refused",
        ],
        two_in_turn,
    ),
    Situation(
        "an outage",
        [*[error(500, "api_error")] * 5, TOLD],
        [
            *[*FAILED, "chat: retry for server_error"] * 4,
            "acquire: admitted after 0 s",
            "attempt: circuit opened: upstream_outage",
            *FAILED[1:],
            "acquire: queued for 0.25 s",
            "acquire: admitted after 0.25 s",
            "attempt: circuit closed: upstream_outage",
            *ANSWERED,
        ],
    ),
]


Elsewhere = BatchResultsRead | BudgetReached | FallbackUsed | HeadRefused | WorkflowFinished
"""Events that other parts report."""


def observed(situation: Situation) -> RecordingObserver:
    clock = VirtualClock()
    pools = {"sonnet-5-5": situation.settings} if situation.settings else None
    rig = make_gateway(FakeTransport(situation.answers), clock, pools=pools)
    run_virtual(situation.happens(rig), clock)
    return rig.observer


@pytest.mark.parametrize("situation", SITUATIONS, ids=str)
def test_each_event_is_reported_once_and_in_its_scope(situation: Situation) -> None:
    observer = observed(situation)
    told = zip(observer.events, observer.heard_in, strict=True)
    assert [f"{scope}: {SUMMARIES[type(event)](event)}" for event, scope in told] == situation.told
    assert {event.pool for event in observer.events if not isinstance(event, Elsewhere)} == {"sonnet-5-5"}


def test_the_estimate_is_reported_beside_the_usage() -> None:
    observer = observed(SITUATIONS[0])
    (admitted,), (ended,) = observer.of(Admitted), observer.of(LeaseEnded)
    assert ended.reserved == admitted.cost
    assert ended.used == Cost(1, 7, 3) != ended.reserved


def test_the_table_has_every_event_that_a_call_may_lead_to() -> None:
    heard = {type(event) for situation in SITUATIONS for event in observed(situation).events}
    assert heard == set(SUMMARIES) == set(get_args(Event)) - set(get_args(Elsewhere))
