"""Faults that burn the error budgets, each at the rate of one window: a faster burn would inhibit the slower alert."""

from support.alerting.fault import WAITS, WINDOW_SECONDS, fault
from support.alerting.stack import POOL, Stack

_BROKEN = {"x_simulator_fault": "cut", "timeout_seconds": 1}
"""The connection breaks within the response: it cannot be retried, and counts as an answered attempt."""

_BROKEN_OFF = {"TidegateUpstreamErrors": "A connection that breaks is an error of the upstream."}


@fault("TidegateAvailabilityBurn warning 3d", allows=_BROKEN_OFF, within_seconds=WINDOW_SECONDS)
def one_broken_answer_in_100(stack: Stack) -> None:
    _break(stack, "warning", "3d", 100)


@fault("TidegateAvailabilityBurn warning 1d", allows=_BROKEN_OFF, within_seconds=WINDOW_SECONDS)
def one_broken_answer_in_45(stack: Stack) -> None:
    _break(stack, "warning", "1d", 45)


@fault("TidegateAvailabilityBurn critical 6h", allows=_BROKEN_OFF, within_seconds=WINDOW_SECONDS)
def one_broken_answer_in_20(stack: Stack) -> None:
    _break(stack, "critical", "6h", 20)


@fault("TidegateAvailabilityBurn critical 1h", allows=_BROKEN_OFF, within_seconds=WINDOW_SECONDS)
def one_broken_answer_in_2(stack: Stack) -> None:
    _break(stack, "critical", "1h", 2)
    stack.resolves("TidegateAvailabilityBurn", "warning")


def _break(stack: Stack, severity: str, window: str, calls: int) -> None:
    stack.call()
    with stack.load(*[{}] * (calls - 1), _BROKEN, workers=6, pause_seconds=0):
        stack.fires("TidegateAvailabilityBurn", severity, pool=POOL, window=window)
    stack.resolves("TidegateAvailabilityBurn", severity, window=window)


@fault("TidegateLatencyBurn warning 3d", allows=WAITS, within_seconds=WINDOW_SECONDS)
def one_long_wait_in_13(stack: Stack) -> None:
    _wait(stack, "warning", "3d", 250)


@fault("TidegateLatencyBurn warning 1d", allows=WAITS, within_seconds=WINDOW_SECONDS)
def one_long_wait_in_5(stack: Stack) -> None:
    _wait(stack, "warning", "1d", 75)


@fault("TidegateLatencyBurn critical 6h", allows=WAITS, within_seconds=WINDOW_SECONDS)
def one_long_wait_in_2(stack: Stack) -> None:
    _wait(stack, "critical", "6h", 25)


@fault("TidegateLatencyBurn critical 1h", allows=WAITS, within_seconds=WINDOW_SECONDS)
def only_long_waits(stack: Stack) -> None:
    _wait(stack, "critical", "1h", 0)


def _wait(stack: Stack, severity: str, window: str, at_once: int) -> None:
    """Twenty calls wait for a frozen pool; calls of another pool do not wait."""
    stack.call()
    stack.call("claude-haiku-5-5")
    stack.scraped("tidegate_queue_wait_seconds_count", pools=2)
    with stack.frozen(17), stack.load({"timeout_seconds": 60}, workers=20, pause_seconds=60):
        for _ in range(at_once // 25):
            stack.together(25, model="claude-haiku-5-5")
        stack.fires("TidegateLatencyBurn", severity, pool=POOL, window=window)
    stack.resolves("TidegateLatencyBurn", severity, window=window)
