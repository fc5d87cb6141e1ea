"""A request with all features, with each of its values replaced by each of a list."""

import copy
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from claude_simulator.answers.answers import compose_answer
from claude_simulator.answers.cache import PromptCache
from claude_simulator.errors import ApiError
from claude_simulator.requests.prompt import prompt_blocks
from claude_simulator.requests.validation import check_count_tokens, check_messages

pytestmark = pytest.mark.no_cover  # thousands of requests; other tests reach the same lines

TEXT = {"type": "text", "text": "hi"}
IMAGE = {"type": "image", "source": {"type": "base64", "data": "eA=="}}
DOCUMENT = {"type": "document", "source": {"type": "text", "data": "x"}}
STRICT = {
    "type": "object",
    "properties": {"a": {"type": "string"}, "b": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/X"}]}},
    "required": ["a", "b"],
    "additionalProperties": False,
    "$defs": {"X": {"type": "array", "items": {"enum": [1]}, "minItems": 1}},
}
LOOSE = {
    "type": "object",
    "allOf": [{"required": ["z"]}],
    "properties": {"z": {"type": "integer", "minimum": 2}, "s": {"type": "string", "minLength": 1}},
}
COUNTED: dict[str, Any] = {
    "model": "claude-sonnet-4-5",
    "system": [{**TEXT, "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "messages": [
        {"role": "user", "content": [TEXT, IMAGE, DOCUMENT]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "i", "name": "t", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "i", "content": [TEXT, IMAGE]}]},
    ],
    "tools": [{"name": "t", "strict": True, "input_schema": STRICT}, {"name": "u", "input_schema": LOOSE}],
    "tool_choice": {"type": "tool", "name": "u"},
    "thinking": {"type": "enabled", "budget_tokens": 1_024},
    "output_config": {"format": {"type": "json_schema", "schema": STRICT}},
}
CREATED = {**COUNTED, "max_tokens": 2_000, "stream": True, "stop_sequences": ["x"], "metadata": {"user_id": "u"}}

SCALARS: list[Any] = [None, True, False, 0, -1, 1.5, "", "x", "text", "ephemeral", "#/$defs/X"]
CONTAINERS: list[Any] = [[], {}, [None], [True], [[]], [{}], {"type": None}, {"type": "x"}, {"type": []}, {"$ref": "#"}]


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*path, key))


def replaced(value: Any, path: tuple[Any, ...]) -> dict[str, Any]:
    body = copy.deepcopy(CREATED)
    target: Any = body
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return body


@pytest.mark.parametrize("value", [*SCALARS, *CONTAINERS], ids=str)
def test_no_replacement_raises_another_error(value: Any) -> None:
    for path in list(paths(CREATED))[1:]:
        body = replaced(value, path)
        with suppress(ApiError):  # anything else fails the test
            request = check_messages(body, version="2026-10-21", beta=False)
            PromptCache(10).plan(request.model, prompt_blocks(body, request.model), 0)
            compose_answer(request, fault=None, output_tokens=None)
        with suppress(ApiError):
            counted = {name: value for name, value in body.items() if name in COUNTED}
            check_count_tokens(counted, version="2026-10-21", beta=False)


def test_the_request_itself_is_answered() -> None:
    request = check_messages(CREATED, version="2026-10-21", beta=False)

    assert compose_answer(request, fault=None, output_tokens=None).stop_reason == "tool_use"
    assert check_count_tokens(COUNTED, version="2026-10-21", beta=False) is request.model
