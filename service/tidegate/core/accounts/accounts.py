"""Callers' own limits. They span all pools and are reserved in the same step as the quota of a pool."""

from collections.abc import Callable, Mapping
from typing import Final, Self

from msgspec import Struct

from tidegate.core.accounts.account_waits import AccountWaits, Exceeded
from tidegate.core.accounts.budgets import Budgets
from tidegate.core.domain.caller import Caller, CallerLimits
from tidegate.core.domain.dimension import MICRO, Cost
from tidegate.core.limits.token_bucket import TokenBucket, TokenBucketState, changed

__all__ = ["Account", "AccountState", "AccountWork", "Accounts", "AccountsState"]

_CAPACITY_SECONDS: Final = 10.0
"""A bucket holds what its rate refills in this time, as the buckets of a pool with a configured limit do."""
_RATES: Final = ("requests_per_minute", "input_tokens_per_minute", "output_tokens_per_minute")
_CONCURRENCY: Final = "max_concurrent"
_NO_LIMITS: Final = CallerLimits()


class AccountState(Struct, frozen=True, array_like=True):
    """The dump of an `Account`: the limits, and the bucket of each rate. Calls in flight are not part of it."""

    caller: str
    limits: CallerLimits
    buckets: tuple[TokenBucketState | None, TokenBucketState | None, TokenBucketState | None]


class AccountWork(Struct, frozen=True, array_like=True):
    """The dump of the pools whose waiting requests depend on an account.

    Attributes:
        caller: its name.
        skipped_in: pools in which its requests are skipped.
        heads_in: pools in which its request is the next.
    """

    caller: str
    skipped_in: tuple[str, ...]
    heads_in: tuple[str, ...]


AccountsState = tuple[AccountState, ...]
"""The dump of an `Accounts`: the accounts of all callers that made a request, sorted by name."""


class Account:
    """The use of one caller's own limits.

    A request larger than a bucket goes when the bucket is full, and leaves it in debt.

    Attributes:
        in_flight: calls that have begun and not ended.
        skipped_in: the waits of each pool in which requests of the caller are skipped.
        heads_in: pools in which a request of the caller is the next.
    """

    __slots__ = ("_accounts", "_buckets", "_limits", "heads_in", "in_flight", "skipped_in")

    def __init__(self, accounts: "Accounts", limits: CallerLimits, now_ns: int) -> None:
        self.in_flight = 0
        self._accounts = accounts
        self.skipped_in: dict[str, AccountWaits] = {}
        self.heads_in: dict[str, None] = {}
        self._buckets: tuple[TokenBucket | None, ...] = (None, None, None)
        self._limits = limits
        self._apply(limits, now_ns)

    def dump(self, now_ns: int, caller: str) -> AccountState:
        """The state, for `restore`."""
        requests, input_tokens, output_tokens = (
            None if bucket is None else bucket.dump(now_ns) for bucket in self._buckets
        )
        return AccountState(caller, self._limits, (requests, input_tokens, output_tokens))

    @classmethod
    def restore(cls, state: AccountState, now_ns: int, accounts: "Accounts") -> Self:
        """An account that continues from `state`, with no call in flight. The charges of such calls stay."""
        account = cls(accounts, state.limits, now_ns)
        account._buckets = tuple(None if each is None else TokenBucket.restore(each, now_ns) for each in state.buckets)
        return account

    def configure(self, limits: CallerLimits, now_ns: int) -> None:
        """Replaces the limits. Levels stay as they are. A new limit begins with a full bucket."""
        if limits != self._limits:
            self._limits = limits
            self._apply(limits, now_ns)
            self._note_freed()

    def exceeded(self, cost: Cost, now_ns: int) -> Exceeded | None:
        """The limit that holds a request of this cost back for longest; None if it may go."""
        most = self._limits.max_concurrent
        if most is not None and self.in_flight >= most:
            return Exceeded(_CONCURRENCY, None)
        return self._longest(TokenBucket.wait_ns, cost, now_ns)

    def exceeded_by_all(self, cost: Cost, now_ns: int) -> Exceeded | None:
        """The rate that takes longest to admit requests of this total cost; None if they may go now."""
        return self._longest(TokenBucket.refill_ns, cost, now_ns)

    def charge(self, cost: Cost, now_ns: int) -> None:
        """Charges the cost of a request of the caller that goes."""
        self.correct(cost, now_ns)

    def correct(self, cost: Cost, now_ns: int) -> None:
        """Charges the difference between the known and the charged use. Negative units are given back."""
        gives_back = takes = False
        for bucket, units in zip(self._buckets, cost, strict=True):
            if bucket is not None and units:
                bucket.correct(units * MICRO, now_ns)
                gives_back = gives_back or units < 0
                takes = takes or units > 0
        if gives_back:
            self._note_freed()
        if takes:
            self._note_used()

    def call_began(self) -> None:
        """A call begins."""
        self.in_flight += 1
        self._note_used()

    def call_ended(self) -> None:
        """A call ended."""
        self.in_flight -= 1
        self._note_freed()

    def note_skipped(self, waits: AccountWaits) -> None:
        """Requests of the caller are skipped in this pool until the account allows them."""
        self.skipped_in[waits.pool] = waits

    def note_head(self, pool: str) -> None:
        """A request of the caller is the next of this pool, as long as the account allows it."""
        self.heads_in[pool] = None

    def _longest(self, wait: Callable[[TokenBucket, int, int], int], cost: Cost, now_ns: int) -> Exceeded | None:
        limit, longest_ns = "", 0
        for name, bucket, units in zip(_RATES, self._buckets, cost, strict=True):
            if bucket is not None and units and (wait_ns := wait(bucket, units * MICRO, now_ns)) > longest_ns:
                limit, longest_ns = name, wait_ns
        return Exceeded(limit, longest_ns) if longest_ns else None

    def _note_freed(self) -> None:
        """The account allows more: skipped requests may go."""
        for pool, waits in self.skipped_in.items():
            waits.until_ns = 0
            self._accounts.freed[pool] = None
        self.skipped_in.clear()

    def _note_used(self) -> None:
        """The account allows less: where a request of the caller is the next, others may go instead."""
        if self.heads_in:
            self._accounts.freed.update(self.heads_in)
            self.heads_in.clear()

    def _apply(self, limits: CallerLimits, now_ns: int) -> None:
        rates = (limits.requests_per_minute, limits.input_tokens_per_minute, limits.output_tokens_per_minute)
        self._buckets = tuple(
            None if rate is None else changed(bucket, rate, max(1.0, rate * _CAPACITY_SECONDS / 60), now_ns)
            for bucket, rate in zip(self._buckets, rates, strict=True)
        )


