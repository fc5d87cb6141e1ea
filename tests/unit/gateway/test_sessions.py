"""Sessions, agents and classes: from header fields to the demand on the pool."""

from collections.abc import Mapping, Sequence

import pytest

from support.asgi_client import Answer, call
from support.claude_code import COUNTING, WITH_HINTS, captured
from support.demands import demands_of
from support.gateway import MESSAGE, FakeTransport, Reply, error, make_gateway
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.caller import Priority
from tidegate.core.domain.demand import Demand
from tidegate.identity.identify import Identifier, key_hash
from tidegate.settings import CallerSettings

KEY = "sk-ant-removed"
"""The key that stands in the captured requests in place of the one that was sent."""


def send(
    headers: Mapping[str, str],
    *,
    path: str = "/v1/messages",
    answers: Sequence[Reply | Exception] = (Reply(),),
) -> tuple[Answer, list[Demand], FakeTransport]:
    clock, transport = VirtualClock(), FakeTransport(answers)
    caller = CallerSettings(name="team", key_sha256=key_hash(KEY), priority=Priority.INTERACTIVE)
    rig = make_gateway(transport, clock, identifier=Identifier([caller]))
    demands = demands_of(rig.store)
    answer = run_virtual(call(rig.gateway, "POST", path, body=MESSAGE, headers={"x-api-key": KEY, **headers}), clock)
    return answer, demands, transport


def test_requests_of_claude_code_are_queued_by_session_agent_and_class() -> None:
    found = []
    for request in captured(WITH_HINTS):
        answer, (demand,), transport = send(request.passing)
        assert answer.status == 200
        found.append((demand.session, demand.agent, demand.caller.priority))
        ((sent, _),) = transport.requests
        hints = {name.encode(): value.encode() for name, value in request.passing.items() if "claude" in name}
        assert hints.items() <= dict(sent.headers).items()  # they reach the upstream as they came
    session = captured(WITH_HINTS)[0].headers["x-claude-code-session-id"]
    agents = [request.headers["x-claude-code-agent-id"] for request in captured(WITH_HINTS)[2:]]
    main = (session, "", Priority.INTERACTIVE)
    assert found == [main, main, *((session, agent, Priority.STANDARD) for agent in agents)]


def test_other_routes_have_sessions_as_well() -> None:
    (request,) = captured(COUNTING)
    _, (demand,), _ = send(request.passing, path="/v1/messages/count_tokens")
    assert demand.session == request.headers["x-claude-code-session-id"]
    assert (demand.pool, demand.caller.priority) == ("count_tokens", Priority.STANDARD)


def test_our_own_header_fields_stay_here() -> None:
    _, (demand,), transport = send({"x-tidegate-session": "report", "x-tidegate-priority": "batch"})
    assert (demand.session, demand.caller.priority) == ("report", Priority.BATCH)
    ((sent, _),) = transport.requests
    assert not [name for name, _ in sent.headers if name.startswith(b"x-tidegate-") and name != b"x-tidegate-hop"]


def test_a_retry_belongs_to_the_same_session() -> None:
    answer, demands, _ = send({"x-tidegate-session": "report"}, answers=[error(529, "overloaded_error"), Reply()])
    assert answer.status == 200
    assert [demand.session for demand in demands if demand.retry] == ["report"]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens", "/v1/files"])
def test_an_unknown_priority_is_the_clients_error(path: str) -> None:
    answer, demands, transport = send({"x-tidegate-priority": "urgent"}, path=path)
    assert answer.status == 400
    fault = answer.json()["error"]
    assert fault["type"] == "invalid_request_error"
    assert fault["message"] == "x-tidegate-priority: got 'urgent', allowed is interactive, standard, batch"
    assert not demands
    assert not transport.requests
