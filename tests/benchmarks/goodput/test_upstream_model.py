"""The simulated API without HTTP, compared with traces computed by hand."""

import math
import random
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from benchmarks.goodput.upstream_model import Accepted, Rejected, SimulatedUpstream
from benchmarks.goodput.workload import RequestShape
from claude_simulator.limits.dimension import Dimension
from claude_simulator.limits.pool_limits import PoolLimits, Refill
from claude_simulator.limits.ramp import RampLimit
from claude_simulator.scenarios.latency import Latency
from claude_simulator.scenarios.scenario import (
    Change,
    Competitor,
    HeaderOptions,
    HeadersAt,
    Outage,
    Scenario,
    SpendCap,
    SpendCapKind,
)

MODEL = "claude-sonnet-5-5"
LIMITS = PoolLimits(requests_per_minute=60, input_tokens_per_minute=6_000, output_tokens_per_minute=1_200)
ASK = RequestShape(model=MODEL, input_tokens=10, output_tokens=1)
UNIX = 1_795_498_270.0  # 2026-11-24T05:31:10Z


def seeded(seed: int = 1) -> random.Random:
    return random.Random(seed)  # noqa: S311 - repeats on purpose


def make_upstream(seed: int = 1, **changes: Any) -> SimulatedUpstream:
    """By default responses start after 2 s and take 0.1 s per token."""
    latency = Latency(first_token_seconds=2, per_token_seconds=0.1)
    scenario = Scenario(**{"limits": LIMITS, "latency": latency, **changes})
    return SimulatedUpstream(scenario, seeded(seed), 0, unix_offset_seconds=UNIX)


def accepted(outcome: Accepted | Rejected) -> Accepted:
    assert isinstance(outcome, Accepted)
    return outcome


def rejected(outcome: Accepted | Rejected) -> Rejected:
    assert isinstance(outcome, Rejected)
    return outcome


def levels(upstream: SimulatedUpstream, now_seconds: float, model: str = MODEL) -> tuple[float, ...]:
    """Requests, input tokens, output tokens."""
    return tuple(round(dimension.level, 6) for dimension in upstream.view(model, now_seconds).values())


def charged(upstream: SimulatedUpstream, now_seconds: float) -> tuple[float, ...]:
    return tuple(round(amount, 6) for amount in upstream.charged(MODEL, now_seconds).values())


def remaining(headers: Any, name: str) -> str:
    return str(headers[f"anthropic-ratelimit-{name}-remaining"])


def test_one_request_by_hand() -> None:
    """3,000 tokens are taken for 2,700 (3.6 characters each). 200 tokens of output come from 2 s on, 10 a second."""
    upstream = make_upstream()
    request = RequestShape(model=MODEL, input_tokens=3_000, output_tokens=200, characters_per_token=3.6)
    outcome = accepted(upstream.attempt(request, 0))

    assert (outcome.first_token_seconds, outcome.finish_seconds) == (2, 22)
    assert (outcome.input_tokens, outcome.output_tokens) == (3_000, 200)
    assert levels(upstream, 0) == (59, 3_300, 1_200)
    assert levels(upstream, 1) == (60, 3_400, 1_200)
    assert levels(upstream, 2) == (60, 3_200, 1_200)  # corrected by -300
    assert levels(upstream, 12) == (60, 4_200, 1_200)  # 10 a second out, 20 a second in
    assert charged(upstream, 12) == (1, 3_000, 100)
    assert charged(upstream, 100) == (1, 3_000, 200)


def test_output_that_is_faster_than_its_refill_drains_the_bucket() -> None:
    """30 a second out, 20 in: 1,200 - 10 × 120 = 0 after 2 + 120 s, then debt; 20 a second again from 202 s on."""
    upstream = make_upstream(latency=Latency(first_token_seconds=2, per_token_seconds=1 / 30))
    accepted(upstream.attempt(replace(ASK, output_tokens=6_000), 0))

    assert [levels(upstream, at)[2] for at in (2, 62, 122, 202, 242)] == [1_200, 600, 0, -800, 0]
    refusal = rejected(upstream.attempt(ASK, 242))
    assert (refusal.status, refusal.retry_after_seconds, refusal.dimension) == (429, 1, Dimension.OUTPUT_TOKENS)
    assert upstream.seconds_until_fits(ASK, 242) == pytest.approx(0.05)


