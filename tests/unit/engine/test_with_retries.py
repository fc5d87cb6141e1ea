"""The retry loop, with exact times: how often, how long, what is final."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tenacity import AsyncRetrying, RetryCallState

from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.errors import RetriesExhausted, UpstreamError, UpstreamUnreachable
from tidegate.core.domain.nanoseconds import to_ns
from tidegate.core.failures.retry_policy import RetryPolicy
from tidegate.engine.retry import _failure, with_retries

POLICY = RetryPolicy(max_attempts=5, base_delay_seconds=2.0, max_delay_seconds=30.0, jitter_factor=0.25)
OVERLOADED = UpstreamError("overloaded", status=529)
LIMITED = UpstreamError("slow down", status=429, retry_after_seconds=45.0)
UNCERTAIN = UpstreamUnreachable("no answer in time", may_have_been_accepted=True)
REFUSED = UpstreamUnreachable("connection refused", may_have_been_accepted=False)


class Upstream:
    """Fails with the given errors, one per attempt, then answers. Records the time and number of each attempt."""

    def __init__(self, clock: VirtualClock, *errors: BaseException) -> None:
        self.clock = clock
        self.errors = list(errors)
        self.attempts: list[tuple[int, float]] = []

    async def __call__(self, number: int) -> str:
        self.attempts.append((number, self.clock.elapsed_s))
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def run(
    upstream: Callable[[int], Awaitable[str]],
    clock: VirtualClock,
    policy: RetryPolicy = POLICY,
    *,
    fraction: float = 0.5,
    deadline_s: float | None = None,
) -> tuple[str, list[tuple[str, int, float]]]:
    retries: list[tuple[str, int, float]] = []
    deadline_ns = None if deadline_s is None else clock.monotonic_ns() + to_ns(deadline_s)
    answer = run_virtual(
        with_retries(
            upstream,
            policy,
            clock=clock,
            random=lambda: fraction,
            deadline_ns=deadline_ns,
            on_retry=lambda reason, number, seconds, _error: retries.append((reason, number, seconds)),
        ),
        clock,
    )
    return answer, retries


def test_a_success_needs_no_tenacity(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    def enter(*_arguments: object, **_options: object) -> None:
        raise AssertionError("tenacity was entered")

    monkeypatch.setattr(AsyncRetrying, "__init__", enter)
    assert run(Upstream(clock), clock) == ("answer", [])


def test_waits_double_and_each_is_reported_before_it(clock: VirtualClock) -> None:
    upstream = Upstream(clock, OVERLOADED, REFUSED, UpstreamError("internal", status=500), OVERLOADED)
    answer, retries = run(upstream, clock)
    assert answer == "answer"
    assert upstream.attempts == [(1, 0.0), (2, 2.0), (3, 6.0), (4, 14.0), (5, 30.0)]
    assert retries == [
        ("overloaded", 1, 2.0),
        ("connection", 2, 4.0),
        ("server_error", 3, 8.0),
        ("overloaded", 4, 16.0),
    ]


@pytest.mark.parametrize(("fraction", "seconds"), [(0.0, 1.5), (1.0, 2.5)])
def test_jitter_comes_from_the_random_number(clock: VirtualClock, fraction: float, seconds: float) -> None:
    upstream = Upstream(clock, OVERLOADED)
    run(upstream, clock, fraction=fraction)
    assert upstream.attempts == [(1, 0.0), (2, seconds)]


def test_the_server_is_not_asked_again_before_it_wants_even_past_the_maximum(clock: VirtualClock) -> None:
    upstream = Upstream(clock, LIMITED)
    run(upstream, clock)
    assert upstream.attempts == [(1, 0.0), (2, 45.0)]


def test_nobody_needs_to_listen(clock: VirtualClock) -> None:
    upstream = Upstream(clock, OVERLOADED)
    assert run_virtual(with_retries(upstream, POLICY, clock=clock, random=lambda: 0.5), clock) == "answer"


def test_five_attempts_in_all_then_the_last_failure_as_cause(clock: VirtualClock) -> None:
    upstream = Upstream(clock, *[OVERLOADED] * 4, LIMITED, OVERLOADED)
    with pytest.raises(RetriesExhausted) as raised:
        run(upstream, clock)
    assert [number for number, _ in upstream.attempts] == [1, 2, 3, 4, 5]
    assert (raised.value.attempts, raised.value.elapsed_seconds, raised.value.last) == (5, 30.0, LIMITED)
    assert raised.value.__cause__ is LIMITED
    assert clock.elapsed_s == 30.0, "no wait after the last attempt"


def test_a_single_attempt_may_be_the_maximum(clock: VirtualClock) -> None:
    with pytest.raises(RetriesExhausted) as raised:
        run(Upstream(clock, OVERLOADED), clock, RetryPolicy(max_attempts=1))
    assert (raised.value.attempts, raised.value.elapsed_seconds) == (1, 0.0)


class TestFinalErrors:
    @pytest.mark.parametrize(
        "final",
        [
            UpstreamError("bad key", status=401),
            UpstreamError("cap", status=429, error_code="enforced_spend_limit_reached"),
        ],
    )
    def test_raise_as_they_are_at_once(self, clock: VirtualClock, final: UpstreamError) -> None:
        upstream = Upstream(clock, final)
        with pytest.raises(UpstreamError) as raised:
            run(upstream, clock)
        assert raised.value is final
        assert len(upstream.attempts) == 1

    def test_raise_as_they_are_later(self, clock: VirtualClock) -> None:
        final = UpstreamError("bad request", status=400)
        upstream = Upstream(clock, OVERLOADED, final)
        with pytest.raises(UpstreamError) as raised:
            run(upstream, clock)
        assert raised.value is final
        assert upstream.attempts == [(1, 0.0), (2, 2.0)]

    @pytest.mark.parametrize("before", [[], [OVERLOADED]])
    def test_errors_that_are_not_the_upstreams_pass(self, clock: VirtualClock, before: list[UpstreamError]) -> None:
        upstream = Upstream(clock, *before, ZeroDivisionError("a bug"))
        with pytest.raises(ZeroDivisionError):
            run(upstream, clock)
        assert len(upstream.attempts) == len(before) + 1


class TestUncertain:
    def test_a_request_that_may_have_been_accepted_is_repeated_once(self, clock: VirtualClock) -> None:
        upstream = Upstream(clock, UNCERTAIN, UNCERTAIN)
        with pytest.raises(RetriesExhausted) as raised:
            run(upstream, clock)
        assert (raised.value.attempts, raised.value.last) == (2, UNCERTAIN)

    def test_counted_over_all_attempts(self, clock: VirtualClock) -> None:
        upstream = Upstream(clock, UNCERTAIN, OVERLOADED, UNCERTAIN)
        with pytest.raises(RetriesExhausted) as raised:
            run(upstream, clock)
        assert raised.value.attempts == 3

    def test_a_refused_connection_is_certain(self, clock: VirtualClock) -> None:
        assert run(Upstream(clock, *[REFUSED] * 4), clock)[0] == "answer"


class TestDeadline:
    def test_a_wait_that_ends_at_the_deadline_is_made(self, clock: VirtualClock) -> None:
        assert run(Upstream(clock, OVERLOADED), clock, deadline_s=2.0)[0] == "answer"

    def test_a_wait_that_would_pass_it_is_not(self, clock: VirtualClock) -> None:
        with pytest.raises(RetriesExhausted) as raised:
            run(Upstream(clock, OVERLOADED, OVERLOADED), clock, deadline_s=5.9)
        assert (raised.value.attempts, clock.elapsed_s) == (2, 2.0)

    def test_a_wait_that_the_server_asks_for_and_that_would_pass_it_is_not(self, clock: VirtualClock) -> None:
        with pytest.raises(RetriesExhausted) as raised:
            run(Upstream(clock, LIMITED), clock, deadline_s=40.0)
        assert (raised.value.attempts, raised.value.last, clock.elapsed_s) == (1, LIMITED, 0.0)


class TestCancellation:
    def cancelled_after(self, seconds: float, upstream: Callable[[int], Awaitable[str]], clock: VirtualClock) -> None:
        async def main() -> None:
            task = asyncio.ensure_future(with_retries(upstream, POLICY, clock=clock, random=lambda: 0.5))
            asyncio.get_running_loop().call_later(seconds, task.cancel)
            with pytest.raises(asyncio.CancelledError):
                await task

        run_virtual(main(), clock)

    def test_ends_a_wait(self, clock: VirtualClock) -> None:
        upstream = Upstream(clock, OVERLOADED)
        self.cancelled_after(1.0, upstream, clock)
        assert (len(upstream.attempts), clock.elapsed_s) == (1, 1.0)

    @pytest.mark.parametrize("failures", [0, 1])
    def test_ends_an_attempt(self, clock: VirtualClock, failures: int) -> None:
        async def hanging(number: int) -> str:
            if number <= failures:
                raise OVERLOADED
            await asyncio.sleep(3600)
            return "late"

        self.cancelled_after(10.0, hanging, clock)
        assert clock.elapsed_s == 10.0


def test_the_loop_asks_only_about_failures_of_the_upstream() -> None:
    state = RetryCallState(AsyncRetrying(), None, (), {})
    with pytest.raises(TypeError, match="not a failure of the upstream: None"):
        _failure(state)
