"""Faults of an installation that only its operator can mend."""

import json
import urllib.request

from support.alerting.fault import WINDOW_SECONDS, fault
from support.alerting.stack import Stack

BUDGET = '[[budgets]]\nname = "all"\nunit = "tokens"\nlimit = {limit}\nper = "total"\n'


@fault("TidegateReloadRefused warning")
def an_invalid_configuration(stack: Stack) -> None:
    file = stack.folder("a") / "tidegate.toml"
    file.write_text("max_calls = 0")
    stack.reload("a")
    stack.fires("TidegateReloadRefused", instance=stack.addresses[0])
    stack.silent("critical")
    file.write_text("max_calls = 100")
    stack.reload("a")
    stack.resolves("TidegateReloadRefused")


@fault("TidegateStateUnreadable warning", variables={"TIDEGATE_STATE_DIR": "state"})
def a_damaged_state_file(stack: Stack) -> None:
    stack.call()
    port = stack.stop("a")
    (stack.folder("a") / "state/state").write_bytes(b"damaged")
    stack.serve("a", port)
    stack.fires("TidegateStateUnreadable", instance=stack.addresses[0])
    stack.silent("critical")
    stack.restart("a")
    stack.resolves("TidegateStateUnreadable")


@fault("TidegateKeyExpires warning", variables={"TIDEGATE_STATE_DIR": "state", "TIDEGATE_ADMIN_KEY": "the-admin"})
def a_key_that_expires(stack: Stack) -> None:
    keys = "/api/system/keys"
    assert stack.call(path=keys, body={"name": "web", "expires": "3d"}, key="the-admin") == 201
    stack.fires("TidegateKeyExpires")
    stack.silent("critical")
    asked = urllib.request.Request(stack.service + keys, headers={"x-api-key": "the-admin"})  # noqa: S310 - ours
    with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310 - ours
        (made,) = json.load(answer)["keys"]
    assert stack.call(path=f"{keys}/{made['id']}/expire", body={"at": "30d"}, key="the-admin") == 200
    stack.resolves("TidegateKeyExpires")


@fault(
    "TidegateBudgetLow warning",
    "TidegateBudgetUsedUp warning",
    allows={"TidegateBudgetRunsOut": "It runs out."},
    toml=BUDGET.format(limit=1_000),
    variables={"TIDEGATE_STATE_DIR": "state"},
)
def a_budget_that_is_used_up(stack: Stack) -> None:
    def call() -> int:
        return stack.call(max_tokens=850, x_simulator_output_tokens="820")

    assert call() == 200
    stack.fires("TidegateBudgetLow", budget="all")
    assert call() == 429
    stack.fires("TidegateBudgetUsedUp", budget="all")
    stack.fires("TidegateBudgetLow", budget="all", silenced=True)
    stack.silent("critical")
    (stack.folder("a") / "tidegate.toml").write_text(BUDGET.format(limit=10_000))
    stack.reload("a")
    stack.resolves("TidegateBudgetUsedUp")
    stack.resolves("TidegateBudgetLow")


@fault(
    "TidegateBudgetRunsOut warning",
    allows={"TidegateBudgetLow": "It runs out."},
    toml=BUDGET.format(limit=8_000),
    variables={"TIDEGATE_STATE_DIR": "state"},
    within_seconds=WINDOW_SECONDS,
)
def a_budget_that_runs_out(stack: Stack) -> None:
    """It fires once the last 30 s, an hour to the rule, have spent more than a quarter of what is left."""
    with stack.load({"max_tokens": 60, "x_simulator_output_tokens": "50"}, workers=1, pause_seconds=0.5):
        stack.fires("TidegateBudgetRunsOut", budget="all")
        stack.silent("critical")
    stack.resolves("TidegateBudgetRunsOut")
