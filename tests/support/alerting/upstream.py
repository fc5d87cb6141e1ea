"""Faults of the upstream, and of its cost."""

from support.alerting.fault import fault
from support.alerting.stack import MODEL, POOL, Stack

_DEAR = "claude-fable-5-1"
"""50 US dollars per million output tokens."""


@fault("TidegateUpstreamOverloaded warning", "TidegateUpstreamOverloaded critical")
def overloaded(stack: Stack) -> None:
    _failing(stack, "TidegateUpstreamOverloaded", some=("overloaded", 0.25), every="overloaded")


@fault("TidegateUpstreamErrors warning", "TidegateUpstreamErrors critical")
def server_errors(stack: Stack) -> None:
    _failing(stack, "TidegateUpstreamErrors", some=("internal_error", 0.2), every="gateway_timeout")


def _failing(stack: Stack, alert: str, *, some: tuple[str, float], every: str) -> None:
    """Fail a share of the calls, for the warning, then all, for the critical alert, which inhibits the warning."""
    stack.call()
    with stack.load({"timeout_seconds": 1}):
        stack.fault(some[0], probability=some[1])
        stack.fires(alert, "warning", pool=POOL)
        stack.clear()
        stack.fault(every)
        stack.fires(alert, "critical", pool=POOL)
        stack.fires(alert, "warning", pool=POOL, silenced=True)
        stack.clear()
        stack.resolves(alert, "critical")
    stack.resolves(alert, "warning")


@fault("TidegateUpstreamSlow warning")
def slow_to_first_token(stack: Stack) -> None:
    stack.call()
    stack.fault("slow_start", delay_seconds=11)
    with stack.load({"timeout_seconds": 30}, workers=8, pause_seconds=0.5):
        stack.fires("TidegateUpstreamSlow", pool=POOL, model=MODEL)
        stack.clear()
        stack.resolves("TidegateUpstreamSlow")


@fault("TidegateSpendCapReached critical")
def spend_cap(stack: Stack) -> None:
    stack.call()
    stack.fault("spend_cap", count=1)
    with stack.load():
        stack.fires("TidegateSpendCapReached", "critical")
        stack.fires("TidegateRefusals", cause="spend_cap", silenced=True)
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


@fault("TidegateUpstreamIsSimulator warning", simulated=True)
def simulator_instead_of_claude(stack: Stack) -> None:
    stack.fires("TidegateUpstreamIsSimulator")
    # There are no alerts about cost and unknown models of a simulator.
    stack.call("claude-mythos-5")
    stack.fires("TidegateUnpricedModel", model="claude-mythos-5", silenced=True)
    stack.stop("a")
    stack.resolves("TidegateUpstreamIsSimulator")
