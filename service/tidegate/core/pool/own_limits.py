"""Callers' own limits in one pool: whose requests are skipped, and until when."""

from tidegate.core.accounts.accounts import Account, Accounts, AccountWaits, Exceeded
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.core.queue.fair_queue import FairQueue
from tidegate.core.queue.waiter import Waiter

__all__ = ["OwnLimits"]


class OwnLimits:
    """Applies the accounts of callers, which span all pools, to the queue of one pool."""

    __slots__ = ("_accounts", "_pool", "_queue", "_waits")

    def __init__(self, pool: str, accounts: Accounts, queue: FairQueue) -> None:
        self._pool = pool
        self._accounts = accounts
        self._queue = queue
        self._waits = AccountWaits(pool)

    @property
    def waits(self) -> AccountWaits:
        """The waits of requests that are skipped, for the accounts that they wait for."""
        return self._waits

    def account(self, demand: Demand, now_ns: int) -> Account | None:
        """The account of the demand's caller; None for a caller without limits of its own."""
        return self._accounts.get(demand.caller, now_ns)

    def head(self, now_ns: int) -> Waiter | None:
        """The request that goes next. Skips requests of callers over their own limits."""
        queue, waits = self._queue, self._waits
        if waits.until_ns is not None and now_ns >= waits.until_ns:
            waits.until_ns = None
            for skipped in tuple(queue.skipped.values()):
                if not self._holds_back(skipped, now_ns):
                    queue.readmit(skipped)
        while (waiter := queue.head(now_ns)) is not None and self._holds_back(waiter, now_ns):
            queue.skip(waiter)
        if waiter is not None and waiter.account is not None:
            waiter.account.note_head(self._pool)
        return waiter

    def skipped_wait_ns(self, now_ns: int) -> int | None:
        """Time until a skipped request may go; None if there is none, or time alone does not allow it."""
        until_ns = self._waits.until_ns if self._queue.skipped else None
        return None if until_ns is None else until_ns - now_ns

    def exceeded(self, waiter: Waiter, now_ns: int) -> Exceeded | None:
        """The limit that holds this waiter back; None if none does."""
        return None if waiter.account is None else waiter.account.exceeded(waiter.demand.cost, now_ns)

    def exceeded_behind_others(self, waiter: Waiter, now_ns: int) -> Exceeded | None:
        """The limit that this new waiter waits for behind the caller's others; None if it waits for none."""
        demand, account = waiter.demand, waiter.account
        if account is None:
            return None
        _, load = self._queue.load_of(demand.caller)
        return account.exceeded_by_all(demand.cost.plus(Cost(*load)), now_ns) or account.exceeded(demand.cost, now_ns)

    def clear_freed(self) -> None:
        """The pool was looked at: it is no longer among those in which requests may go now."""
        self._accounts.freed.pop(self._pool, None)

    def _holds_back(self, waiter: Waiter, now_ns: int) -> bool:
        """Whether a limit holds a waiter back. If so, the account notifies this pool when it allows more."""
        account = waiter.account
        if account is None or (exceeded := account.exceeded(waiter.demand.cost, now_ns)) is None:
            return False
        account.note_skipped(self._waits)
        self._waits.add(exceeded, now_ns)
        return True
