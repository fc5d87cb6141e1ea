"""Rate-limit headers: names, rounding and reset times."""

from claude_simulator.limits.dimension import Dimension
from claude_simulator.limits.headers import rate_limit_headers, rfc3339
from claude_simulator.limits.pool_limits import DimensionState

AT = 1_795_498_270.0  # 2026-11-24T05:31:10Z


def test_times_are_rfc_3339_and_rounded_up_to_a_second() -> None:
    assert rfc3339(AT) == "2026-11-24T05:31:10Z"
    assert rfc3339(AT + 0.01) == "2026-11-24T05:31:11Z"


def test_all_twelve_headers_by_hand() -> None:
    state = {
        Dimension.REQUESTS: DimensionState(1_000, 998.7, 0.078),
        Dimension.INPUT_TOKENS: DimensionState(2_000_000, 1_234_499.9, 22.97),
        Dimension.OUTPUT_TOKENS: DimensionState(400_000, 399_500.0, 0.075),
    }

    assert rate_limit_headers(state, unix_seconds=AT) == {
        "anthropic-ratelimit-requests-limit": "1000",
        "anthropic-ratelimit-requests-remaining": "998",
        "anthropic-ratelimit-requests-reset": "2026-11-24T05:31:11Z",
        "anthropic-ratelimit-input-tokens-limit": "2000000",
        "anthropic-ratelimit-input-tokens-remaining": "1234000",
        "anthropic-ratelimit-input-tokens-reset": "2026-11-24T05:31:33Z",
        "anthropic-ratelimit-output-tokens-limit": "400000",
        "anthropic-ratelimit-output-tokens-remaining": "400000",
        "anthropic-ratelimit-output-tokens-reset": "2026-11-24T05:31:11Z",
        "anthropic-ratelimit-tokens-limit": "2400000",
        "anthropic-ratelimit-tokens-remaining": "1634000",
        "anthropic-ratelimit-tokens-reset": "2026-11-24T05:31:33Z",
    }


def test_a_debt_is_shown_as_zero_and_a_pool_of_requests_has_no_token_headers() -> None:
    headers = rate_limit_headers({Dimension.REQUESTS: DimensionState(60, -3.0, 63.0)}, unix_seconds=AT)

    assert headers == {
        "anthropic-ratelimit-requests-limit": "60",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-11-24T05:32:13Z",
    }
