"""Checks of Messages requests. Errors are worded like the API's: the path, the value, what is allowed.

Sources: Claude Platform Docs "Messages", "Claude API errors" and "Migrating to API version 2026-10-21"; parameters of
`messages.create` in the Anthropic Python SDK 2.12.0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from claude_simulator.errors import invalid_request
from claude_simulator.requests.models import Model, find_model
from claude_simulator.requests.prompt_validation import (
    check_breakpoints,
    check_conversation,
    check_system,
    check_tools,
    message_blocks,
)
from claude_simulator.requests.schema_limits import check_output_schema

API_VERSIONS: Final = ("2023-06-01", "2026-10-21")

FAST_MODE_BETA: Final = "fast-mode-2026-02-01"
"""Value of `anthropic-beta` without which older models have no fast mode ("Fast mode", November 2026)."""
EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
SERVICE_TIERS: Final = ("auto", "standard_only")

_SAMPLING: Final = ("temperature", "top_p", "top_k")
_COUNTED: Final = frozenset(
    {"cache_control", "messages", "model", "output_config", "speed", "system", "thinking", "tool_choice", "tools"}
)
_CREATED: Final = _COUNTED | {
    "container",
    "diagnostics",
    "inference_geo",
    "max_tokens",
    "metadata",
    "service_tier",
    "stop_sequences",
    "stream",
    *_SAMPLING,
}


@dataclass(frozen=True, slots=True)
class MessagesRequest:
    """A validated request. `body` is unchanged."""

    body: Mapping[str, Any]
    model: Model
    max_tokens: int
    stream: bool
    speed: str | None = None


def parse_json(raw: bytes) -> dict[str, Any]:
    """Parses a body as a JSON object.

    Raises:
        ApiError: 400, it is not one. The message is orjson's, as in the real API: see anthropics/claude-code issues
            8272, 9586 and 77525.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise invalid_request(f"The request body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise invalid_request(f"body: {type(body).__name__} was given; a JSON object is allowed")
    return body


def check_messages(body: dict[str, Any], *, version: str, beta: bool, betas: str = "") -> MessagesRequest:
    """Checks the body of `POST /v1/messages`.

    Args:
        body: the parsed body.
        version: `anthropic-version`.
        beta: whether `anthropic-beta` was sent: then unknown fields pass.
        betas: value of `anthropic-beta`.

    Raises:
        ApiError: 400, or 404 for an unknown model.
    """
    model = _check_prompt(body, fields=_CREATED, version=version, beta=beta)
    speed = body.get("speed")
    if _is_fast(speed, model, betas):
        model = model.in_fast_mode()
    _check_sampling(body, model, version)
    max_tokens = body.get("max_tokens")
    if max_tokens is None:
        raise invalid_request("max_tokens: Field required")
    if not _is_int(max_tokens) or max_tokens < 0:
        raise invalid_request(f"max_tokens: {max_tokens!r} was given; a whole number from 0 is allowed")
    if max_tokens > model.max_output_tokens:
        limit = f"{model.max_output_tokens}, which is the maximum allowed number of output tokens for {model.id}"
        raise invalid_request(f"max_tokens: {max_tokens} > {limit}")
    _check_thinking(body.get("thinking"), max_tokens)
    stream = body.get("stream", False)
    if not isinstance(stream, bool):
        raise invalid_request(f"stream: {stream!r} was given; true or false is allowed")
    stops = body.get("stop_sequences") or []
    if not isinstance(stops, list) or not all(isinstance(stop, str) and stop.strip() for stop in stops):
        raise invalid_request("stop_sequences: a list of strings is allowed, each with a character that is not a space")
    tier, metadata = body.get("service_tier", "auto"), body.get("metadata") or {}
    if tier not in SERVICE_TIERS:
        raise invalid_request(f"service_tier: {tier!r} was given; {' or '.join(SERVICE_TIERS)} is allowed")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("user_id", ""), str | None):
        raise invalid_request(f"metadata: {metadata!r} was given; an object with a string user_id is allowed")
    return MessagesRequest(body, model, max_tokens, stream, speed)


def check_count_tokens(body: dict[str, Any], *, version: str, beta: bool) -> Model:
    """Checks the body of `POST /v1/messages/count_tokens`, which supports no server tools and no remote sources.

    Raises:
        ApiError: 400, or 404 for an unknown model.
    """
    model = _check_prompt(body, fields=_COUNTED, version=version, beta=beta)
    for index, tool in enumerate(body.get("tools") or ()):
        if tool.get("type", "custom") != "custom":
            raise invalid_request(f"tools.{index}.type: {tool['type']!r} was given; token counting takes custom tools")
    for path, block in message_blocks(body):
        kind = block["source"].get("type") if block["type"] in {"image", "document"} else None
        if kind in ("url", "file"):
            raise invalid_request(f"{path}.source.type: {kind!r} was given; token counting takes base64 and text")
    return model


