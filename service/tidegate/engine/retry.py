"""The one retry loop: the first attempt runs plainly, tenacity is entered on failure."""

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
"""Hears of each repetition before its wait: reason, number of the attempt that failed, wait in seconds, its error."""


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
    """Makes an attempt (its number, from 1, is the argument) until one succeeds; `first` was the failure of number 1.

    A request that may have been accepted is repeated once only: it may have been billed. No wait passes `deadline_ns`
    (on the monotonic clock). Cancellation ends everything, also a wait. The observer hears of each repetition, for this
    pool; `on_retry`, too.

    Raises:
        UpstreamError: the failure is final: repeating would not help.
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
        # Tenacity's first call stands for the attempt that has failed already.
        limits.attempts += 1
        if limits.attempts == 1:
            raise failed
        return await attempt(limits.attempts)

    retrying = AsyncRetrying(
        sleep=sleep,
        retry=retry_if_exception(_is_worth_repeating),
        wait=limits.wait_seconds,
        stop=limits.are_reached,
        before_sleep=report,
        retry_error_callback=limits.give_up,
    )
    result: T = await retrying(again)
    return result


class _Limits:
    """What tenacity asks about one call: how long to wait, and whether to go on."""

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

    def are_reached(self, state: RetryCallState) -> bool:
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


def _is_worth_repeating(error: BaseException) -> bool:
    return isinstance(error, UpstreamError) and retry_reason(error) is not None


def _failure(state: RetryCallState) -> UpstreamError:
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, UpstreamError):  # the predicate above lets nothing else reach here
        raise TypeError(f"not a failure of the upstream: {error!r}")
    return error
