"""Invalid requests get errors with the field, the value and what is allowed."""

import json
from contextlib import suppress
from typing import Any, get_args, get_type_hints

import pytest
from anthropic.resources.messages import DEPRECATED_MODELS
from anthropic.types import ContentBlockParam, OutputConfigParam, ToolUnionParam
from anthropic.types.message_create_params import MessageCreateParamsBase
from anthropic.types.model import Model as SdkModel
from anthropic.types.tool_result_block_param import Content as ToolResultContent
from hypothesis import given
from hypothesis import strategies as st

from claude_simulator.answers.answers import compose_answer
from claude_simulator.errors import ApiError
from claude_simulator.requests.conversation_rules import BLOCK_TYPES, RESULT_BLOCK_TYPES, TOOL_TYPES
from claude_simulator.requests.models import MODELS
from claude_simulator.requests.prompt import prompt_blocks
from claude_simulator.requests.validation import EFFORTS, SERVICE_TIERS, check_count_tokens, check_messages, parse_json

OLD_VERSION, NEW_VERSION = "2023-06-01", "2026-10-21"
HELLO = [{"role": "user", "content": "Hello"}]
GOOD: dict[str, Any] = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": HELLO}
TOOL = {"name": "t", "input_schema": {"type": "object"}}
MARK = {"type": "ephemeral"}


def message_of(body: dict[str, Any], *, version: str = NEW_VERSION, beta: bool = False) -> str:
    with pytest.raises(ApiError) as caught:
        check_messages(body, version=version, beta=beta)
    assert caught.value.status in (400, 404)
    return caught.value.message


def user(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(blocks)}]