class Accounts:
    """The accounts of all callers that have limits of their own.

    Attributes:
        freed: pools in which requests may go now, because an account allows more, or holds back the next request. Until
            the pools have been looked at.
        budgets: the budgets of all callers. They are not part of `dump`.
    """

    __slots__ = ("_by_name", "_configured", "budgets", "freed")

    def __init__(self) -> None:
        self.freed: dict[str, None] = {}
        self.budgets = Budgets(self.freed)
        self._configured: dict[str, CallerLimits | None] = {}
        self._by_name: dict[str, Account] = {}

    def dump(self, now_ns: int) -> AccountsState:
        """The state, for `restore`."""
        return tuple(account.dump(now_ns, name) for name, account in sorted(self._by_name.items()))

    @classmethod
    def restore(
        cls, state: AccountsState, now_ns: int, configured: Mapping[str, CallerLimits | None] | None = None
    ) -> Self:
        """Accounts that continue from `state`, with no call in flight. `configured`: the limits as by `configure`."""
        accounts = cls()
        accounts._configured = dict(configured or {})
        accounts._by_name = {each.caller: Account.restore(each, now_ns, accounts) for each in state}
        return accounts

    def dump_work(self) -> tuple[AccountWork, ...]:
        """The pools that each account has to notify, for `restore_work`. Leases have the calls in flight."""
        return tuple(
            AccountWork(name, tuple(account.skipped_in), tuple(account.heads_in))
            for name, account in sorted(self._by_name.items())
        )

    def restore_work(self, work: tuple[AccountWork, ...], waits_in: Callable[[str], AccountWaits]) -> None:
        """Continues from `work`, once the pools are restored. `waits_in` returns the waits in a pool by name."""
        for each in work:
            account = self._by_name[each.caller]
            account.skipped_in.update((pool, waits_in(pool)) for pool in each.skipped_in)
            account.heads_in.update(dict.fromkeys(each.heads_in))

    def known(self, name: str) -> Account:
        """The account of a caller that has made a request under limits."""
        return self._by_name[name]

    @property
    def configured(self) -> Mapping[str, CallerLimits | None]:
        """The limits of `configure`."""
        return self._configured

    def get(self, caller: Caller, now_ns: int) -> Account | None:
        """The account of a caller that makes a new request, under its present limits; None if it has none.

        Waiting requests keep their account: they may have come under other limits.
        """
        limits = self._configured.get(caller.name, caller.limits)
        if limits is None:
            return None
        account = self._by_name.get(caller.name)
        if account is None:
            account = self._by_name[caller.name] = Account(self, limits, now_ns)
        else:
            account.configure(limits, now_ns)
        return account

    def configure(self, limits: Mapping[str, CallerLimits | None], now_ns: int) -> None:
        """Replaces the limits of callers by name, also for their waiting requests. None: no limits.

        From now on these limits count, and not those that a request brings: it may have come before they changed.
        """
        self._configured = dict(limits)
        for name, account in sorted(self._by_name.items()):
            if name in limits:
                account.configure(limits[name] or _NO_LIMITS, now_ns)
