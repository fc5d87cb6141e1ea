"""What a failed attempt teaches the pools: in one place, for the gateway and for our own questions."""

from tidegate.core.clock import to_ns
from tidegate.core.errors import UpstreamError
from tidegate.core.events import SpendCapReached, UpstreamRateLimited
from tidegate.core.failure import limited_dimension
from tidegate.core.retry import retry_reason
from tidegate.core.spend_cap import is_spend_cap, spend_cap_ends_in_seconds
from tidegate.core.store import Failed, RateLimited, SpendCapped
from tidegate.engine.admission import Admission

__all__ = ["teach_failure"]


async def teach_failure(
    admission: Admission, *pools: str, error: UpstreamError, sent_ago_ns: int, pause_ns: int | None = None
) -> None:
    """Takes in a failure, before its lease ends: what that gives back must not let others in who would fail as well.

    The last of `pools` is the one that the upstream knows; those before it are ours, and only slow down on a 429. A 429
    freezes them for `pause_ns`, if it is given.
    """
    pool, observer, store = pools[-1], admission.observer, admission.store
    reason = retry_reason(error)
    if reason == "rate_limited":
        dimension = limited_dimension(error)
        refusal = RateLimited(pause_ns, sent_ago_ns, acceleration=dimension == "acceleration")
        for each in pools:
            await store.learn(each, refusal)
        if observer is not None:
            asked_seconds = error.retry_after_seconds
            observer.event(
                UpstreamRateLimited(pool, dimension, None if asked_seconds is None else to_ns(asked_seconds))
            )
    elif reason is not None:
        await store.learn(pool, Failed(sent_ago_ns))
    elif is_spend_cap(error):
        ends_in_seconds = spend_cap_ends_in_seconds(error, admission.clock.wall_seconds())
        await store.learn(pool, SpendCapped(None if ends_in_seconds is None else to_ns(ends_in_seconds)))
        if observer is not None:
            observer.event(SpendCapReached(pool))
