"""Implausible headers of the upstream are counted, and have little effect."""

import asyncio

import pytest

from support.asgi_client import Answer, call
from support.gateway import MESSAGE, FakeTransport, Reply, Rig, error, make_gateway, post
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.events import Anomaly, CircuitOpened, Frozen
from tidegate.core.domain.nanoseconds import NS_PER_SECOND

JSON = (b"content-type", b"application/json")
POOL = "sonnet-5-5"
THREE_DAYS = str(3 * 86_400)


def with_limits(**fields: str) -> Reply:
    """A response with these headers about requests."""
    told = [(f"anthropic-ratelimit-requests-{name}".encode(), value.encode()) for name, value in fields.items()]
    return Reply(headers=[JSON, *told])


def kinds(rig: Rig) -> list[str]:
    assert {event.pool for event in rig.observer.of(Anomaly)} <= {POOL}
    return [event.kind for event in rig.observer.of(Anomaly)]


class TestLimits:
    @pytest.mark.parametrize(
        "absurd",
        [
            with_limits(limit="-5"),
            with_limits(limit="1e12", remaining="1e12"),
            with_limits(remaining="3"),
            Reply(headers=[JSON, *((b"anthropic-ratelimit-requests-limit", value) for value in (b"5", b"6"))]),
        ],
    )
    def test_they_are_as_good_as_none(self, absurd: Reply) -> None:
        answer, rig, _, _ = post([absurd])
        assert (answer.status, kinds(rig)) == (200, [AnomalyKind.LIMITS])
        assert rig.store.snapshot_now(POOL)[0].dimensions[0].upstream_per_minute is None

    def test_a_remainder_above_the_limit_is_cut_to_the_limit(self) -> None:
        answer, rig, _, _ = post([with_limits(limit="60", remaining="1000000000")])
        (requests, *_) = rig.store.snapshot_now(POOL)[0].dimensions
        assert (answer.status, kinds(rig)) == (200, [AnomalyKind.LIMITS])
        assert (requests.upstream_per_minute, requests.capacity) == (60, 1)

    def test_none_at_all_is_counted_for_each_answer(self) -> None:
        assert kinds(post([Reply()])[1]) == [AnomalyKind.LIMITS_MISSING]

    def test_missing_limits_of_endpoints_are_not_counted(self) -> None:
        clock = VirtualClock()
        rig = make_gateway(FakeTransport([Reply()]), clock)
        run_virtual(call(rig.gateway, "POST", "/v1/messages/count_tokens", body=MESSAGE), clock)
        assert kinds(rig) == []


class TestRetryAfter:
    def refused(self, retry_after: str, timeout_seconds: str = "600") -> tuple[Answer, Rig, float]:
        """A 429 with that header, then a success."""
        answers = [error(429, "rate_limit_error", retry_after=retry_after), with_limits(limit="60")]
        answer, rig, _, seconds = post(answers, headers={"x-tidegate-timeout-seconds": timeout_seconds})
        return answer, rig, seconds

    @pytest.mark.parametrize("days", [THREE_DAYS, "Wed, 31 Dec 2099 23:59:59 GMT", "301"])
    def test_after_five_minutes_a_probe_finds_out(self, days: str) -> None:
        answer, rig, seconds = self.refused(days)
        assert (answer.status, seconds) == (200, 300)
        assert kinds(rig) == [AnomalyKind.RETRY_AFTER]
        assert [event.duration_ns for event in rig.observer.of(Frozen)] == [300 * NS_PER_SECOND]

    def test_a_client_that_cannot_wait_so_long_gets_the_429_of_the_upstream(self) -> None:
        answer, _, seconds = self.refused(THREE_DAYS, timeout_seconds="60")
        assert (answer.status, answer.headers["retry-after"], seconds) == (429, THREE_DAYS, 0)

    @pytest.mark.parametrize("nothing", ["0", "-20", "soon", "Sun, 06 Nov 1994 08:49:37 GMT"])
    def test_one_that_asks_for_no_wait_is_met_with_our_own(self, nothing: str) -> None:
        answer, rig, seconds = self.refused(nothing)
        assert answer.status == 200
        assert 1 <= seconds <= 3
        assert kinds(rig) == [AnomalyKind.RETRY_AFTER]

    def test_an_upstream_that_always_says_0_is_not_asked_all_the_time(self) -> None:
        never = error(429, "rate_limit_error", retry_after="0")
        clock = VirtualClock()
        transport = FakeTransport([never])
        rig = make_gateway(transport, clock)
        headers = {"x-tidegate-timeout-seconds": "120"}

        async def both() -> None:
            calls = (call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, headers=headers) for _ in range(20))
            await asyncio.gather(*calls)

        run_virtual(both(), clock)
        assert len(transport.requests) <= 120
        assert set(kinds(rig)) == {AnomalyKind.RETRY_AFTER}

    def test_a_date_is_read_by_the_upstreams_clock(self) -> None:
        fields = {"retry_after": "Thu, 01 Jan 1970 01:00:40 GMT", "date": "Thu, 01 Jan 1970 01:00:00 GMT"}
        answers = [error(429, "rate_limit_error", **fields), with_limits(limit="60")]
        answer, rig, _, seconds = post(answers)
        assert (answer.status, seconds) == (200, 40)
        assert kinds(rig) == [AnomalyKind.RETRY_AFTER]


def test_a_spend_cap_ends_when_it_does_by_the_upstreams_clock() -> None:
    capped = error(
        429, "rate_limit_error", "enforced_spend_limit_reached", date="Thu, 31 Dec 2037 23:00:00 GMT", retry_after=""
    )
    _, rig, _, _ = post([capped])
    assert [event.closes_in_ns for event in rig.observer.of(CircuitOpened)] == [3_600 * NS_PER_SECOND]
