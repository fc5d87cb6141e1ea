"""Answers of the simulated model, as messages and as events."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from claude_simulator.answers.answers import Answer, compose_answer
from claude_simulator.answers.cache import InputUse
from claude_simulator.answers.message_format import MessageMetadata, encode_event, message_events, message_json
from claude_simulator.requests.validation import check_messages
from claude_simulator.scenarios.faults import FaultKind
from tidegate.generation.dsl.check import check_document
from tidegate.generation.prompts import schema_rules

ENVELOPE = {
    "type": "object",
    "properties": {"workflow": {"type": "string"}, "notes": {"type": "array", "items": {"type": "string"}}},
    "required": ["workflow", "notes"],
    "additionalProperties": False,
}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
WEATHER = {"name": "get_weather", "input_schema": {"type": "object", "required": ["city"]}}
CHANGES = st.sampled_from(
    [{}, {"thinking": {"type": "adaptive"}}, {"tools": [WEATHER], "tool_choice": {"type": "any"}}]
)
SHELL = MessageMetadata("msg_1", "claude-sonnet-4-5", InputUse(uncached=10, read=20, written_5m=3, written_1h=4))


def ask(prompt: str, *, fault: FaultKind | None = None, length: int | None = None, **changes: Any) -> Answer:
    body = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 4_000,
        "messages": [{"role": "user", "content": prompt}],
        **changes,
    }
    request = check_messages(body, version="2026-10-21", beta=False)
    return compose_answer(request, fault=fault, output_tokens=length)


def structured(schema: dict[str, Any]) -> dict[str, Any]:
    return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}


def text(answer: Answer) -> str:
    return answer.blocks[-1].text


def test_a_text_answer_is_marked_as_simulated_and_repeats_the_last_message() -> None:
    turns = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "and  now?"},
    ]
    answer = ask("", messages=turns)

    assert text(answer) == "This is a simulated answer, no model was asked. You said: and now?"
    assert (answer.stop_reason, answer.thinking_tokens) == ("end_turn", 0)
    assert answer == ask("", messages=turns)


def test_the_envelope_holds_a_valid_workflow_and_a_note() -> None:
    envelope = json.loads(text(ask("check stock, then charge the card", **structured(ENVELOPE))))

    assert list(envelope) == ["workflow", "notes"]
    assert check_document(json.loads(envelope["workflow"])) == ()
    assert envelope["notes"][0].startswith("simulated answer: ")


def test_a_repair_request_gets_a_valid_document_for_the_first_message() -> None:
    asked = {"role": "user", "content": "check stock"}
    turns = [asked, {"role": "assistant", "content": "{}"}, {"role": "user", "content": "/do/0: is missing"}]

    assert text(ask("", messages=turns, **structured(ENVELOPE))) == text(ask("check stock", **structured(ENVELOPE)))


def test_a_system_prompt_about_workflows_gets_a_document_without_envelope() -> None:
    document = json.loads(text(ask("check stock", system="You write Serverless Workflow documents.")))

    assert [list(task) for task in document["do"]] == [["checkStock"]]


def test_any_other_output_schema_gets_an_instance() -> None:
    instance = json.loads(text(ask("Who?", system="workflow", **structured(PERSON))))

    Draft202012Validator(PERSON).validate(instance)
    assert instance["name"] == "simulated: Who?"


@pytest.mark.parametrize("changes", [structured(ENVELOPE), {"system": "workflow"}])
def test_the_fault_invalid_workflow_breaks_the_document(changes: dict[str, Any]) -> None:
    answered = json.loads(text(ask("check stock", fault=FaultKind.INVALID_WORKFLOW, **changes)))
    document = json.loads(answered["workflow"]) if "workflow" in answered else answered

    assert check_document(document) != ()


def test_the_fault_invalid_workflow_breaks_an_instance() -> None:
    with pytest.raises(json.JSONDecodeError):
        json.loads(text(ask("Who?", fault=FaultKind.INVALID_WORKFLOW, **structured(PERSON))))


def test_the_faults_refusal_and_max_tokens() -> None:
    refused = ask("Hi", fault=FaultKind.REFUSAL)
    whole, half = ask("Hi"), ask("Hi", fault=FaultKind.MAX_TOKENS)

    assert (refused.stop_reason, refused.blocks) == ("refusal", ())
    assert refused.stop_details is not None
    assert (half.stop_reason, half.output_tokens) == ("max_tokens", whole.output_tokens // 2)


def test_a_forced_tool_is_called_with_a_valid_input() -> None:
    for choice in ({"type": "any"}, {"type": "tool", "name": "get_weather"}):
        answer = ask("Paris", tools=[WEATHER], tool_choice=choice)

        assert (answer.stop_reason, answer.blocks[0].tool_name) == ("tool_use", "get_weather")
        assert json.loads(answer.blocks[0].text) == {"city": "Paris"}


def test_a_tool_is_called_when_the_last_message_names_it() -> None:
    server_tool = {"name": "web_search", "type": "web_search_20250305"}

    assert ask("Please get_weather", tools=[WEATHER]).stop_reason == "tool_use"
    assert ask("Please rain", tools=[WEATHER]).stop_reason == "end_turn"
    assert ask("Please get_weather", tools=[WEATHER], tool_choice={"type": "none"}).stop_reason == "end_turn"
    assert ask("web_search", tools=[server_tool]).stop_reason == "end_turn"
    forced = {"type": "tool", "name": "web_search"}
    assert ask("web_search", tools=[server_tool], tool_choice=forced).stop_reason == "end_turn"


def test_system_reminders_are_not_part_of_the_users_text() -> None:
    """Claude Code adds notes that name its tools to the user's text, and in a system message after it."""
    note = {"type": "text", "text": "<system-reminder>\nUse get_weather\nsometimes.\n</system-reminder>\n\n"}
    system = {"role": "system", "content": "get_weather is a tool"}

    def turns(words: str) -> list[dict[str, Any]]:
        return [{"role": "user", "content": [note, {"type": "text", "text": words}]}, system]

    answer = ask("", messages=turns("Hello"), model="claude-opus-4-8", tools=[WEATHER])
    assert text(answer).endswith("You said: Hello")
    answer = ask("", messages=turns("get_weather Oslo"), model="claude-opus-4-8", tools=[WEATHER])
    assert json.loads(answer.blocks[0].text) == {"city": "get_weather Oslo"}