@pytest.mark.parametrize("missing", ["model", "max_tokens", "messages"])
def test_required_fields(missing: str) -> None:
    body = {name: value for name, value in GOOD.items() if name != missing}

    assert message_of(body) == f"{missing}: Field required"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": 5}, "model: 5 was given; the id of a model is allowed"),
        ({"model": "gpt"}, "model: gpt (GET /v1/models lists what is served)"),
        ({"max_tokens": -1}, "max_tokens: -1 was given; a whole number from 0 is allowed"),
        ({"max_tokens": True}, "max_tokens: True was given; a whole number from 0 is allowed"),
        (
            {"max_tokens": 64_001},
            "max_tokens: 64001 > 64000, which is the maximum allowed number of output tokens for claude-sonnet-4-5",
        ),
        ({"stream": "yes"}, "stream: 'yes' was given; true or false is allowed"),
        ({"unknown_field": 1}, "unknown_field: Extra inputs are not permitted"),
        ({"messages": []}, "messages: a list of at least one message is required"),
        ({"messages": ["x"]}, "messages.0: an object with role and content is allowed"),
        (
            {"messages": [{"role": "system", "content": "x"}]},
            "messages.0.role: 'system' was given; 'user' or 'assistant' is allowed",
        ),
        ({"messages": [{"role": "user"}]}, "messages.0.content: a string or a list of blocks is required"),
        (
            {"messages": [{"role": "user", "content": ""}]},
            "messages.0: all messages must have non-empty content except for a final assistant message",
        ),
        (
            {"messages": [{"role": "assistant", "content": "x"}, *HELLO]},
            "messages: first message must use the 'user' role",
        ),
        ({"messages": user({})}, "messages.0.content.0.type: Field required"),
        (
            {"messages": user({"type": "text", "text": ""})},
            "messages.0.content.0.text: text content blocks must be non-empty",
        ),
        ({"messages": user({"type": "image"})}, "messages.0.content.0.source: an object is required"),
        (
            {"messages": user({"type": "tool_result", "content": [{}]})},
            "messages.0.content.0.content.0.type: Field required",
        ),
        (
            {"messages": user({"type": "tool_result", "content": 5})},
            "messages.0.content.0.content: a string or a list of blocks is allowed",
        ),
        ({"system": 5}, "system: a string or a list of text blocks is allowed"),
        (
            {"system": [{"type": "image", "source": {}}]},
            "system.0.type: 'image' was given; 'text' is allowed",
        ),
        ({"tools": 5}, "tools: a list of tools is allowed"),
        ({"tools": [{}]}, "tools.0.name: Field required"),
        ({"tools": [{"name": "t"}]}, "tools.0.input_schema: Field required"),
        (
            {"tools": [{"name": "t", "input_schema": {"required": 5}}]},
            'tools.0.input_schema.required: 5 is not of type "array"',
        ),
        (
            {"tool_choice": {"type": "some"}},
            "tool_choice.type: 'some' was given; 'auto', 'any', 'tool' or 'none' is allowed",
        ),
        ({"tool_choice": {"type": "any"}}, "tool_choice: tools must be given with tool_choice 'any'"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "u"}},
            "tool_choice.name: 'u' was given; the name of a tool is allowed",
        ),
        (
            {"model": "claude-sonnet-5-5", "tools": [TOOL], "tool_choice": {"type": "any"}},
            "tool_choice.type: 'any' was given; claude-sonnet-5-5 takes 'auto' or 'none'",
        ),
        (
            {"model": "claude-sonnet-5-5", "messages": [*HELLO, {"role": "assistant", "content": "{"}]},
            "messages: the last message must use the 'user' role; claude-sonnet-5-5 takes no prefill",
        ),
        (
            {"thinking": {"type": "on"}},
            "thinking.type: 'on' was given; 'enabled', 'disabled', 'adaptive' or 'between_tools' is allowed",
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 1_000}},
            "thinking.budget_tokens: 1000 was given; a whole number from 1024 below max_tokens is allowed",
        ),
        (
            {"stop_sequences": [" "]},
            "stop_sequences: a list of strings is allowed, each with a character that is not a space",
        ),
        ({"cache_control": {"type": "x"}}, "cache_control.type: 'ephemeral' is allowed"),
        (
            {"messages": user({"type": "text", "text": "x", "cache_control": {**MARK, "ttl": "2h"}})},
            "messages.0.content.0.cache_control.ttl: '2h' was given; '5m' or '1h' is allowed",
        ),
        (
            {"system": [{"type": "text", "text": "x", "cache_control": MARK}] * 5},
            "cache_control: 5 blocks carry it; at most 4 are allowed",
        ),
        ({"output_config": 5}, "output_config: an object is allowed"),
        (
            {"output_config": {"format": {"type": "json"}}},
            "output_config.format.type: 'json' was given; 'json_schema' is allowed",
        ),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema: Field required"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            "output_config.format.schema: for 'object' type, 'additionalProperties' must be explicitly set to false",
        ),
    ],
)
def test_an_invalid_field_is_named(changes: dict[str, Any], message: str) -> None:
    assert message_of({**GOOD, **changes}) == message


CALL = {"type": "tool_use", "id": "toolu_1", "name": "t", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "done"}


def turns(*contents: Any) -> dict[str, Any]:
    """Alternating messages of user and assistant."""
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[at % 2], "content": content} for at, content in enumerate(contents)]}


