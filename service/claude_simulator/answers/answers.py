"""Composes an answer from the request alone: equal requests get equal answers."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from claude_simulator.answers.clauses import request_text, schema_in
from claude_simulator.answers.schema_answers import instance_of
from claude_simulator.answers.workflow_answers import broken_workflow_document, workflow_document
from claude_simulator.requests.prompt import split_tokens, text_of, text_without_notes, user_texts
from claude_simulator.requests.validation import MessagesRequest
from claude_simulator.scenarios.faults import FaultKind

MAX_ECHOED_CHARACTERS: Final = 400

_FILLER: Final = " and so the simulated answer goes on"


@dataclass(frozen=True, slots=True)
class AnswerBlock:
    """One content block. Its text, or for `tool_use` the JSON of its input, is cut into pieces of one token each."""

    kind: Literal["thinking", "text", "tool_use"]
    pieces: tuple[str, ...]
    tool_name: str = ""

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer with its stop reason."""

    blocks: tuple[AnswerBlock, ...]
    stop_reason: str = "end_turn"
    stop_sequence: str | None = None
    stop_details: Mapping[str, Any] | None = None

    @property
    def output_tokens(self) -> int:
        """The number of tokens."""
        return sum(len(block.pieces) for block in self.blocks)

    @property
    def thinking_tokens(self) -> int:
        """The number of tokens in thinking blocks."""
        return sum(len(block.pieces) for block in self.blocks if block.kind == "thinking")


def compose_answer(request: MessagesRequest, *, fault: FaultKind | None, output_tokens: int | None) -> Answer:
    """Composes the answer to a request.

    The first that applies: a refusal (fault); a tool call, if `tool_choice` forces one or the last message names a
    tool; an instance of the output schema; a workflow document, if the system prompt mentions workflows; a sentence
    that repeats the last message. `max_tokens` and stop sequences truncate it.

    Args:
        request: the request.
        fault: a fault of the answer, if any.
        output_tokens: the length of a text answer; None leaves it as composed.

    Raises:
        ApiError: 400, no instance of a tool's schema can be composed.
    """
    if fault is FaultKind.REFUSAL:
        details = {"type": "refusal", "category": "general_harms", "explanation": "A simulated refusal."}
        return Answer((), stop_reason="refusal", stop_details=details)
    answer = _tool_answer(request) or _text_answer(request, broken=fault is FaultKind.INVALID_WORKFLOW)
    if output_tokens is not None and answer.blocks[-1].kind == "text":
        answer = _with_length(answer, output_tokens)
    thinking = request.body.get("thinking") or {"type": "disabled"}
    if thinking["type"] != "disabled":
        thought = f"Simulated thinking about: {_echo(_last_text(request))}"
        answer = replace(answer, blocks=(_block("thinking", thought), *answer.blocks))
    answer = _stopped(answer, request.body.get("stop_sequences") or [])
    limit = request.max_tokens
    if fault is FaultKind.MAX_TOKENS:
        limit = min(limit, answer.output_tokens // 2)
    return _truncated(answer, limit)


def _tool_answer(request: MessagesRequest) -> Answer | None:
    tools = {
        tool["name"]: tool for tool in request.body.get("tools") or () if isinstance(tool.get("input_schema"), dict)
    }
    choice = request.body.get("tool_choice") or {"type": "auto"}
    words = _last_text(request)
    match choice["type"]:
        case "tool":
            name = choice["name"] if choice["name"] in tools else None
        case "any":
            name = next(iter(tools), None)
        case "auto":
            last = next(message for message in reversed(request.body["messages"]) if message["role"] != "system")
            said = text_without_notes(last)
            name = next((name for name in tools if _names(said, name)), None)
        case _:
            name = None
    if name is None:
        return None
    tool_input = instance_of(tools[name]["input_schema"], _echo(words))
    return Answer((_block("tool_use", json.dumps(tool_input), name),), stop_reason="tool_use")


def _names(text: str, tool_name: str) -> bool:
    """Whether a text contains the name of a tool as a word."""
    return re.search(rf"(?<![\w-]){re.escape(tool_name)}(?![\w-])", text) is not None


def _text_answer(request: MessagesRequest, *, broken: bool) -> Answer:
    return Answer((_block("text", _text(request, broken=broken)),))


def _text(request: MessagesRequest, *, broken: bool) -> str:
    texts = user_texts(request.body)
    first = texts[0] if texts else ""
    document = broken_workflow_document if broken else workflow_document
    output_format = (request.body.get("output_config") or {}).get("format")
    if output_format is not None:
        schema = output_format["schema"]
        is_envelope = schema.get("properties", {}).keys() >= {"workflow", "notes"}
        # The prompt has constraints that structured output does not support, and a model would follow them.
        prompt_schema = schema_in(text_of(request.body.get("system")))
        if is_envelope and prompt_schema is None:
            value: Any = document(first)
        elif broken:
            return "This simulated answer is not the JSON that was asked for."
        else:
            value = instance_of(prompt_schema or schema, f"simulated: {_echo(_last_text(request))}")
        if is_envelope:
            notes = [f"simulated answer: composed from the words of the request, {_echo(request_text(first))!r}"]
            value = {"workflow": json.dumps(value), "notes": notes}
        return json.dumps(value, ensure_ascii=False)
    if "workflow" in text_of(request.body.get("system")).lower():
        return json.dumps(document(first), ensure_ascii=False)
    return f"This is a simulated answer, no model was asked. You said: {_echo(_last_text(request))}"


def _last_text(request: MessagesRequest) -> str:
    texts = user_texts(request.body)
    return texts[-1] if texts else ""


def _echo(text: str) -> str:
    return " ".join(text[:MAX_ECHOED_CHARACTERS].split())


def _block(kind: Literal["thinking", "text", "tool_use"], text: str, tool_name: str = "") -> AnswerBlock:
    return AnswerBlock(kind, tuple(split_tokens(text)), tool_name)


def _with_length(answer: Answer, output_tokens: int) -> Answer:
    last = answer.blocks[-1]
    filler = split_tokens(_FILLER)
    missing = max(0, output_tokens - len(last.pieces))
    repeats = -(-missing // len(filler))
    pieces = (*last.pieces, *(filler * repeats))[:output_tokens]
    return replace(answer, blocks=(*answer.blocks[:-1], replace(last, pieces=pieces)))


def _stopped(answer: Answer, stop_sequences: list[str]) -> Answer:
    """Truncates the text at the first stop sequence."""
    last = answer.blocks[-1]
    if last.kind != "text":
        return answer
    found = [(last.text.find(stop), stop) for stop in stop_sequences if stop in last.text]
    if not found:
        return answer
    position, stop = min(found)
    text = _block("text", last.text[:position])
    return replace(answer, blocks=(*answer.blocks[:-1], text), stop_reason="stop_sequence", stop_sequence=stop)


def _truncated(answer: Answer, max_tokens: int) -> Answer:
    """Truncates to `max_tokens`. A tool call that does not fit is dropped: its JSON would be invalid."""
    if answer.output_tokens <= max_tokens:
        return answer
    left = max_tokens
    blocks: list[AnswerBlock] = []
    for block in answer.blocks:
        if block.kind != "tool_use" and left > 0:
            blocks.append(replace(block, pieces=block.pieces[:left]))
        left -= len(block.pieces)
    return Answer(tuple(blocks), stop_reason="max_tokens")
