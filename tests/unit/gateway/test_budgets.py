"""What a call with a budget costs, and what its client is told."""

import asyncio
import json
from collections.abc import Mapping

from support.asgi_client import Answer, call
from support.gateway import MESSAGE, FakeTransport, Reply, Rig, error, make_gateway, sse, unreachable
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.budget import BudgetRule, BudgetUnit, BudgetWindow, Each, OnExceed, Period, Spender, Spending
from tidegate.core.domain.events import AttemptFinished, BudgetReached, LeaseEnded

USAGE = {"input_tokens": 1_000, "output_tokens": 500, "cache_read_input_tokens": 100}
COST = 1_000 * 2 + 500 * 10 + 100 * 10 // 100
"""In micro-dollars, of claude-sonnet-5-5."""
TOKENS = 1_600
BODY = {**MESSAGE, "model": "claude-sonnet-5-5", "max_tokens": 4_000}
ASKS = {"x-tidegate-report": "cost, budget"}


def message(usage: Mapping[str, int] = USAGE, *, parts: int = 1) -> Reply:
    body = {"type": "message", "model": "claude-sonnet-5-5", "content": [{"type": "text", "text": "x"}], "usage": usage}
    data = json.dumps(body).encode()
    size = len(data) // parts + 1
    return Reply(chunks=[data[start : start + size] for start in range(0, len(data), size)])


def stream(*, breaks: bool = False) -> Reply:
    start = {"type": "message_start", "message": {"usage": {**USAGE, "output_tokens": 1}}}
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x" * 4_000}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 500}}
    events = [f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in (start, text, end)]
    done = b'event: message_stop\ndata: {"type": "message_stop"}\n\n'
    return sse(*events[:2], unreachable()) if breaks else sse(*events, done)


def rule(limit: int = 5_000_000, **changes: object) -> BudgetRule:
    return BudgetRule("day", BudgetUnit.USD, limit, Period.DAY, **changes)  # type: ignore[arg-type]


def calls(
    *answers: Reply, budgets: tuple[BudgetRule, ...] = (), times: int = 1, headers: Mapping[str, str] = ASKS
) -> tuple[list[Answer], Rig]:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport(answers), clock)
    ends = int(clock.wall_seconds()) + 3_600
    rig.store.set_budgets(tuple(BudgetWindow(each, 0, ends) for each in budgets))
    body = {**BODY, "stream": answers[0].headers[0][1].startswith(b"text/event-stream")}

    async def all_calls() -> list[Answer]:
        return [await call(rig.gateway, "POST", "/v1/messages", body=body, headers=headers) for _ in range(times)]

    return run_virtual(all_calls(), clock), rig


def spent(rig: Rig) -> list[int]:
    assert all(each.reserved == 0 for each in rig.store.budgets_now())
    return [each.spent for each in rig.store.budgets_now()]


def test_a_response_is_charged_to_its_budgets_at_the_list_price() -> None:
    tokens = BudgetRule("tokens", BudgetUnit.TOKENS, 10_000)
    (answer,), rig = calls(message(), budgets=(rule(), tokens))
    assert spent(rig) == [COST, TOKENS]
    assert answer.headers["x-tidegate-cost-usd"] == f"0.{COST:06}"
    assert answer.headers["x-tidegate-budget-remaining"].startswith("day;usd=4.")
    (ended,), (attempt,) = rig.observer.of(LeaseEnded), rig.observer.of(AttemptFinished)
    assert tuple(ended.spending) == (COST, TOKENS)
    assert attempt.cost_pico_usd == COST * 1_000_000


def test_the_cost_is_also_told_of_a_response_that_comes_in_parts() -> None:
    (answer,), rig = calls(message(parts=3), budgets=(rule(),))
    assert answer.headers["x-tidegate-cost-usd"] == f"0.{COST:06}"
    assert answer.json()["usage"] == USAGE
    assert spent(rig) == [COST]


def test_a_response_that_breaks_off_before_its_cost_is_known_is_an_error_of_the_api() -> None:
    begun = Reply(200, [(b"content-type", b"application/json")], (b'{"id": ', unreachable(may_have_been_accepted=True)))
    (answer,), _ = calls(begun, budgets=(rule(),))
    assert (answer.status, answer.json()["error"]["type"]) == (502, "api_error")
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-tidegate-request-id"]


def test_a_stream_is_charged_and_says_what_is_left_but_not_yet_its_cost() -> None:
    (answer,), rig = calls(stream(), budgets=(rule(),))
    assert "x-tidegate-cost-usd" not in answer.headers
    assert "x-tidegate-budget-remaining" in answer.headers
    assert spent(rig) == [COST]


def test_a_stream_that_breaks_off_is_charged_what_came() -> None:
    _, rig = calls(stream(breaks=True), budgets=(rule(),))
    (amount,) = spent(rig)
    assert COST // 2 < amount < 20_000