UNEXPECTED = "unexpected `tool_use_id` found in `tool_result` blocks: toolu_"
MISSING = "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (turns("x", [CALL], "y"), MISSING),
        (turns("x", [CALL, {**CALL, "id": "toolu_2"}], [{**RESULT, "tool_use_id": "toolu_2"}]), MISSING),
        (turns("x", [CALL]), MISSING),
        (turns([RESULT]), f"messages.0.content.0: {UNEXPECTED}1"),
        (turns("x", [CALL], [RESULT], "y", [RESULT]), f"messages.4.content.0: {UNEXPECTED}1"),
        (turns("x", [CALL], [RESULT, {**RESULT, "tool_use_id": "toolu_9"}]), f"messages.2.content.1: {UNEXPECTED}9"),
        ({"tools": [TOOL, TOOL]}, "tools: Tool names must be unique."),
        ({"tools": [{**TOOL, "name": "a b"}]}, "tools.0.custom.name: String should match pattern"),
        ({"tools": [{**TOOL, "name": "x" * 129}]}, "tools.0.custom.name: String should match pattern"),
        ({"tools": [{**TOOL, "type": "web_search"}]}, "tools.0.type: 'web_search' was given; one of "),
        ({"tools": [{**TOOL, "type": ["custom"]}]}, "tools.0.type: ['custom'] was given; one of "),
        (turns([{"type": "video"}]), "messages.0.content.0.type: 'video' was given; one of "),
        (turns([{"type": "image", "source": {"type": "path"}}]), "messages.0.content.0.source.type: 'path' was given"),
        (
            turns([{"type": "image", "source": {"type": "base64", "data": "%%%"}}]),
            "messages.0.content.0.source.base64.data: is not valid base64",
        ),
        (
            turns([{"type": "image", "source": {"type": "base64", "data": "é"}}]),
            "messages.0.content.0.source.base64.data: is not valid base64",
        ),
        (
            turns([{"type": "document", "source": {"type": "content", "content": 5}}]),
            "messages.0.content.0.source.content: a string or a list of blocks is allowed",
        ),
        (
            turns([{"type": "document", "source": {"type": "content", "content": [{"type": "text"}]}}]),
            "messages.0.content.0.source.content.0.text: text content blocks must be non-empty",
        ),
        ({"tool_choice": "auto"}, "tool_choice: 'auto' was given; an object with a type is allowed"),
        ({"output_config": {"effort": "banana"}}, "output_config.effort: 'banana' was given; one of low, medium, high"),
        ({"service_tier": "banana"}, "service_tier: 'banana' was given; auto or standard_only is allowed"),
        ({"metadata": 5}, "metadata: 5 was given; an object with a string user_id is allowed"),
        (
            {"metadata": {"user_id": 5}},
            "metadata: {'user_id': 5} was given; an object with a string user_id is allowed",
        ),
    ],
)
def test_invalid_types_and_combinations_are_named(changes: dict[str, Any], message: str) -> None:
    body = {**GOOD, "model": "claude-haiku-4-5", "tools": [], **changes}

    assert message_of(body).startswith(message)