def test_a_tool_result_is_answered_with_text() -> None:
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "sunny"}]}
    call = {"type": "tool_use", "id": "t", "name": "get_weather", "input": {}}
    turns = [{"role": "user", "content": "get_weather"}, {"role": "assistant", "content": [call]}, result]

    assert ask("", messages=turns, tools=[WEATHER]).stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("prompt", "called"),
    [("get it", True), ("Please (get).", True), ("stay together", False), ("get-all", False), ("get_all", False)],
)
def test_a_tool_is_called_by_its_name_as_a_word(prompt: str, *, called: bool) -> None:
    get = {"name": "get", "input_schema": {"type": "object"}}

    assert (ask(prompt, tools=[get]).stop_reason == "tool_use") == called


OWN = {
    "$defs": {"step": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}},
    "type": "object",
    "properties": {
        "steps": {"type": "array", "items": {"$ref": "#/$defs/step"}, "minItems": 3},
        "count": {"type": "integer", "minimum": 7},
        "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"},
    },
    "required": ["steps", "count", "code"],
}


def test_a_schema_in_the_system_prompt_takes_precedence() -> None:
    system = schema_rules(OWN)

    answer = json.loads(text(ask("build", system=system, **structured(ENVELOPE))))
    Draft202012Validator(OWN).validate(json.loads(answer["workflow"]))
    Draft202012Validator(OWN).validate(json.loads(text(ask("build", system=system, **structured(wire_schema_of(OWN))))))
    cut = text(ask("build", system=system[:-1], **structured(ENVELOPE)))
    assert "do" in json.loads(json.loads(cut)["workflow"])
    broken = ask("build", system=system, fault=FaultKind.INVALID_WORKFLOW, **structured(ENVELOPE))
    assert "not the JSON" in text(broken)


