"""The header fields that name the session, the agent and the class of a request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.claude_code import COMPACTION, COUNTING, WITH_HINTS, WITHOUT_HINTS, captured
from tidegate.core.domain.caller import Caller, Priority
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.ports.transport import Fields
from tidegate.identity.sessions import RequestOrigin, origin_of

ANN = Caller("ann")
URGENT = Caller("urgent", priority=Priority.INTERACTIVE)
NIGHTLY = Caller("nightly", priority=Priority.BATCH)


def fields(**named: str) -> Fields:
    return {name.replace("_", "-").encode(): value.encode() for name, value in named.items()}


def test_without_header_fields_a_caller_is_one_session() -> None:
    assert origin_of(ANN, {}) == RequestOrigin(ANN, "", "")


@pytest.mark.parametrize("run", [WITH_HINTS, WITHOUT_HINTS])
def test_the_main_turn_of_claude_code_and_its_subagents_are_agents_of_one_session(run: str) -> None:
    first, second, *subagents = [origin_of(ANN, request.fields) for request in captured(run)]
    sessions = {origin.session for origin in (first, second, *subagents)}
    assert sessions == {captured(run)[0].headers["x-claude-code-session-id"]}
    assert first.agent == second.agent == ""
    assert [origin.agent for origin in subagents] == [
        request.headers["x-claude-code-agent-id"] for request in captured(run)[2:]
    ]
    assert len({origin.agent for origin in subagents}) == 2


def test_class_hints_of_claude_code_let_the_main_turn_go_first() -> None:
    requests = [*captured(WITH_HINTS), *captured(COMPACTION), *captured(COUNTING)]
    classes = [
        (request.headers["x-claude-code-request-class"], origin_of(URGENT, request.fields).caller.priority)
        for request in requests
    ]
    assert classes == [
        ("main", Priority.INTERACTIVE),
        ("main", Priority.INTERACTIVE),
        ("subagent", Priority.STANDARD),
        ("subagent", Priority.STANDARD),
        ("compaction", Priority.INTERACTIVE),
        ("auxiliary", Priority.STANDARD),
    ]
    assert {origin_of(URGENT, request.fields).caller.priority for request in captured(WITHOUT_HINTS)} == {
        Priority.INTERACTIVE
    }


@pytest.mark.parametrize(
    ("request_class", "agent", "priority"),
    [
        ("workflow", "a1", Priority.STANDARD),
        ("compaction", "a1", Priority.STANDARD),  # of a subagent's conversation
        ("side_reply", "", Priority.INTERACTIVE),  # sent by version 2.1.332, and not documented
        ("from_the_future", "a1", Priority.INTERACTIVE),
        ("", "", Priority.INTERACTIVE),
    ],
)
def test_classes_that_were_not_captured(request_class: str, agent: str, priority: Priority) -> None:
    named = fields(x_claude_code_request_class=request_class, x_claude_code_agent_id=agent)
    assert origin_of(URGENT, named).caller.priority is priority


def test_our_own_fields_go_before_those_of_claude_code() -> None:
    named = fields(
        x_tidegate_session="nightly-report",
        x_tidegate_priority="interactive",
        x_claude_code_session_id="0123",
        x_claude_code_agent_id="a1",
        x_claude_code_request_class="subagent",
    )
    assert origin_of(URGENT, named) == RequestOrigin(URGENT, "nightly-report", "a1")


@pytest.mark.parametrize("caller", [URGENT, ANN, NIGHTLY])
@pytest.mark.parametrize("asked", Priority)
def test_a_request_can_lower_its_class_and_never_raise_it(caller: Caller, asked: Priority) -> None:
    found = origin_of(caller, fields(x_tidegate_priority=asked.upper())).caller
    assert found == caller.lowered(asked)
    assert found.rank == max(caller.rank, Caller("", priority=asked).rank)


@pytest.mark.parametrize("given", ["urgent", "", "standard, batch"])
def test_an_unknown_priority_is_refused_with_what_is_allowed(given: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        origin_of(ANN, fields(x_tidegate_priority=given))
    assert str(caught.value) == f"x-tidegate-priority: got {given!r}, allowed is interactive, standard, batch"


@given(st.binary(max_size=10_000), st.binary(max_size=10_000))
def test_an_id_is_short_plain_text_and_the_same_id_for_the_same_name(one: bytes, other: bytes) -> None:
    found = [origin_of(ANN, {b"x-tidegate-session": name}).session for name in (one, other)]
    agents = [origin_of(ANN, {b"x-claude-code-agent-id": name}).agent for name in (one, other)]
    assert found == agents
    assert all(len(name) <= 64 and name.isascii() and (name.isprintable()) for name in found)
    assert (found[0] == found[1]) == (one == other)
    assert (found[0] == "") == (one == b"")


def test_a_short_plain_id_is_kept() -> None:
    for name in ("6f1c0f8e-2a51-4a3c-8f0e-0b6c1a4d9e11", "team.a:build_7", "x" * 64):
        assert origin_of(ANN, fields(x_tidegate_session=name)).session == name
    assert origin_of(ANN, fields(x_tidegate_session="x" * 65)).session != "x" * 65