@pytest.mark.parametrize(
    "changes",
    [
        turns("x", [CALL], [RESULT]),
        turns("x", [CALL, {**CALL, "id": "toolu_2"}], [{**RESULT, "tool_use_id": "toolu_2"}, RESULT], "y", "z"),
        {"messages": [*turns("x", [CALL], [RESULT])["messages"], {"role": "user", "content": "and"}]},
        {"messages": [*turns("x", [CALL])["messages"], {"role": "assistant", "content": "y"}, *user(RESULT)]},
        {"messages": [*turns("x", [CALL])["messages"], *user({"type": "text", "text": "hm"}), *user(RESULT)]},
        {"output_config": {"effort": "xhigh"}, "service_tier": "standard_only", "metadata": {"user_id": None}},
        turns([{"type": "search_result", "source": "https://example.com", "title": "t", "content": []}]),
        turns([{"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}}]),
        {"tools": [{"type": "bash_20250124", "name": "bash"}, TOOL]},
    ],
)
def test_valid_combinations_pass(changes: dict[str, Any]) -> None:
    check_messages({**GOOD, **changes}, version=NEW_VERSION, beta=False)


def test_a_beta_header_allows_unknown_types_of_blocks_and_tools() -> None:
    tools = [{**TOOL, "type": "computer_29991231"}]
    body = {**GOOD, **turns([{"type": "video"}]), "tools": tools}
    assert check_messages(body, version=NEW_VERSION, beta=True).body == body


def test_the_lists_are_those_of_the_sdk() -> None:
    assert kinds_of(ContentBlockParam) == BLOCK_TYPES
    assert kinds_of(ToolResultContent) == RESULT_BLOCK_TYPES
    assert kinds_of(ToolUnionParam) | {"custom"} == TOOL_TYPES
    hints = get_type_hints(MessageCreateParamsBase)
    assert set(get_args(hints["service_tier"])) == set(SERVICE_TIERS)
    (effort,) = (each for each in get_args(get_type_hints(OutputConfigParam)["effort"]) if get_args(each))
    assert get_args(effort) == EFFORTS
    literal, _ = get_args(SdkModel)
    assert set(get_args(literal)) == set(MODELS)
    assert {name for name, model in MODELS.items() if model.retires_on} == DEPRECATED_MODELS.keys()


def kinds_of(union: Any) -> set[str]:
    """The values of `type` in a union of the SDK's parameters."""
    kinds = (get_type_hints(member).get("type") for member in get_args(union) if isinstance(member, type))
    return {str(word) for kind in kinds for word in get_args(kind) if isinstance(word, str)}


@pytest.mark.parametrize("field", ["temperature", "top_p", "top_k"])
def test_sampling_depends_on_version_and_model(field: str) -> None:
    body = {**GOOD, field: 0}
    newer = {**body, "model": "claude-sonnet-5-5"}

    check_messages(body, version=OLD_VERSION, beta=False)
    assert message_of(body) == f"{field}: Extra inputs are not permitted under anthropic-version 2026-10-21"
    assert message_of(newer, version=OLD_VERSION) == f"{field}: 0 was given; claude-sonnet-5-5 takes the default only"
    assert message_of({**GOOD, field: "x"}, version=OLD_VERSION) == f"{field}: 'x' was given; a number is allowed"


def test_sampling_has_a_range_and_its_default_always_passes() -> None:
    check_messages({**GOOD, "model": "claude-sonnet-5-5", "temperature": 1}, version=OLD_VERSION, beta=False)
    assert message_of({**GOOD, "temperature": 2}, version=OLD_VERSION) == "temperature: 2 was given; 0 to 1 is allowed"


def test_the_new_version_refuses_documents_from_the_assistant_and_citations_from_the_user() -> None:
    document = {"type": "document", "source": {"type": "text", "data": "x"}}
    answer = {"role": "assistant", "content": [document]}
    cited = {"type": "text", "text": "x", "citations": []}

    for messages, message in (
        ([*HELLO, answer, *HELLO], "messages.1.content.0.type: 'document' is not allowed in assistant messages"),
        (user(cited), "messages.0.content.0.citations: Extra inputs are not permitted in user messages"),
    ):
        check_messages({**GOOD, "messages": messages}, version=OLD_VERSION, beta=False)
        assert message_of({**GOOD, "messages": messages}) == message


NOTE = {"role": "system", "content": "Agents: none"}
REPLY = {"role": "assistant", "content": "Hi"}
SERVED = {"role": "assistant", "content": [{"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search"}]}


@pytest.mark.parametrize("version", [OLD_VERSION, NEW_VERSION])
@pytest.mark.parametrize("model", ["claude-opus-4-8", "claude-sonnet-5", "claude-sonnet-5-5", "claude-haiku-5-5"])
@pytest.mark.parametrize(
    "messages",
    [
        [*HELLO, NOTE],
        [*HELLO, NOTE, REPLY, *HELLO, NOTE],
        [*HELLO, SERVED, NOTE],
        [*HELLO, {"role": "system", "content": [{"type": "text", "text": "x", "cache_control": MARK}]}],
    ],
)
def test_a_system_message_may_follow_a_user_message(messages: list[Any], model: str, version: str) -> None:
    check_messages({**GOOD, "model": model, "messages": messages}, version=version, beta=False)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([NOTE, *HELLO], "messages: first message must use the 'user' role"),
        ([*HELLO, REPLY, NOTE], "messages.2: a 'system' message must follow a 'user' message or a server tool's use"),
        ([*HELLO, NOTE, NOTE], "messages.2: a 'system' message must follow a 'user' message or a server tool's use"),
        ([*HELLO, NOTE, *HELLO], "messages.2: an 'assistant' message must follow a 'system' message"),
        (
            [*HELLO, {"role": "system", "content": [{"type": "image", "source": {}}]}],
            "messages.1.content.0.type: 'image' was given; 'text' is allowed in a 'system' message",
        ),
        (
            [*HELLO, {"role": "system", "content": ""}],
            "messages.1: all messages must have non-empty content except for a final assistant message",
        ),
    ],
)
def test_a_misplaced_system_message_is_refused(messages: list[Any], message: str) -> None:
    assert message_of({**GOOD, "model": "claude-opus-5-5", "messages": messages}) == message


@pytest.mark.parametrize("model", ["claude-opus-4-7", "claude-haiku-4-5", "claude-sonnet-4-6"])
def test_older_models_refuse_system_messages(model: str) -> None:
    expected = "messages.1.role: 'system' was given; 'user' or 'assistant' is allowed"
    assert message_of({**GOOD, "model": model, "messages": [*HELLO, NOTE]}) == expected


def test_beta_lets_unknown_fields_pass() -> None:
    assert check_messages({**GOOD, "betas_field": 1}, version=NEW_VERSION, beta=True).max_tokens == 100


def test_prefill_passes_if_the_model_supports_it() -> None:
    messages = [*HELLO, {"role": "assistant", "content": ""}]

    assert check_messages({**GOOD, "messages": messages}, version=NEW_VERSION, beta=False).model.accepts_prefill


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b'{"a": NaN}', b'{"a": 1e400}', b"[" * 100_000])
def test_a_body_that_is_not_json_is_refused(raw: bytes) -> None:
    with pytest.raises(ApiError, match="The request body is not valid JSON: "):
        parse_json(raw)


