"""The consequences of a failed attempt for its lease and for the metrics."""

import asyncio

import pytest

from tidegate.core.claude.failures import (
    attempt_status,
    credentials_refusal,
    failed_outcome,
    lease_outcome,
    limited_dimension,
    never_began,
)
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Outcome
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.errors import UpstreamError, UpstreamUnreachable
from tidegate.core.domain.usage import Usage


@pytest.mark.parametrize(
    ("error", "outcome", "used"),
    [
        (UpstreamUnreachable("no answer", may_have_been_accepted=True), Outcome.ABANDONED, None),
        (UpstreamUnreachable("refused", may_have_been_accepted=False), Outcome.RELEASED, None),
        (UpstreamError("slow down", status=429), Outcome.THROTTLED, None),
        (UpstreamError("in a stream", status=200, error_type="rate_limit_error"), Outcome.THROTTLED, None),
        (UpstreamError("in a stream", status=200, error_type="overloaded_error"), Outcome.OVERLOADED, None),
        (UpstreamError("overloaded", status=529), Outcome.OVERLOADED, Cost()),
        (UpstreamError("internal", status=500), Outcome.OVERLOADED, Cost()),
        (UpstreamError("bad request", status=400), Outcome.RELEASED, None),
        (UpstreamError("bad key", status=401), Outcome.RELEASED, None),
    ],
)
def test_each_failure_ends_its_lease_as_documented(error: UpstreamError, outcome: Outcome, used: Cost | None) -> None:
    assert lease_outcome(error) == (outcome, used)


def test_the_usage_of_an_answer_that_failed_is_charged() -> None:
    used = Usage(input_tokens=10, output_tokens=2)
    no_answer = UpstreamUnreachable("no answer", may_have_been_accepted=True)
    assert lease_outcome(no_answer, used) == (Outcome.ABANDONED, Cost(1, 10, 2))
    in_stream = UpstreamError("in a stream", status=200, error_type="overloaded_error")
    assert lease_outcome(in_stream, used) == (Outcome.OVERLOADED, Cost(1, 10, 2))


@pytest.mark.parametrize(
    ("error", "stream_opened", "expected"),
    [
        (UpstreamUnreachable("no answer", may_have_been_accepted=True), False, False),
        (UpstreamUnreachable("no answer", may_have_been_accepted=True), True, True),
        (UpstreamUnreachable("too late", may_have_been_accepted=True, out_of_time=True), False, True),
        (UpstreamError("overloaded", status=529), False, False),
        (UpstreamError("in a stream", status=200, error_type="overloaded_error"), True, True),
    ],
)
def test_no_answer_had_begun_where_we_gave_up_or_a_stream_opened_and_no_more(
    error: UpstreamError, *, stream_opened: bool, expected: bool
) -> None:
    assert never_began(error, stream_opened=stream_opened) is expected


def limited(code: str | None = None, **remaining: str) -> str:
    headers = [(b"Content-Type", b"application/json")]
    for family, value in remaining.items():
        prefix = f"Anthropic-RateLimit-{family.replace('_', '-')}"
        headers += [(f"{prefix}-limit".encode(), b"1000"), (f"{prefix}-remaining".encode(), value.encode())]
    return limited_dimension(UpstreamError("slow down", status=429, error_code=code, headers=headers))


def test_the_dimension_with_the_least_left() -> None:
    assert limited(requests="500", input_tokens="0", output_tokens="900") == "input_tokens"
    assert limited(requests="1", output_tokens="900") == "requests"
    assert limited(requests="senseless", output_tokens="900") == "output_tokens"


def test_the_least_is_one_of_its_own_limit() -> None:
    headers = [
        (b"anthropic-ratelimit-requests-limit", b"10"),
        (b"anthropic-ratelimit-requests-remaining", b"5"),
        (b"anthropic-ratelimit-input-tokens-limit", b"10000"),
        (b"anthropic-ratelimit-input-tokens-remaining", b"100"),
    ]
    assert limited_dimension(UpstreamError("slow down", status=429, headers=headers)) == "input_tokens"


def test_unknown_where_nothing_is_said() -> None:
    assert limited() == "unknown"
    assert limited(requests="") == "unknown"


def test_usage_that_grew_too_fast() -> None:
    assert limited("ramp_limit_exceeded", requests="0") == "acceleration"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UpstreamError("told", status=503), "503"),
        (UpstreamError("told", status=200, error_type="overloaded_error"), "529"),
        (UpstreamError("told", status=200, error_type="api_error"), "500"),
        (UpstreamError("told", status=200, error_type="rate_limit_error"), "429"),
        (UpstreamError("told", status=200, error_type="of_the_future"), "error"),
        (UpstreamUnreachable("told", may_have_been_accepted=False), "error"),
        (UpstreamUnreachable("told", may_have_been_accepted=True), "error"),
        (UpstreamUnreachable("told", may_have_been_accepted=True, out_of_time=True), "deadline"),
        (asyncio.CancelledError(), "abandoned"),
    ],
)
def test_a_failed_attempt_is_counted_by_who_is_to_blame(error: BaseException, status: str) -> None:
    assert attempt_status(error) == status


def test_the_limit_that_a_429_in_fast_mode_hit() -> None:
    headers = (
        (b"anthropic-ratelimit-requests-limit", b"50"),
        (b"anthropic-ratelimit-requests-remaining", b"0"),
        (b"anthropic-fast-output-tokens-limit", b"100"),
        (b"anthropic-fast-output-tokens-remaining", b"0"),
    )
    error = UpstreamError("slow down", status=429, headers=headers)
    assert (limited_dimension(error, fast=True), limited_dimension(error)) == ("output_tokens", "requests")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (UpstreamError("slow down", status=429), "rate_limited"),
        (UpstreamUnreachable("reset", may_have_been_accepted=True), "upstream_error"),
        (UpstreamUnreachable("late", may_have_been_accepted=True, out_of_time=True), "upstream_error"),
        (UpstreamUnreachable("late", may_have_been_accepted=True, out_of_time=True, is_hasty=True), "deadline"),
        (UpstreamError("bad request", status=400), "client_error"),
        (UpstreamError("bad key", status=401), "client_error"),
        (UpstreamError("not allowed", status=403), "upstream_error"),
        (UpstreamError("no such model", status=404), "client_error"),
        (UpstreamError("last of the range", status=499), "client_error"),
        (UpstreamError("internal", status=500), "upstream_error"),
        (UpstreamError("in a stream", status=200, error_type="overloaded_error"), "upstream_error"),
    ],
)
def test_a_call_that_ends_with_an_error_has_the_outcome_of_that_error(error: UpstreamError, outcome: str) -> None:
    assert failed_outcome(error) == outcome


def test_a_401_is_replaced_by_a_refusal_that_names_the_setting() -> None:
    refusal = credentials_refusal(UpstreamError("bad key", status=401))
    assert refusal is not None
    assert refusal.cause is Cause.UPSTREAM_CREDENTIALS
    assert str(refusal) == (
        "the upstream rejects the API key of this service itself: its operator must set a valid ANTHROPIC_API_KEY"
    )


def test_the_refusal_for_the_services_key_names_the_request_of_the_upstream() -> None:
    refusal = credentials_refusal(UpstreamError("bad key", status=401, headers=((b"request-id", b"req_7"),)))
    assert str(refusal).endswith("a valid ANTHROPIC_API_KEY (request-id of the upstream: req_7)")


@pytest.mark.parametrize("status", [0, 400, 403, 404, 500])
def test_other_errors_are_not_replaced(status: int) -> None:
    assert credentials_refusal(UpstreamError("no", status=status)) is None
