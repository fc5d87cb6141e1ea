"""The README's table of the header fields that Tidegate adds to responses matches the code."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from support.asgi_client import call
from support.gateway import ANSWER, MESSAGE, FakeTransport, Reply, error, make_gateway, sse, unreachable
from support.project import ROOT
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.claude import header_names
from tidegate.core.domain.budget import BudgetRule, BudgetUnit, BudgetWindow, OnExceed
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.failures.retry_policy import RetryPolicy
from tidegate.gateway import forwarded_headers
from tidegate.gateway.gateway_errors import unread_request
from tidegate.gateway.relay_limits import RelayLimits

FRAMING = {"content-length"}
ONCE = RetryPolicy(max_attempts=1)
ONE_A_MINUTE = {"sonnet-5-5": PoolSettings({Dimension.REQUESTS: LimitSettings(per_minute=1, capacity=1)}, None)}
IMPATIENT = {"x-tidegate-timeout-seconds": "1"}
BUDGET = BudgetRule("b", BudgetUnit.USD, 1, on_exceed=OnExceed.WARN)
STREAM = sse(b"event: message_start\ndata: {}\n\n")


def documented() -> set[str]:
    """The names in the table."""
    readme = (ROOT / "service/tidegate/gateway/README.md").read_text()
    _, _, rest = readme.partition("## Header fields that Tidegate adds to responses\n")
    section, _, _ = rest.partition("\n## ")
    return set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))


def added(
    *answers: Reply | Exception,
    method: str = "POST",
    path: str = "/v1/messages",
    headers: Mapping[str, str] | None = None,
    calls: int = 1,
    budget: BudgetRule | None = None,
    **options: Any,
) -> set[str]:
    """The fields of the response to the last call that the upstream did not send."""
    clock = VirtualClock()
    transport = FakeTransport(answers)
    rig = make_gateway(transport, clock, policy=ONCE, **options)
    if budget is not None:
        rig.store.set_budgets((BudgetWindow(budget),))
    body = {**MESSAGE, "stream": "limits" in options}
    received = [run_virtual(call(rig.gateway, method, path, body=body, headers=headers), clock) for _ in range(calls)]
    sent = {
        (name.decode(), value.decode()) for each in answers if isinstance(each, Reply) for name, value in each.headers
    }
    return {name for name, value in received[-1].headers.items() if (name, value) not in sent} - FRAMING


def test_every_field_that_is_added_is_in_the_table_and_every_row_is_true() -> None:
    responses = {
        "relayed": added(Reply()),
        "simulator": added(Reply(), upstream_kind="simulator"),
        "reported": added(Reply(), headers={"x-tidegate-report": "cost"}, budget=BUDGET),
        "refused": added(Reply(), pools=ONE_A_MINUTE, calls=2, headers=IMPATIENT),
        "unreachable": added(unreachable()),
        "not allowed": added(Reply(), method="TRACE"),
        "spend cap": added(error(429, "rate_limit_error", "enforced_spend_limit_reached", x_should_retry="true")),
        "begun by a comment": added(
            error(429, "rate_limit_error", retry_after="40"), STREAM, limits=RelayLimits(comment_seconds=15)
        ),
        "not read": {name.decode() for name, _ in unread_request("api_error", "no", "tg_1")[0]} - FRAMING,
    }
    table = documented()
    assert {kind: names - table for kind, names in responses.items() if names - table} == {}
    assert table - set().union(*responses.values()) == set()


def test_every_name_of_tidegate_is_in_the_table_or_belongs_to_requests() -> None:
    names = {value for name, value in vars(header_names).items() if name.startswith("TIDEGATE_")}
    assert names - set(forwarded_headers._OWN) == {name for name in documented() if name.startswith("x-tidegate-")}


@pytest.mark.parametrize("name", ["x-tidegate-request-id", "x-tidegate-queue-ms", "x-tidegate-attempts"])
def test_the_fields_of_all_calls_are_on_relayed_and_on_refused_ones(name: str) -> None:
    assert name in added(Reply(chunks=(ANSWER,)))
    assert name in added(Reply(), pools=ONE_A_MINUTE, calls=2, headers=IMPATIENT)
