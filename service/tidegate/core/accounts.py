"""Callers' own limits. They span all pools, and are reserved in the same step as the quota of the pool."""

from collections.abc import Callable
from typing import Final, NamedTuple

from tidegate.core.bucket import TokenBucket, changed
from tidegate.core.caller import Caller, CallerLimits
from tidegate.core.dimension import MICRO, Cost

__all__ = ["Account", "Accounts", "Exceeded"]

_CAPACITY_SECONDS: Final = 10.0
"""A bucket holds what its rate brings in this time, as the buckets of a pool with a configured limit do."""
_RATES: Final = ("requests_per_minute", "input_tokens_per_minute", "output_tokens_per_minute")
_CONCURRENCY: Final = "max_concurrent"


class Exceeded(NamedTuple):
    """A limit that holds a caller back.

    Attributes:
        limit: the field of `CallerLimits`.
        wait_ns: how long until the limit allows the request; None: until another call of the caller ends.
    """

    limit: str
    wait_ns: int | None


class Account:
    """What one caller has used of its own limits.

    A request larger than a bucket goes when the bucket is full, and leaves it in debt.
    """

    __slots__ = ("_accounts", "_buckets", "_limits", "_waits_in", "in_flight")

    def __init__(self, accounts: "Accounts", limits: CallerLimits, now_ns: int) -> None:
        self.in_flight = 0
        self._accounts = accounts
        self._waits_in: dict[str, None] = {}  # pools in which requests of the caller are skipped
        self._buckets: tuple[TokenBucket | None, ...] = (None, None, None)
        self._limits = limits
        self._apply(limits, now_ns)

    def configure(self, limits: CallerLimits, now_ns: int) -> None:
        """Goes on under other limits. Levels stay as they are; a limit that is new begins with a full bucket."""
        if limits != self._limits:
            self._limits = limits
            self._apply(limits, now_ns)
            self._free()

    def exceeded(self, cost: Cost, now_ns: int) -> Exceeded | None:
        """The limit that holds a request of this cost back for longest; None if it may go."""
        most = self._limits.max_concurrent
        if most is not None and self.in_flight >= most:
            return Exceeded(_CONCURRENCY, None)
        return self._longest(TokenBucket.wait_ns, cost, now_ns)

    def drained(self, cost: Cost, now_ns: int) -> Exceeded | None:
        """The rate that takes longest to let all of this go, request by request; None if it may go now."""
        return self._longest(TokenBucket.refill_ns, cost, now_ns)

    def take(self, cost: Cost, now_ns: int) -> None:
        """A request of the caller goes."""
        self.correct(cost, now_ns)

    def correct(self, cost: Cost, now_ns: int) -> None:
        """So much more was used than was known; negative: less."""
        gives_back = False
        for bucket, units in zip(self._buckets, cost, strict=True):
            if bucket is not None and units:
                bucket.correct(units * MICRO, now_ns)
                gives_back = gives_back or units < 0
        if gives_back:
            self._free()

    def leased(self) -> None:
        """A call begins."""
        self.in_flight += 1

    def ended(self) -> None:
        """A call ended."""
        self.in_flight -= 1
        self._free()

    def waits_in(self, pool: str) -> None:
        """Requests of the caller are skipped in this pool until the account allows them."""
        self._waits_in[pool] = None

    def _longest(self, wait: Callable[[TokenBucket, int, int], int], cost: Cost, now_ns: int) -> Exceeded | None:
        limit, longest_ns = "", 0
        for name, bucket, units in zip(_RATES, self._buckets, cost, strict=True):
            if bucket is not None and units and (wait_ns := wait(bucket, units * MICRO, now_ns)) > longest_ns:
                limit, longest_ns = name, wait_ns
        return Exceeded(limit, longest_ns) if longest_ns else None

    def _free(self) -> None:
        self._accounts.freed.update(self._waits_in)
        self._waits_in.clear()

    def _apply(self, limits: CallerLimits, now_ns: int) -> None:
        rates = (limits.requests_per_minute, limits.input_tokens_per_minute, limits.output_tokens_per_minute)
        self._buckets = tuple(
            None if rate is None else changed(bucket, rate, max(1.0, rate * _CAPACITY_SECONDS / 60), now_ns)
            for bucket, rate in zip(self._buckets, rates, strict=True)
        )


class Accounts:
    """The accounts of all callers that have limits of their own.

    Attributes:
        freed: pools in which requests may go now that an account allows more, until somebody looks at them.
    """

    __slots__ = ("_by_name", "freed")

    def __init__(self) -> None:
        self.freed: dict[str, None] = {}
        self._by_name: dict[str, Account] = {}

    def of(self, caller: Caller, now_ns: int) -> Account | None:
        """The account of a caller under the limits that it has now; None if it has none."""
        limits = caller.limits
        if limits is None:
            return None
        account = self._by_name.get(caller.name)
        if account is None:
            account = self._by_name[caller.name] = Account(self, limits, now_ns)
        else:
            account.configure(limits, now_ns)
        return account
