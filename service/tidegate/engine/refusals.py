"""The errors that refused demands raise."""

from datetime import UTC, datetime
from typing import Final

from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand, Refused
from tidegate.core.domain.errors import Refusal
from tidegate.core.domain.nanoseconds import to_seconds

__all__ = ["refusal_of"]

_MESSAGES: Final = {
    Cause.QUEUE_FULL: "the queue of {pool} is full: {full} wait already",
    Cause.DEADLINE: "the wait for {pool} would be longer than the request may take",
    Cause.CALLER_LIMIT: "caller {caller!r} is over its own limit ({limit}) for longer than the request may take",
    Cause.UPSTREAM_OUTAGE: "the upstream has an outage, and {pool} waits for longer than the request may take",
    Cause.SPEND_CAP: "the upstream refuses all requests of {pool} because a spend cap is reached; try again at {when}",
    Cause.STORE_UNAVAILABLE: "the process that decides about {pool} cannot be reached",
    Cause.COST_EXCEEDS_CAPACITY: "the request needs more {dimension} than {pool} can ever hold",
}


def refusal_of(demand: Demand, refused: Refused, wall_seconds: float) -> Refusal:
    """The error for a refused demand, at this time of the wall clock."""
    after_seconds = None if refused.retry_after_ns is None else to_seconds(refused.retry_after_ns)
    return Refusal(
        refused.cause,
        _MESSAGES.get(refused.cause, "{pool} admits nothing now").format(
            pool=f"pool {demand.pool!r}",
            dimension=str(refused.dimension).replace("_", " "),
            full=refused.full,
            caller=demand.caller.label,
            limit=_own_limit(demand, refused),
            when=_date(wall_seconds + (after_seconds or 0.0)),
        ),
        retry_after_seconds=after_seconds,
        dimension=refused.dimension,
    )


def _own_limit(demand: Demand, refused: Refused) -> str:
    """The limit of the caller that a refusal names, with its number."""
    name = str(refused.limit)
    return f"{name} = {getattr(demand.caller.limits, name, 0):,.10g}"


def _date(wall_seconds: float) -> str:
    return datetime.fromtimestamp(round(wall_seconds), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
