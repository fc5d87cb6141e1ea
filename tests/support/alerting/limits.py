"""Faults of limits, quota and queue."""

from pathlib import Path
from typing import Any

from support.alerting.fault import WAITS, WINDOW_SECONDS, fault
from support.alerting.stack import CALLERS, POOL, Stack

_MANY_TOKENS = ("--per-token-seconds", "0.0005", "--output-tokens-per-minute", "9000000")

_REDUCED = dict.fromkeys(("TidegateAdaptiveRateLow", "TidegateLimitFell"), "429s reduce the rate.")


@fault("TidegateRateLimitSpike warning", allows=WAITS | _REDUCED)
def spike_of_429s(stack: Stack) -> None:
    stack.call()
    with stack.load({"timeout_seconds": 5}, workers=8):
        stack.fault("rate_limited", probability=0.15, retry_after_seconds=1)
        stack.fires("TidegateRateLimitSpike", pool=POOL)
        stack.silent("critical")
        stack.clear()
    stack.resolves("TidegateRateLimitSpike")


@fault(
    "TidegatePoolFrozen warning",
    "TidegateQuotaUnusedWhileWaiting warning",
    "TidegateQueueGrowing warning",
    allows=WAITS,
)
def frozen_pool(stack: Stack) -> None:
    stack.call()
    with stack.frozen(30), stack.load({"timeout_seconds": 60}, workers=40, pause_seconds=5):
        stack.fires("TidegatePoolFrozen", pool=POOL)
        stack.fires("TidegateQueueGrowing", pool=POOL)
        stack.fires("TidegateQuotaUnusedWhileWaiting", pool=POOL)
        stack.resolves("TidegateQuotaUnusedWhileWaiting")
        stack.resolves("TidegateQueueGrowing")
        stack.resolves("TidegatePoolFrozen")


@fault("TidegateQueueWaitHigh warning", allows=WAITS)
def long_queue_wait(stack: Stack) -> None:
    stack.call()
    with stack.frozen(17):
        stack.together(20, timeout_seconds=57)
        stack.fires("TidegateQueueWaitHigh", pool=POOL, class_="standard")
    stack.resolves("TidegateQueueWaitHigh")


@fault(
    "TidegateAdaptiveRateLow warning",
    variables={"CLAUDE_RATE_LIMIT_DELAY": "0", "MAX_RATE_LIMIT_DELAY": "0"},
    allows={**WAITS, **_REDUCED, "TidegateRateLimitSpike": "The cut is made by 429s."},
)
def adaptive_rate_cut(stack: Stack) -> None:
    generation: dict[str, Any] = {"path": "/api/workflows/generate", "body": {"prompt": "Every hour, fetch the news"}}
    stack.configure(requests_per_minute=1000, burst_limit=100)
    stack.fault("rate_limited_bare", count=8)
    stack.call(**generation, timeout_seconds=30)
    stack.call(**generation, timeout_seconds=30)
    stack.fires("TidegateAdaptiveRateLow", pool="default")
    with stack.load(generation):
        stack.resolves("TidegateAdaptiveRateLow")


@fault(
    "TidegateLimitMismatch warning",
    "TidegateLimitMismatch info",
    toml='pools = [{name = "sonnet-5-5", requests_per_minute = 1500}, {name = "haiku-5-5", requests_per_minute = 500}]',
)
def limits_that_are_not_the_upstreams(stack: Stack) -> None:
    stack.call()
    stack.call("claude-haiku-5-5")
    stack.fires("TidegateLimitMismatch", "warning", pool=POOL, dimension="requests")
    stack.fires("TidegateLimitMismatch", "info", pool="haiku-5-5", dimension="requests")
    stack.configure(pool=POOL, requests_per_minute=1000)
    stack.configure(pool="haiku-5-5", requests_per_minute=1000)
    stack.resolves("TidegateLimitMismatch", "warning")
    stack.resolves("TidegateLimitMismatch", "info")


@fault("TidegateQuotaRunsOut warning", simulator=("--requests-per-minute", "300"))
def growing_use(stack: Stack) -> None:
    stack.call()
    with stack.load(workers=1, pause_seconds=0.6):
        stack.wait_for(lambda: stack.query('tidegate:quota_used:ratio_rate5m{dimension="requests"} > 0.2'), "some use")
        with stack.load(workers=1, pause_seconds=0.4), stack.load(workers=1, pause_seconds=0.7):
            stack.fires("TidegateQuotaRunsOut", pool=POOL, dimension="requests")
    stack.resolves("TidegateQuotaRunsOut")


