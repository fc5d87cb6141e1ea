"""Checks of messages, system prompt, tools and cache breakpoints.

Only the fields of a block that the simulator reads are checked. Source: Claude Platform Docs "Messages" and "Prompt
caching". Every check raises `ApiError` 400 with the path, the value and what is allowed.
"""

from typing import Any, Final

from claude_simulator.errors import invalid_request
from claude_simulator.requests.conversation_rules import (
    check_block_type,
    check_source,
    check_tool_calls,
    check_tool_names,
)
from claude_simulator.requests.models import Model
from claude_simulator.requests.schema_limits import check_output_schema, check_schema

MAX_CACHE_BREAKPOINTS: Final = 4


def check_conversation(body: dict[str, Any], model: Model, *, beta: bool) -> None:
    """Checks `messages`: roles, content, tool calls and their results, first and last turn, and system messages.

    Source for system messages: Claude Platform Docs "Mid-conversation system messages"; since Opus 4.8.
    """
    if "messages" not in body:
        raise invalid_request("messages: Field required")
    messages = body["messages"]
    if not isinstance(messages, list) or not messages:
        raise invalid_request("messages: a list of at least one message is required")
    for index, message in enumerate(messages):
        is_last = index == len(messages) - 1
        _check_message(f"messages.{index}", message, optional_content=is_last, model=model, beta=beta)
    if messages[0]["role"] != "user":
        raise invalid_request("messages: first message must use the 'user' role")
    for index in range(1, len(messages)):
        _check_order(f"messages.{index}", messages[index - 1], messages[index])
    if messages[-1]["role"] == "assistant" and not model.accepts_prefill:
        raise invalid_request(f"messages: the last message must use the 'user' role; {model.id} takes no prefill")
    check_tool_calls(messages)


def _check_order(path: str, before: dict[str, Any], message: dict[str, Any]) -> None:
    if before["role"] == "system" and message["role"] == "user":
        raise invalid_request(f"{path}: an 'assistant' message must follow a 'system' message")
    if message["role"] == "system" and before["role"] != "user" and not _ends_with_server_tool(before):
        raise invalid_request(f"{path}: a 'system' message must follow a 'user' message or a server tool's use")


def _ends_with_server_tool(message: dict[str, Any]) -> bool:
    content = message["content"]
    return isinstance(content, list) and bool(content) and content[-1]["type"] == "server_tool_use"


def _check_message(path: str, message: object, *, optional_content: bool, model: Model, beta: bool) -> None:
    if not isinstance(message, dict):
        raise invalid_request(f"{path}: an object with role and content is allowed")
    role = message.get("role")
    if role not in ("user", "assistant") and not (role == "system" and model.accepts_system_messages):
        raise invalid_request(f"{path}.role: {role!r} was given; 'user' or 'assistant' is allowed")
    content = message.get("content")
    if isinstance(content, list):
        for index, block in enumerate(content):
            if role == "system" and isinstance(block, dict) and block.get("type", "text") != "text":
                given = f"{path}.content.{index}.type: {block['type']!r} was given"
                raise invalid_request(f"{given}; 'text' is allowed in a 'system' message")
            _check_block(f"{path}.content.{index}", block, beta=beta)
    elif not isinstance(content, str):
        raise invalid_request(f"{path}.content: a string or a list of blocks is required")
    if not content and not (optional_content and role == "assistant"):
        raise invalid_request(f"{path}: all messages must have non-empty content except for a final assistant message")


def _check_block(path: str, block: object, *, beta: bool, in_result: bool = False) -> None:
    if not isinstance(block, dict) or not isinstance(block.get("type"), str):
        raise invalid_request(f"{path}.type: Field required")
    kind = block["type"]
    check_block_type(path, kind, in_result=in_result, beta=beta)
    if kind == "text" and not (isinstance(block.get("text"), str) and block["text"]):
        raise invalid_request(f"{path}.text: text content blocks must be non-empty")
    if kind in {"image", "document"}:
        if not isinstance(block.get("source"), dict):
            raise invalid_request(f"{path}.source: an object is required")
        check_source(path, kind, block["source"], beta=beta)
        if block["source"].get("type") == "content":
            _check_inner_content(f"{path}.source.content", block["source"].get("content") or [], beta=beta)
    if kind == "tool_result":
        _check_inner_content(f"{path}.content", block.get("content") or [], beta=beta)


