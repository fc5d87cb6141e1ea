"""Callers' own limits and budgets in one pool: whose requests are skipped, and until when."""

from tidegate.core.accounts.account_waits import AccountWaits, Exceeded
from tidegate.core.accounts.accounts import Account, Accounts
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand, Refused
from tidegate.core.domain.dimension import Cost
from tidegate.core.queue.fair_queue import FairQueue
from tidegate.core.queue.waiter import Waiter

__all__ = ["OwnLimits"]


class OwnLimits:
    """Applies the accounts and budgets of callers, which span all pools, to the queue of one pool."""

    __slots__ = ("_accounts", "_budgets", "_pool", "_queue", "_refused", "_waits")

    def __init__(self, pool: str, accounts: Accounts, queue: FairQueue) -> None:
        self._pool = pool
        self._accounts = accounts
        self._budgets = accounts.budgets
        self._queue = queue
        self._refused: list[tuple[str, Refused]] = []
        self._waits = AccountWaits(pool)

    @property
    def waits(self) -> AccountWaits:
        """The waits of requests that are skipped, for the accounts that they wait for."""
        return self._waits

    def account(self, demand: Demand, now_ns: int) -> Account | None:
        """The account of the demand's caller; None for a caller without limits of its own."""
        return self._accounts.get(demand.caller, now_ns)

    def has_room(self, demand: Demand) -> bool:
        """As `Budgets.has_room`."""
        return self._budgets.has_room(demand)

    def judge(self, demand: Demand) -> Demand | Refused:
        """As `Budgets.judge`."""
        return self._budgets.judge(demand)

    def admits(self, demand: Demand, account: Account | None, now_ns: int, *, has_room: bool = False) -> bool:
        """Whether no limit or budget of its caller holds a demand back. `has_room`: it is known that budgets do not."""
        if account is not None and account.exceeded(demand.cost, now_ns) is not None:
            return False
        return has_room or self._budgets.fits(demand)

    def reason(self, waiter: Waiter, now_ns: int) -> Refused | None:
        """The limit or budget of its caller that holds a waiter back, as its refusal; None if none does."""
        if (own := self.exceeded(waiter, now_ns)) is not None:
            return Refused(Cause.CALLER_LIMIT, own.wait_ns, limit=own.limit)
        blocking = self._budgets.blocking(waiter.demand)
        return None if blocking is None else Refused(Cause.BUDGET, budget=blocking.snapshot())

    def refuse(self, lease_id: str, refused: Refused) -> None:
        """Takes a waiter out of the queue that will not be admitted after all."""
        self._queue.remove(lease_id)
        self._refused.append((lease_id, refused))

    def take_refused(self) -> tuple[tuple[str, Refused], ...]:
        """The waiters that were refused since the last call, and why."""
        if not self._refused:
            return ()
        refused = tuple(self._refused)
        self._refused.clear()
        return refused

    def head(self, now_ns: int) -> Waiter | None:
        """The request that goes next.

        Requests of callers over their own limits are skipped. Those for which a budget has too little left are refused.
        """
        queue, waits = self._queue, self._waits
        if waits.until_ns is not None and now_ns >= waits.until_ns:
            waits.until_ns = None
            for skipped in tuple(queue.skipped.values()):
                if not self._holds_back(skipped, now_ns):
                    queue.readmit(skipped)
        while (waiter := queue.head(now_ns)) is not None:
            if isinstance(judged := self._budgets.judge(waiter.demand), Refused):
                self.refuse(waiter.lease_id, judged)
            elif self._holds_back(waiter, now_ns):
                queue.skip(waiter)
            else:
                break
        if waiter is not None and waiter.account is not None:
            waiter.account.note_head(self._pool)
        return waiter

    def skipped_wait_ns(self, now_ns: int) -> int | None:
        """Time until a skipped request may go; None if there is none, or time alone does not allow it."""
        until_ns = self._waits.until_ns if self._queue.skipped else None
        return None if until_ns is None else until_ns - now_ns

    def waits_for_budget(self, waiter: Waiter) -> bool:
        """Whether this waiter waits for the end of calls that have reserved the rest of a budget."""
        return self._budgets.blocking(waiter.demand) is not None

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
        """Whether a limit or a budget holds a waiter back. If so, that notifies this pool when it allows more."""
        account = waiter.account
        if account is not None and (exceeded := account.exceeded(waiter.demand.cost, now_ns)) is not None:
            account.note_skipped(self._waits)
            self._waits.add(exceeded, now_ns)
            return True
        blocking = self._budgets.blocking(waiter.demand)
        if blocking is not None:
            blocking.note_skipped(self._waits)
        return blocking is not None
