"""Faults of the upstream, and of its cost."""

from support.alerting.client import MODEL
from support.alerting.fault import FAILS, WAITS, WINDOW_SECONDS, fault
from support.alerting.stack import POOL, Stack

_DEAR = "claude-fable-5-1"
"""50 US dollars per million output tokens."""


@fault("TidegateUpstreamOverloaded warning", "TidegateUpstreamOverloaded critical", allows=FAILS | WAITS)
def overloaded(stack: Stack) -> None:
    _failing(stack, "TidegateUpstreamOverloaded", some=("overloaded", 0.25), every="overloaded")


@fault("TidegateUpstreamErrors warning", "TidegateUpstreamErrors critical", allows=FAILS | WAITS)
def server_errors(stack: Stack) -> None:
    _failing(stack, "TidegateUpstreamErrors", some=("internal_error", 0.2), every="gateway_timeout")


def _failing(stack: Stack, alert: str, *, some: tuple[str, float], every: str) -> None:
    """Fail a share of the calls, for the warning, then all, for the critical alert, which inhibits the warning."""
    stack.call()
    with stack.load({"timeout_seconds": 8}):  # retries hide the first part
        stack.fault(some[0], probability=some[1])
        stack.fires(alert, "warning", pool=POOL)
        stack.silent("critical")
        stack.clear()
        stack.fault(every)
        stack.fires(alert, "critical", pool=POOL)
        stack.fires(alert, "warning", pool=POOL, silenced=True)
        stack.clear()
        stack.resolves(alert, "critical")
    stack.resolves(alert, "warning")


@fault("TidegateUpstreamErrors warning", "TidegateUpstreamErrors critical", allows=FAILS | WAITS)
def statuses_of_a_proxy(stack: Stack) -> None:
    """520 is none of the API's statuses."""
    _failing(stack, "TidegateUpstreamErrors", some=("origin_error", 0.2), every="origin_error")


@fault("TidegateKeyRejected critical", allows=FAILS | WAITS)
def key_revoked(stack: Stack) -> None:
    _rejected(stack, "unauthenticated")


@fault("TidegateKeyRejected critical", allows=FAILS | WAITS)
def key_without_permission(stack: Stack) -> None:
    _rejected(stack, "forbidden")


def _rejected(stack: Stack, kind: str) -> None:
    stack.call()
    with stack.load():
        stack.fault(kind)
        stack.fires("TidegateKeyRejected", "critical", pool=POOL)
        stack.silent("critical", but="TidegateKeyRejected")
        stack.clear()
        stack.resolves("TidegateKeyRejected", "critical")


@fault("TidegateModelNotFound critical", allows=FAILS | WAITS)
def model_retired(stack: Stack) -> None:
    stack.call()
    with stack.load():
        stack.fault("not_found")
        stack.fires("TidegateModelNotFound", "critical", pool=POOL, model=MODEL)
        stack.silent("critical", but="TidegateModelNotFound")
        stack.clear()
        stack.resolves("TidegateModelNotFound", "critical")


@fault("TidegateResponsesSlow warning", allows=WAITS, within_seconds=WINDOW_SECONDS)
def slow_without_streaming(stack: Stack) -> None:
    stack.call(stream=False)
    stack.fault("slow_start", delay_seconds=22)
    with stack.load({"timeout_seconds": 60, "stream": False}, workers=12, pause_seconds=0.5):
        stack.fires("TidegateResponsesSlow", pool=POOL, model=MODEL)
        stack.silent("critical")
        stack.clear()
    with stack.load():
        stack.resolves("TidegateResponsesSlow")


@fault("TidegateUpstreamHangs warning", "TidegateUpstreamHangs critical", allows=FAILS | WAITS)
def hanging_responses(stack: Stack) -> None:
    stack.call()
    late = {"timeout_seconds": 0.5, "stream": False}
    with stack.load(late):
        stack.fault("slow_start", delay_seconds=5, probability=0.4)
        stack.fires("TidegateUpstreamHangs", pool=POOL)
        stack.silent("critical")
        stack.clear()
        stack.fault("slow_start", delay_seconds=5)
        stack.fires("TidegateUpstreamHangs", "critical", pool=POOL)
        stack.fires("TidegateUpstreamHangs", pool=POOL, silenced=True)
        stack.silent("critical", but="TidegateUpstreamHangs")
        stack.clear()
        stack.resolves("TidegateUpstreamHangs", "critical")
    stack.resolves("TidegateUpstreamHangs")


@fault("TidegateAnomalies warning")
def implausible_usage(stack: Stack) -> None:
    stack.call()
    stack.fault("implausible_usage")
    with stack.load():
        stack.fires("TidegateAnomalies", kind="usage")
        stack.silent("critical")
        stack.clear()
        stack.resolves("TidegateAnomalies")


@fault("TidegateUpstreamSlow warning", allows=WAITS, within_seconds=WINDOW_SECONDS)
def slow_to_first_token(stack: Stack) -> None:
    stack.call()
    stack.fault("slow_start", delay_seconds=11)
    with stack.load({"timeout_seconds": 30}, workers=8, pause_seconds=0.5):
        stack.fires("TidegateUpstreamSlow", pool=POOL, model=MODEL)
        stack.clear()
        stack.resolves("TidegateUpstreamSlow")


@fault("TidegateSpendCapReached critical", allows=FAILS | WAITS)
def spend_cap(stack: Stack) -> None:
    stack.call()
    stack.fault("spend_cap", count=1)
    with stack.load():
        stack.fires("TidegateSpendCapReached", "critical")
        stack.fires("TidegateRefusals", pool=POOL, cause="spend_cap", silenced=True)
        stack.configure(pool=POOL)  # ends the spend cap
    stack.resolves("TidegateSpendCapReached", "critical")


@fault("TidegateSpendUnusual warning", simulator=("--per-token-seconds", "0", "--output-tokens-per-minute", "9000000"))
def spending_far_more_than_before(stack: Stack) -> None:
    with stack.load(workers=1, pause_seconds=1):
        stack.wait_for(lambda: stack.query("tidegate:cost_usd:increase1h offset 35s"), "a usual hour")
        stack.together(4, model=_DEAR, max_tokens=128_000, timeout_seconds=40, x_simulator_output_tokens="100000")
        stack.fires("TidegateSpendUnusual")
        stack.resolves("TidegateSpendUnusual")


@fault("TidegateUnpricedModel warning")
def unpriced_model(stack: Stack) -> None:
    stack.call("claude-mythos-5")
    stack.fires("TidegateUnpricedModel", model="claude-mythos-5")
    stack.restart("a")  # loads a new price list
    stack.resolves("TidegateUnpricedModel")


@fault(
    "TidegateUpstreamIsSimulator warning",
    simulated=True,
    allows={"TidegateUnpricedModel": "A model of the simulator is called."},
)
def simulator_instead_of_claude(stack: Stack) -> None:
    stack.fires("TidegateUpstreamIsSimulator")
    # There are no alerts about cost and unknown models of a simulator.
    stack.call("claude-mythos-5")
    stack.fires("TidegateUnpricedModel", model="claude-mythos-5", silenced=True)
    stack.stop("a")
    stack.resolves("TidegateUpstreamIsSimulator")
