"""The live work of a pool as one value: its leases, and its waiters, each in its place.

It goes with the dump of what the pool has learned. Both together continue exactly as the original would have: the same
grants, refusals and events, in the same order. Its size is proportional to the number of leases and waiters, and to the
charges of the last two minutes.
"""

from collections.abc import Callable

from msgspec import Struct, structs

from tidegate.core.accounts.accounts import Account
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.core.leases.open_leases import OpenLease
from tidegate.core.pool.lease_book import LeaseBook
from tidegate.core.queue.queue_state import QueueState
from tidegate.core.quota.quota import Quota
from tidegate.core.quota.quota_state import QuotaWork

__all__ = ["OpenLeaseState", "PoolWork", "dump_leases", "restore_leases"]


class OpenLeaseState(Struct, frozen=True, array_like=True):
    """The dump of an `OpenLease`. `limits`: the dimensions that were charged, by index."""

    lease_id: str
    demand: Demand
    limits: tuple[int, ...]
    granted_ago_ns: int
    alive_ago_ns: int
    left_ns: int
    answered: bool
    charged: Cost
    known: Cost
    open_input_tokens: int
    open_output_tokens: int
    has_account: bool


class PoolWork(Struct, frozen=True, array_like=True):
    """The live work of a pool.

    Attributes:
        pool: its name.
        leases: those with the longest silence first.
        checked_in_ns: when the first of them may have expired.
        queue: the waiters.
        skipped_for_ns: how long until one may go of those that their callers' own limits hold back; None: unknown.
        quota: what the requests in flight have left in the quota.
    """

    pool: str
    leases: tuple[OpenLeaseState, ...]
    checked_in_ns: int
    queue: QueueState
    skipped_for_ns: int | None
    quota: QuotaWork


def dump_leases(book: LeaseBook, now_ns: int) -> tuple[OpenLeaseState, ...]:
    """All open leases, for `restore_leases`."""
    return tuple(
        OpenLeaseState(
            lease_id=lease_id,
            demand=structs.replace(lease.demand, price=None),
            limits=tuple(index for index, _ in lease.limits),
            granted_ago_ns=now_ns - lease.granted_ns,
            alive_ago_ns=now_ns - lease.alive_ns,
            left_ns=lease.left_ns,
            answered=lease.answered,
            charged=lease.charged,
            known=lease.known,
            open_input_tokens=lease.open_input_tokens,
            open_output_tokens=lease.open_output_tokens,
            has_account=lease.account is not None,
        )
        for lease_id, lease in book.leases.items()
    )


def restore_leases(
    book: LeaseBook,
    states: tuple[OpenLeaseState, ...],
    quota: Quota,
    now_ns: int,
    account_of: Callable[[str], Account],
) -> None:
    """Adds the leases to a book without any. `account_of` returns the account of a caller by name."""
    limits = tuple(quota.limits)
    for state in states:
        demand = state.demand
        account = account_of(demand.caller.name) if state.has_account else None
        charged = tuple((index, limits[index]) for index in state.limits)
        lease = OpenLease(demand, charged, now_ns - state.granted_ago_ns, account)
        lease.alive_ns = now_ns - state.alive_ago_ns
        lease.left_ns, lease.answered = state.left_ns, state.answered
        lease.charged, lease.known = state.charged, state.known
        lease.open_input_tokens, lease.open_output_tokens = state.open_input_tokens, state.open_output_tokens
        book.restore(state.lease_id, lease)