def test_the_oracle_waits_until_a_request_fits_or_the_next_event() -> None:
    upstream = make_upstream(latency=Latency(first_token_seconds=0, per_token_seconds=0.025))
    accepted(upstream.attempt(replace(ASK, output_tokens=4_000), 0))  # 40 a second for 100 s: to -800

    assert levels(upstream, 80) == (60, 6_000, -400)
    assert upstream.seconds_until_fits(ASK, 80) == 20  # never, at this rate; but the answer ends
    assert upstream.seconds_until_fits(ASK, 100) == pytest.approx(801 / 20)
    assert rejected(upstream.attempt(ASK, 80)).retry_after_seconds == 41  # the server goes by refill alone


def test_a_429_has_the_time_until_the_next_request_fits() -> None:
    upstream = make_upstream()
    for _ in range(60):
        accepted(upstream.attempt(ASK, 0))
    refusal = rejected(upstream.attempt(ASK, 0.25))

    assert (refusal.status, refusal.retry_after_seconds, refusal.error_code) == (429, 1, None)
    assert refusal.headers["retry-after"] == "1"
    assert remaining(refusal.headers, "requests") == "0"
    assert upstream.seconds_until_fits(ASK, 0.25) == 0.75
    accepted(upstream.attempt(ASK, 1))


def test_a_client_that_disconnects_is_charged_for_what_was_produced() -> None:
    upstream = make_upstream()
    outcome = accepted(upstream.attempt(replace(ASK, output_tokens=200), 0))
    upstream.leave(outcome, 7)
    upstream.leave(outcome, 8)

    assert charged(upstream, 30) == (1, 10, 50)
    assert levels(upstream, 30) == (60, 6_000, 1_200)


def test_a_client_that_disconnects_before_the_first_token_is_charged_the_estimate() -> None:
    upstream = make_upstream()
    outcome = accepted(upstream.attempt(replace(ASK, input_tokens=100, characters_per_token=2), 0))
    upstream.leave(outcome, 1)

    assert charged(upstream, 30) == (1, 50, 0)


def test_headers_describe_the_head_or_the_admission() -> None:
    for at, requests_left, reset in (
        (HeadersAt.HEAD, "49", "2026-11-24T05:31:23Z"),
        (HeadersAt.ADMISSION, "57", "2026-11-24T05:31:13Z"),
    ):
        upstream = make_upstream(headers=HeaderOptions(at=at))
        for _ in range(2):
            accepted(upstream.attempt(ASK, 0))
        outcome = accepted(upstream.attempt(ASK, 0))
        for _ in range(10):
            accepted(upstream.attempt(ASK, 0))
        headers = upstream.head_headers(outcome, outcome.first_token_seconds)

        assert remaining(headers, "requests") == requests_left
        assert headers["anthropic-ratelimit-requests-reset"] == reset


def test_tokens_in_headers_are_rounded_as_configured() -> None:
    headers = {}
    for rounding in (1, 1_000):
        upstream = make_upstream(headers=HeaderOptions(token_rounding=rounding))
        outcome = accepted(upstream.attempt(replace(ASK, input_tokens=444), 0))
        headers[rounding] = upstream.head_headers(outcome, 0)

    assert [remaining(headers[rounding], "input-tokens") for rounding in (1, 1_000)] == ["5556", "6000"]


def test_headers_and_retry_after_can_be_hidden() -> None:
    upstream = make_upstream(headers=HeaderOptions(visible=False))
    outcome = accepted(upstream.attempt(replace(ASK, input_tokens=6_000), 0))
    assert upstream.head_headers(outcome, 2) == {}
    assert rejected(upstream.attempt(replace(ASK, input_tokens=150), 0)).headers == {"retry-after": "2"}

    upstream = make_upstream(headers=HeaderOptions(visible=False, retry_after_visible=False))
    accepted(upstream.attempt(replace(ASK, input_tokens=6_000), 0))
    refusal = rejected(upstream.attempt(ASK, 0))
    assert (refusal.headers, refusal.retry_after_seconds) == ({}, None)


