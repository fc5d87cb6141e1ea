"""The one retry loop. The first attempt runs without tenacity, which is entered on failure."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar

from tenacity import AsyncRetrying, RetryCallState
from tenacity.retry import retry_if_exception

from tidegate.core.domain.errors import RetriesExhausted, UpstreamError, UpstreamUnreachable
from tidegate.core.domain.events import RetryScheduled
from tidegate.core.domain.nanoseconds import to_ns, to_seconds
from tidegate.core.failures.retry_policy import RetryPolicy, retry_reason
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.observer import Observer, ScopeKind, scope_of

__all__ = ["OnRetry", "with_retries"]

T = TypeVar("T")

OnRetry = Callable[[str, int, float, UpstreamError], None]
"""Called before each wait for a retry: reason, number of the failed attempt, wait in seconds, error."""


async def with_retries(
    attempt: Callable[[int], Awaitable[T]],
    policy: RetryPolicy,
    *,
    first: UpstreamError | None = None,
    clock: Clock,
    random: Callable[[], float],
    deadline_ns: int | None = None,
    observer: Observer | None = None,
    pool: str = "",
    on_retry: OnRetry | None = None,
) -> T:
    """Makes attempts until one succeeds.

    A request that may have been accepted is retried once only, because it may have been billed. Cancellation ends
    everything, including a wait.

    Args:
        attempt: makes one attempt. Its argument is the number of the attempt, from 1.
        policy: how often, and after how long, to retry.
        first: the failure of attempt 1, if that was made already.
        clock: the time.
        random: returns a number from 0 to 1, for jitter.
        deadline_ns: no wait ends after this time of the monotonic clock.
        observer: receives an event for each retry.
        pool: the pool that the events name.
        on_retry: called for each retry as well.

    Raises:
        UpstreamError: the failure is final: a retry would not help.
        RetriesExhausted: attempts or time ran out; with the last failure as cause.
    """
    started_ns = clock.monotonic_ns()
    if first is None:
        try:
            return await attempt(1)
        except UpstreamError as error:
            first = error
    failed = first
    if retry_reason(failed) is None:
        raise failed
    limits = _Limits(policy, clock, random, started_ns, deadline_ns)
    reason = ""

    def report(state: RetryCallState) -> None:
        nonlocal reason
        error, wait_seconds = _failure(state), state.upcoming_sleep
        reason = retry_reason(error) or ""
        if observer is not None:
            observer.event(RetryScheduled(pool, reason, limits.attempts, to_ns(wait_seconds)))
        if on_retry is not None:
            on_retry(reason, limits.attempts, wait_seconds, error)

    async def sleep(seconds: float) -> None:
        attributes: dict[str, str | float] = {"tidegate.pool": pool, "tidegate.reason": reason}
        attributes["tidegate.wait_seconds"] = seconds
        with scope_of(observer, ScopeKind.RETRY_WAIT, attributes):
            await asyncio.sleep(seconds)

    async def again() -> T:
        # Tenacity's first call represents the attempt that has failed already.
        limits.attempts += 1
        if limits.attempts == 1:
            raise failed
        return await attempt(limits.attempts)

    retrying = AsyncRetrying(
        sleep=sleep,
        retry=retry_if_exception(_is_worth_retrying),
        wait=limits.wait_seconds,
        stop=limits.are_exhausted,
        before_sleep=report,
        retry_error_callback=limits.give_up,
    )
    try:
        result: T = await retrying(again)
    finally:
        # Both refer to themselves otherwise, and the garbage collector finds old objects only after hours.
        failed.__traceback__ = None
        retrying.iter_state.reset()
    return result


class _Limits:
    """The waits and the end of the retries of one call, as tenacity asks for them."""

    def __init__(
        self,
        policy: RetryPolicy,
        clock: Clock,
        random: Callable[[], float],
        started_ns: int,
        deadline_ns: int | None,
    ) -> None:
        self.attempts = 0
        self._policy = policy
        self._clock = clock
        self._random = random
        self._started_ns = started_ns
        self._deadline_ns = deadline_ns
        self._uncertain = 0

    def wait_seconds(self, state: RetryCallState) -> float:
        return self._policy.wait_seconds(self.attempts - 1, self._random(), _failure(state).retry_after_seconds)

    def are_exhausted(self, state: RetryCallState) -> bool:
        error = _failure(state)
        if isinstance(error, UpstreamUnreachable) and error.may_have_been_accepted:
            self._uncertain += 1
        if self.attempts >= self._policy.max_attempts or self._uncertain > 1:
            return True
        return self._deadline_ns is not None and (
            self._clock.monotonic_ns() + to_ns(state.upcoming_sleep) > self._deadline_ns
        )

    def give_up(self, state: RetryCallState) -> NoReturn:
        error = _failure(state)
        elapsed_seconds = to_seconds(self._clock.monotonic_ns() - self._started_ns)
        raise RetriesExhausted(self.attempts, elapsed_seconds, error) from error


def _is_worth_retrying(error: BaseException) -> bool:
    return isinstance(error, UpstreamError) and retry_reason(error) is not None


def _failure(state: RetryCallState) -> UpstreamError:
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, UpstreamError):  # the predicate above admits nothing else
        raise TypeError(f"not a failure of the upstream: {error!r}")
    return error