def wire_schema_of(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without keywords that structured output does not support."""
    properties = {"steps": {"type": "array", "items": PERSON}, "count": {"type": "integer"}, "code": {"type": "string"}}
    return {"type": "object", "properties": properties, "required": schema["required"], "additionalProperties": False}


def test_a_conversation_without_any_text_is_answered() -> None:
    image = {"type": "image", "source": {"type": "base64", "data": "eA=="}}
    turns = [{"role": "user", "content": [image]}]

    assert text(ask("", messages=turns)).endswith("You said: ")
    assert json.loads(text(ask("", messages=turns, system="workflow")))["do"]


def test_thinking_precedes_the_text_and_counts_as_output() -> None:
    answer = ask("Hi", thinking={"type": "adaptive"})

    assert [block.kind for block in answer.blocks] == ["thinking", "text"]
    assert 0 < answer.thinking_tokens < answer.output_tokens


def test_max_tokens_truncates_to_the_token() -> None:
    answer = ask("Hi", max_tokens=5)

    assert (answer.output_tokens, answer.stop_reason) == (5, "max_tokens")
    assert text(ask("Hi")).startswith(text(answer))
    assert ask("Hi", max_tokens=0) == Answer((), stop_reason="max_tokens")


def test_max_tokens_drops_a_tool_call_that_does_not_fit() -> None:
    answer = ask("x", max_tokens=3, tools=[WEATHER], tool_choice={"type": "any"})

    assert answer == Answer((), stop_reason="max_tokens")


def test_a_stop_sequence_ends_the_text_before_it() -> None:
    answer = ask("Hi", stop_sequences=["never", "answer", "no model"])

    assert text(answer) == "This is a simulated "
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "answer")
    assert ask("Hi", stop_sequences=["never"]).stop_reason == "end_turn"
    forced: dict[str, Any] = {"tools": [WEATHER], "tool_choice": {"type": "any"}}
    assert ask("Hi", stop_sequences=["city"], **forced).stop_reason == "tool_use"


@pytest.mark.parametrize("length", [1, 10, 1_000])
def test_a_requested_length_is_exact(length: int) -> None:
    assert ask("Hi", length=length).output_tokens == length
    assert ask("Hi", length=5_000).output_tokens == 4_000


def test_a_message_has_the_fields_of_the_api() -> None:
    assert message_json(SHELL, ask("Hi", max_tokens=2)) == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [{"type": "text", "text": "This is"}],
        "stop_reason": "max_tokens",
        "stop_sequence": None,
        "stop_details": None,
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 7,
            "cache_read_input_tokens": 20,
            "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
            "output_tokens": 2,
            "output_tokens_details": {"thinking_tokens": 0},
            "service_tier": "standard",
        },
    }


def test_a_message_contains_thinking_and_tool_calls() -> None:
    answer = ask("Paris", thinking={"type": "adaptive"}, tools=[WEATHER], tool_choice={"type": "any"})
    thinking, call = message_json(SHELL, answer)["content"]

    assert (thinking["type"], thinking["thinking"]) == ("thinking", "Simulated thinking about: Paris")
    assert thinking["signature"]
    assert (call["type"], call["name"], call["input"]) == ("tool_use", "get_weather", {"city": "Paris"})


def test_a_stream_has_the_events_of_the_api_in_their_order() -> None:
    events = [event.data for event in message_events(SHELL, ask("Hi", max_tokens=6))]

    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    started, finished = events[0]["message"], events[-2]
    assert (started["content"], started["stop_reason"], started["usage"]["output_tokens"]) == ([], None, 1)
    assert finished["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None, "stop_details": None}
    assert finished["usage"] == {
        "input_tokens": 10,
        "cache_creation_input_tokens": 7,
        "cache_read_input_tokens": 20,
        "output_tokens": 6,
        "output_tokens_details": {"thinking_tokens": 0},
    }


def test_a_thinking_block_ends_with_its_signature() -> None:
    events = [event.data for event in message_events(SHELL, ask("Hi", thinking={"type": "adaptive"}))]
    deltas = [event["delta"]["type"] for event in events if event["type"] == "content_block_delta"]

    assert set(deltas) == {"thinking_delta", "signature_delta", "text_delta"}
    assert deltas[: deltas.index("text_delta")][-2:] == ["thinking_delta", "signature_delta"]


@given(st.text(min_size=1, max_size=200).filter(str.strip), st.integers(0, 60), CHANGES, CHANGES)
def test_a_stream_adds_up_to_the_message(
    prompt: str, max_tokens: int, one: dict[str, Any], other: dict[str, Any]
) -> None:
    answer = ask(prompt, max_tokens=max_tokens, **one, **{key: other[key] for key in other.keys() - one.keys()})
    events = list(message_events(SHELL, answer))
    sent = "".join(
        str(value)
        for event in events
        if event.data["type"] == "content_block_delta"
        for name, value in event.data["delta"].items()
        if name in ("text", "thinking", "partial_json")
    )

    assert sent == "".join(block.text for block in answer.blocks)
    assert sum(event.output_tokens for event in events) == answer.output_tokens <= max_tokens


def test_an_event_is_encoded() -> None:
    assert encode_event("ping", b'{"type":"ping"}') == b'event: ping\ndata: {"type":"ping"}\n\n'
    assert next(message_events(SHELL, ask("Hi"))).encode().startswith(b"event: message_start\ndata: {")