def test_a_prefix_is_cached_for_five_minutes_from_the_start_of_the_response() -> None:
    request = replace(ASK, prefix="system", prefix_tokens=1_000)
    upstream = make_upstream()
    uses = []
    for at in (0, 1, 3, 302.5, 700):
        outcome = accepted(upstream.attempt(request, at))
        uses.append((outcome.cache_creation_input_tokens, outcome.cache_read_input_tokens))

    assert uses == [(1_000, 0), (1_000, 0), (0, 1_000), (0, 1_000), (1_000, 0)]
    assert charged(upstream, 700)[1] == 5 * 10 + 3 * 1_000


def test_a_prefix_below_the_minimum_is_plain_input() -> None:
    upstream = make_upstream()
    request = replace(ASK, prefix="system", prefix_tokens=511)
    outcomes = [accepted(upstream.attempt(request, at)) for at in (0, 10)]

    assert [outcome.input_tokens for outcome in outcomes] == [521, 521]


def test_models_of_a_family_share_a_pool_and_others_do_not() -> None:
    upstream = make_upstream(limits_by_family={"claude-opus-5": structs.replace(LIMITS, requests_per_minute=1)})
    for model in ("claude-sonnet-4-5", "claude-sonnet-4-6", "claude-opus-5"):
        accepted(upstream.attempt(replace(ASK, model=model), 0))

    assert levels(upstream, 0, "claude-sonnet-4-5")[0] == 58
    assert levels(upstream, 0) == (60, 6_000, 1_200)
    assert rejected(upstream.attempt(replace(ASK, model="claude-opus-5"), 0)).retry_after_seconds == 60


def test_fixed_windows_refill_at_their_end() -> None:
    upstream = make_upstream(limits=structs.replace(LIMITS, refill=Refill.FIXED_WINDOW))
    for _ in range(60):
        accepted(upstream.attempt(ASK, 10))
    refusal = rejected(upstream.attempt(ASK, 30.5))

    assert refusal.retry_after_seconds == 30
    assert refusal.headers["anthropic-ratelimit-requests-reset"] == "2026-11-24T05:32:10Z"
    accepted(upstream.attempt(ASK, 60))
    assert upstream.attainable(MODEL, 61)[Dimension.REQUESTS] == 120


def test_limits_change_at_their_times() -> None:
    changes = (Change(at_seconds=10, requests_per_minute=30), Change(at_seconds=20, requests_per_minute=120))
    upstream = make_upstream(changes=changes)

    assert levels(upstream, 9)[0] == 60
    assert levels(upstream, 10)[0] == 30
    assert levels(upstream, 25)[0] == 40  # 2 a second, up from 30
    assert upstream.view(MODEL, 25)[Dimension.REQUESTS].limit_per_minute == 120
    assert upstream.attainable(MODEL, 25)[Dimension.REQUESTS] == 60 + 10 + 5 + 10


def test_a_change_of_one_family_leaves_the_others() -> None:
    upstream = make_upstream(changes=(Change(at_seconds=1, requests_per_minute=6, family="claude-opus-5"),))

    assert levels(upstream, 2)[0] == 60
    assert levels(upstream, 2, "claude-opus-5")[0] == 6


def test_a_competitor_uses_the_same_buckets_while_it_is_active() -> None:
    """One request of 100 tokens every 2 s from 10 s up to 20 s: five of them."""
    competitor = Competitor(
        requests_per_minute=30,
        pattern="steady",  # type: ignore[arg-type]  # equal to the member
        input_tokens=100,
        output_tokens=10,
        start_seconds=10,
        stop_seconds=20,
    )
    upstream = make_upstream(competitors=(competitor,), limits=structs.replace(LIMITS, requests_per_minute=6))

    assert [levels(upstream, at)[0] for at in (9, 10, 12, 18)] == [6, 5, 4.2, 1.8]
    assert upstream.attainable(MODEL, 60)[Dimension.REQUESTS] == 6 + 6 - 5
    assert upstream.attainable(MODEL, 60)[Dimension.INPUT_TOKENS] == 12_000 - 500
    assert upstream.attainable(MODEL, 60)[Dimension.OUTPUT_TOKENS] == pytest.approx(2_400 - 50)
    assert charged(upstream, 60) == (0, 0, 0)