@fault(
    "TidegateLimitFell warning",
    simulator=("--scenario", str(Path(__file__).with_name("limit_falls.toml"))),
    allows={
        **WAITS,
        "TidegateRateLimitSpike": "The old limit is too high.",
        "TidegateAdaptiveRateLow": "429s reduce the rate.",
    },
    within_seconds=WINDOW_SECONDS,
)
def a_limit_that_falls(stack: Stack) -> None:
    """It falls to a third 45 s after the simulator's start."""
    with stack.load(workers=1, pause_seconds=0.3):
        stack.fires("TidegateLimitFell", pool=POOL, dimension="requests")
        stack.silent("critical")
        stack.resolves("TidegateLimitFell")


@fault("TidegateRefusals warning", allows=WAITS)
def refusals(stack: Stack) -> None:
    stack.call()
    # After a time of being open, the alert on the closed pool, which inhibits this one, fires late.
    stack.wait_for(lambda: stack.query("count_over_time(tidegate_pool_frozen[15s]) >= 13"), "15 s of an open pool")
    with stack.frozen(15), stack.load({"timeout_seconds": 0.5}, workers=8, pause_seconds=0.2):
        stack.fires("TidegateRefusals", pool=POOL, cause="deadline")
        stack.resolves("TidegateRefusals")


@fault(
    "TidegateRefusals warning",
    toml=CALLERS,
    simulator=("--requests-per-minute", "60"),
    allows={name: why for name, why in WAITS.items() if name != "TidegateLatencyBurn"},
)
def a_flood_by_one_caller(stack: Stack) -> None:
    """The flooder is refused, and named. The other caller does not wait, so no objective burns and nobody is paged."""
    stack.call(key="web-key")
    stack.call(key="search-key")
    # Some wait for longer than the objective, and the others are refused because they would.
    patient, hasty = {"key": "search-key", "timeout_seconds": 60}, {"key": "search-key", "timeout_seconds": 2}
    with stack.load({"key": "web-key"}, workers=1, pause_seconds=3):
        with stack.load(patient, workers=20, pause_seconds=0), stack.load(hasty, workers=4, pause_seconds=0.3):
            stack.fires("TidegateRefusals", pool=POOL, cause="deadline", most="search")
            stack.wait_for(
                lambda: stack.query('sum(tidegate_excess_wait_seconds_bucket{le="+Inf"}) > 10'), "long waits"
            )
            stack.stays_silent("TidegateLatencyBurn", "TidegateAvailabilityBurn", seconds=10)
            stack.silent("critical")
        stack.resolves("TidegateRefusals")


@fault("TidegateEstimateDrift warning", simulator=_MANY_TOKENS)
def estimates_that_are_far_too_low(stack: Stack) -> None:
    _answers(stack, first=500, then=4_000)
    stack.fires("TidegateEstimateDrift", "warning", pool=POOL, dimension="output_tokens")
    stack.resolves("TidegateEstimateDrift", "warning")


@fault("TidegateEstimateDrift info", simulator=_MANY_TOKENS)
def estimates_that_are_far_too_high(stack: Stack) -> None:
    _answers(stack, first=4_000, then=20)
    stack.fires("TidegateEstimateDrift", "info", pool=POOL, dimension="output_tokens")
    stack.resolves("TidegateEstimateDrift", "info")


def _answers(stack: Stack, *, first: int, then: int) -> None:
    """A few responses set the estimate for such calls; then many calls are priced by it before it is corrected."""
    stack.together(30, max_tokens=9_000, timeout_seconds=30, x_simulator_output_tokens=str(first))
    stack.scraped("tidegate_estimate_error_ratio_count")
    stack.together(70, max_tokens=9_000, timeout_seconds=30, x_simulator_output_tokens=str(then))


@fault(
    "TidegateClassStarved warning",
    toml=CALLERS,
    simulator=("--requests-per-minute", "20"),
    allows=WAITS,
    within_seconds=WINDOW_SECONDS,
)
def a_class_that_waits_long_for_its_share(stack: Stack) -> None:
    """One admission every three seconds: batch gets a twentieth, and waits longer than the 15 s of the short rules."""
    stack.call(key="web-key")
    # The load that delays the other one ends first.
    with stack.load({"key": "nightly-key", "timeout_seconds": 300}, workers=3):
        with stack.load({"key": "web-key", "timeout_seconds": 60}, workers=8):
            stack.fires("TidegateClassStarved", pool=POOL, class_="batch")
        stack.resolves("TidegateClassStarved")
