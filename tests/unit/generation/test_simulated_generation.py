"""Whole generations with the simulator: schemas of callers, deadlines, prompts that are too long."""

from typing import Any

import pydantic
import pytest
from jsonschema import Draft202012Validator

from claude_simulator import Fault, FaultKind
from support.simulated_claude import SimulatedClaude
from support.virtual_time import run_virtual
from tidegate.core.domain.errors import RetriesExhausted
from tidegate.generation.generator import Generator
from tidegate.generation.request import GenerationRequest, GenerationResult, Tally


class Step(pydantic.BaseModel):
    name: str
    minutes: float = 5
    next: "Step | None"


class Plan(pydantic.BaseModel):
    title: str | None
    steps: list[Step] = pydantic.Field(min_length=3)
    owners: dict[str, int]


def generate(claude: SimulatedClaude, request: GenerationRequest, tally: Tally | None = None) -> GenerationResult:
    generator = Generator(
        claude.model,
        claude.clock,
        model="claude-haiku-4-5",
        fallback_model="claude-haiku-5-5",
        timeout_seconds=60,
    )
    return run_virtual(generator.generate(request, lambda _: None, tally), claude.clock)


@pytest.mark.parametrize(
    "schema",
    [
        Plan.model_json_schema(),
        {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]},
        {"type": "object", "properties": {"code": {"type": "string", "pattern": "^[A-Z]{3}$"}}, "required": ["code"]},
        {"type": "object", "properties": {"a": {"type": "array", "items": {}, "minItems": 3}}, "required": ["a"]},
        {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1},
        {"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "required": ["a"]},
        {"type": "array", "items": {"type": "string"}, "minItems": 2},
        {"allOf": [{"required": ["a"]}, {"required": ["b"]}], "type": "object"},
        {},
    ],
)
def test_ordinary_schemas_are_answered_with_valid_documents_at_once(schema: dict[str, Any]) -> None:
    result = generate(SimulatedClaude(), GenerationRequest("Build a house", schema=schema))
    Draft202012Validator(schema).validate(result.document)
    assert (result.attempts, result.repaired) == (1, False)


SLOW = Fault(kind=FaultKind.SLOW_START, delay_seconds=100, count=1)


def test_the_fallback_has_time_left_when_the_first_request_takes_all_of_its_own() -> None:
    claude = SimulatedClaude(SLOW)
    result = generate(claude, GenerationRequest("Wait an hour", fallback=True, timeout_seconds=30))
    assert (result.fallback_reason, result.model, result.attempts) == ("deadline", "claude-haiku-5-5", 2)
    assert str(result.fallback_message).startswith("ran out of time after 1 attempt in 20.0 s")
    assert claude.clock.elapsed_s == 20


def test_without_a_fallback_the_first_request_has_all_the_time() -> None:
    claude, tally = SimulatedClaude(SLOW), Tally()
    with pytest.raises(RetriesExhausted) as caught:
        generate(claude, GenerationRequest("Wait an hour", timeout_seconds=30), tally)
    assert caught.value.out_of_time
    assert (claude.clock.elapsed_s, tally.attempts) == (30, 1)


def test_a_prompt_beyond_the_context_falls_back_to_a_model_that_reads_more() -> None:
    result = generate(SimulatedClaude(), GenerationRequest("word " * 200_000, fallback=True))
    assert (result.fallback_reason, result.model) == ("too_long", "claude-haiku-5-5")
    assert "prompt is too long" in str(result.fallback_message)
