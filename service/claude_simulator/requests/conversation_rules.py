"""Checks of block and tool types, sources, and tool calls with their results.

The lists of types are those of the Anthropic Python SDK 2.13.0 (`types/`). The errors about tool calls quote the API,
as cited in public issues of its clients. Every check raises `ApiError` 400 with the path, the value and what is
allowed.
"""

import base64
import re
from typing import Any, Final

from claude_simulator.errors import invalid_request

BLOCK_TYPES: Final = frozenset(
    {"text", "image", "document", "search_result", "thinking", "redacted_thinking", "tool_use", "tool_result"}
    | {"server_tool_use", "web_search_tool_result", "web_fetch_tool_result", "code_execution_tool_result"}
    | {"bash_code_execution_tool_result", "text_editor_code_execution_tool_result", "tool_search_tool_result"}
    | {"container_upload"}
)
RESULT_BLOCK_TYPES: Final = frozenset({"text", "image", "search_result", "document", "tool_reference", "browser_state"})
"""Block types allowed in a tool result."""

TOOL_TYPES: Final = frozenset(
    {"custom", "bash_20250124", "memory_20250818", "browser_toolset_20260801", "computer_toolset_20260801"}
    | {f"code_execution_{day}" for day in (20250522, 20250825, 20260120, 20260521)}
    | {f"text_editor_{day}" for day in (20250124, 20250429, 20250728)}
    | {f"web_search_{day}" for day in (20250305, 20260209, 20260318)}
    | {f"web_fetch_{day}" for day in (20250910, 20260209, 20260309, 20260318)}
    | {f"tool_search_tool_{kind}" for kind in ("bm25", "bm25_20251119", "regex", "regex_20251119")}
)

_SOURCE_TYPES: Final = {
    "image": frozenset({"base64", "url", "file"}),
    "document": frozenset({"base64", "text", "content", "url", "file"}),
}
_TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")


def check_block_type(path: str, kind: str, *, in_result: bool, beta: bool) -> None:
    """Refuses an unknown type of block; a beta may add types."""
    allowed = RESULT_BLOCK_TYPES if in_result else BLOCK_TYPES
    if kind not in allowed and not beta:
        raise invalid_request(f"{path}.type: {kind!r} was given; one of {_listed(allowed)} is allowed")


def check_source(path: str, kind: str, source: dict[str, Any], *, beta: bool) -> None:
    """Refuses a source whose type its block does not support, or whose base64 data is invalid."""
    source_type = source.get("type")
    allowed = _SOURCE_TYPES[kind]
    if not isinstance(source_type, str) or (source_type not in allowed and not beta):
        raise invalid_request(f"{path}.source.type: {source_type!r} was given; one of {_listed(allowed)} is allowed")
    if source_type == "base64":
        try:
            base64.b64decode(str(source.get("data", "")), validate=True)
        except ValueError as error:
            raise invalid_request(f"{path}.source.base64.data: is not valid base64: {error}") from None


def check_tool_names(tools: list[dict[str, Any]], *, beta: bool) -> None:
    """Refuses unknown types of tools, invalid names of custom tools, and duplicate names."""
    names: set[str] = set()
    for index, tool in enumerate(tools):
        kind = tool.get("type") or "custom"
        if not isinstance(kind, str) or (kind not in TOOL_TYPES and not beta):
            raise invalid_request(f"tools.{index}.type: {kind!r} was given; one of {_listed(TOOL_TYPES)} is allowed")
        if kind == "custom" and not _TOOL_NAME.fullmatch(tool["name"]):
            raise invalid_request(f"tools.{index}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        if tool["name"] in names:
            raise invalid_request("tools: Tool names must be unique.")
        names.add(tool["name"])


def check_tool_calls(messages: list[dict[str, Any]]) -> None:
    """Checks that each tool call has a result in the next turn, and each result a call in the previous turn.

    Consecutive messages of the assistant are one turn, and so are consecutive other messages. The first is a user's.
    """
    calls: dict[str, str] = {}
    results: set[str] = set()
    for number, message in enumerate(messages):
        blocks = message["content"] if isinstance(message["content"], list) else []
        if message["role"] == "assistant":
            if messages[number - 1]["role"] != "assistant":
                _check_answered(calls, results)
                calls, results = {}, set()
            calls |= {str(block.get("id")): f"messages.{number}" for block in blocks if block["type"] == "tool_use"}
            continue
        for index, block in enumerate(blocks):
            if block["type"] != "tool_result":
                continue
            called = str(block.get("tool_use_id"))
            if called not in calls:
                raise invalid_request(
                    f"messages.{number}.content.{index}: unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{called}. Each `tool_result` block must have a corresponding `tool_use` block in the previous "
                    "message."
                )
            results.add(called)
    _check_answered(calls, results)


def _check_answered(calls: dict[str, str], results: set[str]) -> None:
    missing = [called for called in calls if called not in results]
    if missing:
        raise invalid_request(
            f"{calls[missing[0]]}: `tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
            "message."
        )


def _listed(names: frozenset[str]) -> str:
    return ", ".join(map(repr, sorted(names)))
