"""The retry policy: which failures are retried, and after how long."""

from typing import Any

import pytest

from tidegate.core.claude.spend_cap import SPEND_CAP_CODES, is_spend_cap
from tidegate.core.domain.errors import ConfigurationError, UpstreamError, UpstreamUnreachable
from tidegate.core.failures.retry_policy import RetryPolicy, retry_reason

CAP_SENTENCE = "You have reached your specified API usage limits. You will regain access on 2026-12-01."


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (429, "rate_limited"),
        (529, "overloaded"),
        (500, "server_error"),
        (502, "server_error"),
        (503, "server_error"),
        (504, "timeout"),
        (400, None),
        (401, None),
        (403, None),
        (404, None),
        (408, None),
        (413, None),
        (422, None),
        (501, None),
    ],
)
def test_by_status(status: int, reason: str | None) -> None:
    assert retry_reason(UpstreamError("failed", status=status)) == reason


class TestAccountWithoutFastMode:
    """No wait helps."""

    MESSAGE = "This request would exceed your rate limit of 0 fast mode input tokens per minute (model: claude-opus-5)."
    HEADERS = ((b"Anthropic-Fast-Input-Tokens-Limit", b"0"),)

    def test_a_limit_of_0_is_final(self) -> None:
        assert retry_reason(UpstreamError(self.MESSAGE, status=429)) is None
        by_header = UpstreamError("no capacity for fast mode", status=429, headers=self.HEADERS)
        assert retry_reason(by_header) is None

    def test_any_other_limit_is_not(self) -> None:
        assert retry_reason(UpstreamError(self.MESSAGE.replace(" 0 ", " 10 "), status=429)) == "rate_limited"
        assert retry_reason(UpstreamError(self.MESSAGE, status=529)) == "overloaded"

    def test_an_answer_at_standard_speed_may_tell_it_too(self) -> None:
        message = "This request would exceed your rate limit of 50 requests per minute."
        assert retry_reason(UpstreamError(message, status=429, headers=self.HEADERS)) == "rate_limited"


@pytest.mark.parametrize(("accepted", "reason"), [(False, "connection"), (True, "timeout")])
def test_no_answer(accepted: bool, reason: str) -> None:  # noqa: FBT001 - a parameter of the table
    assert retry_reason(UpstreamUnreachable("no answer", may_have_been_accepted=accepted)) == reason


@pytest.mark.parametrize(
    ("error_type", "reason"),
    [
        ("overloaded_error", "overloaded"),
        ("api_error", "server_error"),
        ("rate_limit_error", "rate_limited"),
        ("invalid_request_error", None),
        (None, None),
    ],
)
def test_an_error_inside_a_stream_counts_by_its_type(error_type: str | None, reason: str | None) -> None:
    assert retry_reason(UpstreamError("failed", status=200, error_type=error_type)) == reason


@pytest.mark.parametrize("code", sorted(SPEND_CAP_CODES))
def test_a_429_with_a_spend_cap_code_is_final(code: str) -> None:
    error = UpstreamError("limit", status=429, error_code=code)
    assert is_spend_cap(error)
    assert retry_reason(error) is None


def test_a_400_that_says_so_is_a_spend_cap() -> None:
    assert is_spend_cap(UpstreamError(CAP_SENTENCE, status=400))
    assert not is_spend_cap(UpstreamError(CAP_SENTENCE, status=429))
    assert not is_spend_cap(UpstreamError("prompt is too long", status=400))
    assert not is_spend_cap(UpstreamError("slow down", status=429, error_code="other"))


class TestWaits:
    POLICY = RetryPolicy(max_attempts=5, base_delay_seconds=2.0, max_delay_seconds=30.0, jitter_factor=0.25)

    @pytest.mark.parametrize(("repetition", "seconds"), [(0, 2.0), (1, 4.0), (2, 8.0), (3, 16.0), (4, 30.0)])
    def test_doubles_up_to_the_maximum(self, repetition: int, seconds: float) -> None:
        assert self.POLICY.wait_seconds(repetition, fraction=0.5) == seconds

    @pytest.mark.parametrize(("fraction", "seconds"), [(0.0, 6.0), (0.25, 7.0), (0.5, 8.0), (1.0, 10.0)])
    def test_jitter_is_a_share_of_the_wait_in_both_directions(self, fraction: float, seconds: float) -> None:
        assert self.POLICY.wait_seconds(2, fraction) == seconds

    def test_jitter_does_not_pass_the_maximum(self) -> None:
        assert self.POLICY.wait_seconds(4, fraction=1.0) == 30.0

    @pytest.mark.parametrize(("asked", "seconds"), [(0.0, 2.0), (1.0, 2.0), (7.0, 7.0), (45.0, 45.0)])
    def test_never_shorter_than_the_server_asks_even_past_the_maximum(self, asked: float, seconds: float) -> None:
        assert self.POLICY.wait_seconds(0, 0.5, retry_after_seconds=asked) == seconds

    def test_an_absurd_repetition_is_the_maximum(self) -> None:
        assert self.POLICY.wait_seconds(10**6, 0.5) == 30.0

    def test_jitter_may_be_the_whole_wait(self) -> None:
        assert RetryPolicy(jitter_factor=1).wait_seconds(0, 0.0) == 0.0

    def test_no_delay_is_allowed(self) -> None:
        assert RetryPolicy(1, 0.0, 0.0, 0.0).wait_seconds(3, 1.0) == 0.0


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("max_attempts", 0, "at least 1"),
        ("max_attempts", float("inf"), "at least 1"),
        ("base_delay_seconds", -0.1, "a number of seconds, at least 0"),
        ("base_delay_seconds", float("nan"), "a number of seconds, at least 0"),
        ("base_delay_seconds", float("inf"), "a number of seconds, at least 0"),
        ("max_delay_seconds", 1.9, "at least base_delay_seconds"),
        ("max_delay_seconds", float("nan"), "at least base_delay_seconds"),
        ("max_delay_seconds", float("inf"), "at least base_delay_seconds"),
        ("jitter_factor", 1.1, "0 to 1"),
        ("jitter_factor", -0.1, "0 to 1"),
        ("jitter_factor", float("nan"), "0 to 1"),
    ],
)
def test_values_outside_their_range(field: str, value: float, allowed: str) -> None:
    arguments: dict[str, Any] = {field: value}
    with pytest.raises(ConfigurationError) as raised:
        RetryPolicy(**arguments)
    assert (raised.value.field, raised.value.allowed) == (field, allowed)
    assert raised.value.given is value
