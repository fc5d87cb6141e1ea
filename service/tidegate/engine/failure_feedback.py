"""The feedback of a failed attempt, for the gateway and for generation."""

from typing import Final

from msgspec import structs

from tidegate.core.claude.failures import FAIR_SECONDS, limited_dimension
from tidegate.core.claude.rate_limit_groups import is_fast_pool
from tidegate.core.claude.rate_limit_headers import header_text
from tidegate.core.claude.server_time import server_seconds
from tidegate.core.claude.spend_cap import is_spend_cap, spend_cap_ends_in_seconds
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.errors import UpstreamError, UpstreamUnreachable
from tidegate.core.domain.events import Anomaly, SpendCapReached, UpstreamRateLimited
from tidegate.core.domain.feedback import Failed, RateLimited, SpendCapped
from tidegate.core.domain.nanoseconds import to_ns
from tidegate.core.failures.retry_policy import retry_reason
from tidegate.engine.admission import Admission, Lease

__all__ = ["report_failure"]

_FAIR_NS: Final = to_ns(FAIR_SECONDS)


async def report_failure(
    admission: Admission, lease: Lease, *own_pools: str, error: UpstreamError, sent_ago_ns: int, pause_ns: int = 0
) -> None:
    """Passes a failure to the store, before its lease ends, so that what it gives back admits no other that would fail.

    Args:
        admission: holds the store, the clock and the observer.
        lease: of the failed attempt. A 429 ends it.
        own_pools: pools that the upstream does not know, which only slow down on a 429.
        error: the failure.
        sent_ago_ns: how long ago the request was sent.
        pause_ns: how long a 429 freezes all pools at least.
    """
    pool, observer, store = lease.pool, admission.observer, admission.store
    reason = retry_reason(error)
    if error.retry_after_is_odd and observer is not None:
        observer.event(Anomaly(pool, AnomalyKind.RETRY_AFTER))
    if reason == "rate_limited":
        dimension = limited_dimension(error, fast=is_fast_pool(pool))
        asked_ns = None if error.retry_after_seconds is None else to_ns(error.retry_after_seconds)
        refusal = RateLimited(asked_ns, sent_ago_ns, acceleration=dimension == "acceleration", pause_ns=pause_ns)
        for each in own_pools:
            await store.learn(each, refusal)
        await store.learn(pool, structs.replace(refusal, lease_id=lease.id))
        if observer is not None:
            observer.event(UpstreamRateLimited(pool, dimension, asked_ns))
    elif reason is not None:
        if sent_ago_ns >= _FAIR_NS or not (isinstance(error, UpstreamUnreachable) and error.out_of_time):
            await store.learn(pool, Failed(sent_ago_ns))
    elif is_spend_cap(error):
        now_seconds = server_seconds(header_text(error.headers), admission.clock.wall_seconds())
        ends_in_seconds = spend_cap_ends_in_seconds(error, now_seconds)
        await store.learn(pool, SpendCapped(None if ends_in_seconds is None else to_ns(ends_in_seconds)))
        if observer is not None:
            observer.event(SpendCapReached(pool))