def _is_fast(speed: object, model: Model, betas: str) -> bool:
    """Whether a request is for fast mode. Opus 4.6 accepts it and runs at standard speed."""
    if speed not in (None, "standard", "fast"):
        raise invalid_request(f"speed: {speed!r} was given; 'standard' or 'fast' is allowed")
    if speed != "fast" or model.id == "claude-opus-4-6":
        return False
    if not model.has_fast_mode:
        raise invalid_request(f"speed: 'fast' was given; {model.id} has no fast mode")
    if model.fast_mode_beta and FAST_MODE_BETA not in betas:
        raise invalid_request(f"speed: 'fast' was given; {model.id} takes it with anthropic-beta: {FAST_MODE_BETA}")
    return True


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_prompt(body: dict[str, Any], *, fields: frozenset[str], version: str, beta: bool) -> Model:
    unknown = sorted(body.keys() - fields)
    if unknown and not beta:
        raise invalid_request(f"{unknown[0]}: Extra inputs are not permitted")
    if "model" not in body:
        raise invalid_request("model: Field required")
    if not isinstance(body["model"], str) or not body["model"]:
        raise invalid_request(f"model: {body['model']!r} was given; the id of a model is allowed")
    model = find_model(body["model"])
    check_conversation(body, model, beta=beta)
    check_system(body.get("system"))
    check_tools(body, model, beta=beta)
    check_breakpoints(body)
    if version == API_VERSIONS[1]:
        _check_2026_10_21(body)
    output_config = body.get("output_config") or {}
    if not isinstance(output_config, dict):
        raise invalid_request("output_config: an object is allowed")
    _check_format(output_config.get("format"))
    effort = output_config.get("effort")
    if effort is not None and effort not in EFFORTS:
        raise invalid_request(f"output_config.effort: {effort!r} was given; one of {', '.join(EFFORTS)} is allowed")
    return model


def _check_2026_10_21(body: dict[str, Any]) -> None:
    for field in _SAMPLING:
        if field in body:
            raise invalid_request(f"{field}: Extra inputs are not permitted under anthropic-version {API_VERSIONS[1]}")
    for path, block in message_blocks(body):
        role = body["messages"][int(path.split(".")[1])]["role"]
        if role == "assistant" and block["type"] == "document":
            raise invalid_request(f"{path}.type: 'document' is not allowed in assistant messages")
        if role == "user" and block["type"] == "text" and "citations" in block:
            raise invalid_request(f"{path}.citations: Extra inputs are not permitted in user messages")


def _check_sampling(body: dict[str, Any], model: Model, version: str) -> None:
    if version == API_VERSIONS[1]:
        return  # already refused
    for field in _SAMPLING:
        value = body.get(field)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise invalid_request(f"{field}: {value!r} was given; a number is allowed")
        if field != "top_k" and not 0 <= value <= 1:
            raise invalid_request(f"{field}: {value!r} was given; 0 to 1 is allowed")
        if not model.accepts_sampling and not (field != "top_k" and value == 1):
            raise invalid_request(f"{field}: {value!r} was given; {model.id} takes the default only")


def _check_thinking(thinking: object, max_tokens: int) -> None:
    if thinking is None:
        return
    kind = thinking.get("type") if isinstance(thinking, dict) else thinking
    if not isinstance(thinking, dict) or kind not in ("enabled", "disabled", "adaptive", "between_tools"):
        allowed = "'enabled', 'disabled', 'adaptive' or 'between_tools'"
        raise invalid_request(f"thinking.type: {kind!r} was given; {allowed} is allowed")
    budget = thinking.get("budget_tokens")
    if kind == "enabled" and not (isinstance(budget, int) and 1024 <= budget < max_tokens):
        raise invalid_request(
            f"thinking.budget_tokens: {budget!r} was given; a whole number from 1024 below max_tokens is allowed"
        )


def _check_format(output_format: object) -> None:
    if output_format is None:
        return
    kind = output_format.get("type") if isinstance(output_format, dict) else output_format
    if not isinstance(output_format, dict) or kind != "json_schema":
        raise invalid_request(f"output_config.format.type: {kind!r} was given; 'json_schema' is allowed")
    if not isinstance(output_format.get("schema"), dict):
        raise invalid_request("output_config.format.schema: Field required")
    check_output_schema(output_format["schema"], "output_config.format.schema")