def test_an_error_of_the_upstream_costs_nothing() -> None:
    (answer,), rig = calls(error(400, "invalid_request_error"), budgets=(rule(),))
    assert answer.status == 400
    assert spent(rig) == [0]


def test_without_a_budget_or_a_question_nothing_is_told() -> None:
    (answer,), _ = calls(message(), headers={})
    assert not {"x-tidegate-cost-usd", "x-tidegate-budget-remaining"} & answer.headers.keys()
    (answer,), _ = calls(message(), headers={}, budgets=(rule(),))
    assert "x-tidegate-budget-remaining" not in answer.headers


def test_from_four_fifths_on_every_response_says_what_is_left() -> None:
    answers, rig = calls(message(), budgets=(rule(30 * COST, on_exceed=OnExceed.WARN),), times=30, headers={})
    told = [answer.headers.get("x-tidegate-budget-remaining") for answer in answers]
    assert told[0] is None
    assert told[-1] is not None
    assert [each.percent for each in rig.observer.events if isinstance(each, BudgetReached)] == [80, 100]


def test_a_budget_without_enough_left_refuses_and_says_why_until_when_and_who_can_raise_it() -> None:
    budget = rule(2 * COST, contact="ops@example.com", each=Each.CALLER)
    answers, rig = calls(message(), budgets=(budget,), times=3, headers={})
    refused = answers[-1]
    assert refused.status == 429
    assert refused.headers["x-tidegate-cause"] == "budget"
    assert refused.headers["x-should-retry"] == "false"
    assert refused.headers["retry-after"] == "3600"
    assert refused.headers["x-tidegate-budget-remaining"].startswith("day;usd=0.0")
    text = refused.json()["error"]["message"]
    assert text.startswith("the budget 'day' of 'default' for today has too little left for this call, which will")
    assert f"of ${2 * COST / 1e6:,.4f}, " in text
    assert "it begins anew at " in text
    assert text.endswith("; ops@example.com can raise it")
    assert len(spent(rig)) == 1


def test_calls_that_are_priced_later_are_refused_once_nothing_is_left() -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([Reply()]), clock)
    tokens = BudgetRule("tokens", BudgetUnit.TOKENS, 10)
    rig.store.set_budgets((BudgetWindow(rule(), 0, 9_999), BudgetWindow(tokens, 0, None)))
    caller, paths = Spender("default", "default"), ("messages/batches", "sessions", "sessions/sesn_1/events", "dreams")

    async def statuses() -> list[int]:
        answers = [await call(rig.gateway, "POST", f"/v1/{path}", body={"a": 1}) for path in paths]
        return [each.status for each in answers]

    async def steps() -> None:
        rig.store.spend(caller, Spending(0, 9))
        assert await statuses() == [200] * len(paths)
        assert spent(rig) == [0, 9]
        rig.store.spend(caller, Spending(0, 1))
        assert await statuses() == [429] * len(paths)
        refused = await call(rig.gateway, "POST", "/v1/complete", body={"a": 1})
        assert "whose cost will be known later: of 10 tokens, 10 tokens are spent" in refused.json()["error"]["message"]
        for method, path in (
            ("POST", "/v1/files"),
            ("GET", "/v1/messages/batches"),
            ("POST", "/v1/sessions/a/archive"),
        ):
            assert (await call(rig.gateway, method, path, body={"a": 1})).status == 200

    run_virtual(steps(), clock)


def test_a_call_waits_for_the_calls_that_have_reserved_the_rest() -> None:
    clock = VirtualClock()
    transport = FakeTransport([message()], head_after_seconds=5)
    rig = make_gateway(transport, clock)

    async def both() -> list[Answer]:
        first = asyncio.ensure_future(call(rig.gateway, "POST", "/v1/messages", body=BODY))
        await asyncio.sleep(0.1)
        (left,) = rig.store.budgets_now()
        assert left.reserved > 0
        rig.store.set_budgets((BudgetWindow(rule(left.reserved + COST)),))
        second = await call(rig.gateway, "POST", "/v1/messages", body=BODY)
        return [await first, second]

    rig.store.set_budgets((BudgetWindow(rule()),))
    first, second = run_virtual(both(), clock)
    assert (first.status, second.status) == (200, 200)
    assert int(second.headers["x-tidegate-queue-ms"]) > 4_000


def test_the_upstream_is_not_told_what_the_client_wants_to_know() -> None:
    clock = VirtualClock()
    transport = FakeTransport([message()])
    rig = make_gateway(transport, clock)
    run_virtual(call(rig.gateway, "POST", "/v1/messages", body=BODY, headers=ASKS), clock)
    assert b"x-tidegate-report" not in dict(transport.requests[0][0].headers)