@pytest.mark.parametrize(("patience_seconds", "gets"), [(2.0, 1), (0.0, 0)])
def test_a_competitor_is_served_first_within_its_patience(patience_seconds: float, gets: int) -> None:
    competitor = Competitor(
        requests_per_minute=1,
        pattern="steady",  # type: ignore[arg-type]  # equal to the member
        start_seconds=0.5,
        stop_seconds=1,
        patience_seconds=patience_seconds,
    )
    upstream = make_upstream(competitors=(competitor,))
    for _ in range(60):
        accepted(upstream.attempt(ASK, 0))

    assert levels(upstream, 0.5)[0] == 0.5 - gets
    assert upstream.attainable(MODEL, 60)[Dimension.REQUESTS] == 120 - gets


def test_arrivals_of_competitors_do_not_depend_on_the_client() -> None:
    competitor = Competitor(requests_per_minute=30, input_tokens=9, output_tokens=1, patience_seconds=60)

    def left_for_us(seed: int, client_requests: int) -> list[float]:
        upstream, left = make_upstream(seed=seed, competitors=(competitor,)), []
        for at in range(100):
            for _ in range(client_requests):
                upstream.attempt(ASK, at)
            left.append(upstream.attainable(MODEL, at)[Dimension.REQUESTS])
        return left

    assert left_for_us(1, client_requests=3) == pytest.approx(left_for_us(1, client_requests=0))
    assert left_for_us(1, client_requests=0) != pytest.approx(left_for_us(2, client_requests=0))


def test_an_outage_rejects_all_requests_and_costs_nothing() -> None:
    upstream = make_upstream(outages=(Outage(start_seconds=5, stop_seconds=25),))
    accepted(upstream.attempt(ASK, 4.9))
    outcome = rejected(upstream.attempt(ASK, 5))

    assert (outcome.status, outcome.retry_after_seconds, outcome.dimension) == (529, None, None)
    assert "retry-after" not in outcome.headers
    assert upstream.seconds_until_fits(ASK, 10) == 15
    accepted(upstream.attempt(ASK, 25))
    assert charged(upstream, 25)[0] == 2


def test_refill_above_the_capacity_in_an_outage_is_not_attainable() -> None:
    """A bucket of one second's worth: of the 20 that refill in 20 s, one can be kept."""
    upstream = make_upstream(
        outages=(Outage(start_seconds=5, stop_seconds=25),), limits=structs.replace(LIMITS, enforcement_seconds=1)
    )

    assert upstream.attainable(MODEL, 30)[Dimension.REQUESTS] == 1 + 5 + 1 + 5


def test_an_outage_can_affect_a_share_of_the_requests() -> None:
    upstream = make_upstream(outages=(Outage(start_seconds=0, share=0.25, status=500),))
    outcomes = [upstream.attempt(ASK, at) for at in range(1_000)]
    failed = [outcome for outcome in outcomes if isinstance(outcome, Rejected)]

    assert 200 < len(failed) < 300
    assert {outcome.status for outcome in failed} == {500}
    assert upstream.seconds_until_fits(ASK, 1_000) == 0


@pytest.mark.parametrize(
    ("kind", "status", "error_code"),
    [
        (SpendCapKind.TIER, 429, "enforced_spend_limit_reached"),
        (SpendCapKind.CONTRACT, 429, "contract_spend_limit_reached"),
        (SpendCapKind.OWN, 400, None),
    ],
)
def test_a_spend_cap_refuses_once_it_is_reached(kind: SpendCapKind, status: int, error_code: str | None) -> None:
    """1,000 tokens at 2 USD and 50 at 10 USD a million are 0.0025 USD: reached when the answer is whole, at 7 s."""
    upstream = make_upstream(spend_cap=SpendCap(usd=0.0025, kind=kind, stop_seconds=100))
    accepted(upstream.attempt(replace(ASK, input_tokens=1_000, output_tokens=50), 0))
    accepted(upstream.attempt(replace(ASK, model="claude-opus-5", input_tokens=1, output_tokens=1), 6))
    outcome = rejected(upstream.attempt(ASK, 7))

    assert (outcome.status, outcome.error_code, outcome.retry_after_seconds) == (status, error_code, None)
    assert upstream.seconds_until_fits(ASK, 40) == 60
    accepted(upstream.attempt(ASK, 100))