def _check_inner_content(path: str, content: object, *, beta: bool) -> None:
    if not isinstance(content, list | str):
        raise invalid_request(f"{path}: a string or a list of blocks is allowed")
    for index, part in enumerate(content if isinstance(content, list) else ()):
        _check_block(f"{path}.{index}", part, beta=beta, in_result=True)


def check_system(system: object) -> None:
    """Checks `system`: a string or text blocks."""
    if system is None or isinstance(system, str):
        return
    if not isinstance(system, list):
        raise invalid_request("system: a string or a list of text blocks is allowed")
    for index, block in enumerate(system):
        if isinstance(block, dict) and block.get("type", "text") != "text":
            raise invalid_request(f"system.{index}.type: {block['type']!r} was given; 'text' is allowed")
        _check_block(f"system.{index}", block, beta=False)


def check_tools(body: dict[str, Any], model: Model, *, beta: bool) -> None:
    """Checks `tools` and `tool_choice`."""
    tools = body.get("tools") or []
    if not isinstance(tools, list):
        raise invalid_request("tools: a list of tools is allowed")
    for index, tool in enumerate(tools):
        if not isinstance(tool, dict) or not isinstance(tool.get("name"), str) or not tool["name"]:
            raise invalid_request(f"tools.{index}.name: Field required")
        if tool.get("type", "custom") == "custom" and not isinstance(tool.get("input_schema"), dict):
            raise invalid_request(f"tools.{index}.input_schema: Field required")
        if isinstance(tool.get("input_schema"), dict):
            check = check_output_schema if tool.get("strict") else check_schema
            check(tool["input_schema"], f"tools.{index}.input_schema")
    check_tool_names(tools, beta=beta)
    if body.get("tool_choice") is not None:
        _check_tool_choice(body["tool_choice"], [tool["name"] for tool in tools], model)


def _check_tool_choice(choice: Any, tool_names: list[str], model: Model) -> None:
    if not isinstance(choice, dict):
        raise invalid_request(f"tool_choice: {choice!r} was given; an object with a type is allowed")
    kind = choice.get("type")
    if kind not in ("auto", "any", "tool", "none"):
        raise invalid_request(f"tool_choice.type: {kind!r} was given; 'auto', 'any', 'tool' or 'none' is allowed")
    if kind in ("any", "tool") and not model.accepts_forced_tools:
        raise invalid_request(f"tool_choice.type: {kind!r} was given; {model.id} takes 'auto' or 'none'")
    if kind == "any" and not tool_names:
        raise invalid_request("tool_choice: tools must be given with tool_choice 'any'")
    if kind == "tool" and choice.get("name") not in tool_names:
        raise invalid_request(f"tool_choice.name: {choice.get('name')!r} was given; the name of a tool is allowed")


def check_breakpoints(body: dict[str, Any]) -> None:
    """Checks every `cache_control`, and their number."""
    system = body.get("system")
    system_blocks = enumerate(system) if isinstance(system, list) else ()
    holders = [
        *((f"tools.{index}", tool) for index, tool in enumerate(body.get("tools") or ())),
        *((f"system.{index}", block) for index, block in system_blocks),
        *message_blocks(body),
        ("", body),
    ]
    marked = [(path, holder["cache_control"]) for path, holder in holders if holder.get("cache_control") is not None]
    for path, control in marked:
        name = f"{path}.cache_control".lstrip(".")
        if not isinstance(control, dict) or control.get("type") != "ephemeral":
            raise invalid_request(f"{name}.type: 'ephemeral' is allowed")
        if control.get("ttl", "5m") not in ("5m", "1h"):
            raise invalid_request(f"{name}.ttl: {control['ttl']!r} was given; '5m' or '1h' is allowed")
    if len(marked) > MAX_CACHE_BREAKPOINTS:
        given = len(marked)
        raise invalid_request(f"cache_control: {given} blocks carry it; at most {MAX_CACHE_BREAKPOINTS} are allowed")


def message_blocks(body: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The blocks of validated messages with their paths, such as `messages.0.content.1`."""
    return [
        (f"messages.{number}.content.{index}", block)
        for number, message in enumerate(body["messages"])
        if isinstance(message["content"], list)
        for index, block in enumerate(message["content"])
    ]