def test_a_body_that_is_not_an_object_is_refused() -> None:
    with pytest.raises(ApiError, match=r"^body: list was given; a JSON object is allowed$"):
        parse_json(b"[]")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_tokens": 1}, "max_tokens: Extra inputs are not permitted"),
        (
            {"tools": [{"name": "w", "type": "web_search_20250305"}]},
            "tools.0.type: 'web_search_20250305' was given; token counting takes custom tools",
        ),
        (
            {"messages": user({"type": "image", "source": {"type": "url"}})},
            "messages.0.content.0.source.type: 'url' was given; token counting takes base64 and text",
        ),
    ],
)
def test_count_tokens_refuses_more(changes: dict[str, Any], message: str) -> None:
    body = {"model": "claude-sonnet-4-5", "messages": HELLO, **changes}
    with pytest.raises(ApiError) as caught:
        check_count_tokens(body, version=NEW_VERSION, beta=False)

    assert caught.value.message == message


def test_a_long_error_message_is_cut() -> None:
    assert len(message_of({**GOOD, "tool_choice": "x" * 5_000})) == 1_002


def test_count_tokens_takes_custom_tools_and_encoded_images() -> None:
    image = {"type": "image", "source": {"type": "base64", "data": "eA=="}}
    body = {"model": "claude-sonnet-4-5", "messages": user(image), "tools": [TOOL]}

    assert check_count_tokens(body, version=NEW_VERSION, beta=False).id == "claude-sonnet-4-5"


WORDS = [
    "",
    "é",
    "user",
    "text",
    "ephemeral",
    "auto",
    "json_schema",
    "object",
    "array",
    "tool_result",
    "content",
    "base64",
]
FIELDS = ["type", "role", "content", "text", "name", "source", "ttl", "format", "schema", "input_schema", "properties"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*FIELDS, "items", "required", "anyOf", "cache_control"]), inner, max_size=5)
    ),
    max_leaves=12,
)
BODIES = st.dictionaries(
    st.sampled_from([*GOOD, "system", "tools", "tool_choice", "thinking", "cache_control", "output_config"]), JSON
)


@given(BODIES)
def test_any_json_is_answered_or_refused(changes: dict[str, Any]) -> None:
    body = json.loads(json.dumps({**GOOD, **changes}))
    with suppress(ApiError):  # anything else fails the test
        request = check_messages(body, version=NEW_VERSION, beta=False)
        assert prompt_blocks(body, request.model)
        compose_answer(request, fault=None, output_tokens=None)