def test_a_spend_cap_without_an_end_never_ends() -> None:
    assert make_upstream(spend_cap=SpendCap(usd=0)).seconds_until_fits(ASK, 0) == math.inf


def test_a_ramp_limit_refuses_usage_that_grows_too_fast() -> None:
    upstream = make_upstream(ramp=RampLimit(floor_per_minute=10, growth=2))
    for _ in range(10):
        accepted(upstream.attempt(ASK, 0))
    outcome = rejected(upstream.attempt(ASK, 20.5))

    assert (outcome.status, outcome.error_code, outcome.retry_after_seconds) == (429, "ramp_limit_exceeded", 40)
    assert remaining(outcome.headers, "requests") == "60"
    assert upstream.seconds_until_fits(ASK, 30) == 30
    accepted(upstream.attempt(ASK, 60))
    assert upstream.attainable(MODEL, 100)[Dimension.REQUESTS] == 10 + 20
    assert upstream.attainable(MODEL, 100)[Dimension.INPUT_TOKENS] == 6_000 + 10_000


def test_nothing_is_attainable_under_a_ramp_limit_during_an_outage() -> None:
    upstream = make_upstream(
        ramp=RampLimit(floor_per_minute=10, growth=2), outages=(Outage(start_seconds=50, stop_seconds=70),)
    )
    assert [upstream.attainable(MODEL, second)[Dimension.REQUESTS] for second in (49, 69, 70)] == [10, 10, 30]


def test_a_ramp_limit_on_input_counts_corrections() -> None:
    upstream = make_upstream(ramp=RampLimit(floor_per_minute=1_000, growth=2, dimension=Dimension.INPUT_TOKENS))
    accepted(upstream.attempt(replace(ASK, input_tokens=500, characters_per_token=8), 0))

    assert rejected(upstream.attempt(replace(ASK, input_tokens=1), 1)).error_code == "ramp_limit_exceeded"
    accepted(upstream.attempt(replace(ASK, input_tokens=400), 2))  # 1,000 were corrected to 500


def test_the_same_seed_gives_the_same_run() -> None:
    def run(seed: int) -> list[Any]:
        upstream = make_upstream(
            seed=seed,
            outages=(Outage(start_seconds=0, share=0.2),),
            competitors=(Competitor(requests_per_minute=40),),
        )
        return [isinstance(upstream.attempt(ASK, at / 4), Accepted) for at in range(400)]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_a_very_short_response_is_charged_at_once() -> None:
    upstream = make_upstream(latency=Latency(first_token_seconds=1, per_token_seconds=5e-324))
    accepted(upstream.attempt(replace(ASK, output_tokens=100), 0))

    assert charged(upstream, 0.9)[2] == 0
    assert charged(upstream, 1)[2] == 100


def test_ended_responses_leave_no_outflow() -> None:
    upstream = make_upstream()
    for number in range(1, 40):
        accepted(upstream.attempt(replace(ASK, output_tokens=number), number / 7))

    assert upstream.view(MODEL, 5)[Dimension.OUTPUT_TOKENS].outflow_per_second > 100
    assert upstream.view(MODEL, 60)[Dimension.OUTPUT_TOKENS].outflow_per_second == 0


def test_a_debt_is_paid_off_in_an_outage_before_anything_is_lost() -> None:
    """One second's worth is 20 tokens; 420 come at 4 s: 380 in debt at 5 s. Of 800 that refill, 400 are of use."""
    upstream = make_upstream(
        outages=(Outage(start_seconds=5, stop_seconds=45),),
        limits=structs.replace(LIMITS, enforcement_seconds=1),
        latency=Latency(first_token_seconds=1, per_token_seconds=0),
    )
    accepted(upstream.attempt(replace(ASK, output_tokens=420), 3))

    assert levels(upstream, 5)[2] == -380
    assert levels(upstream, 45)[2] == 20
    assert upstream.attainable(MODEL, 45)[Dimension.OUTPUT_TOKENS] == 20 + 5 * 20 + 380 + 20
