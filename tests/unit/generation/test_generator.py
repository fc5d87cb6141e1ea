import json
from typing import Any

import pytest
import yaml

from support.recording_observer import RecordingObserver
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import (
    ConfigurationError,
    GenerationError,
    Refusal,
    RetriesExhausted,
    TidegateError,
    UpstreamError,
    UpstreamUnreachable,
)
from tidegate.core.domain.events import FallbackUsed, WorkflowFinished
from tidegate.core.domain.usage import Usage
from tidegate.generation.generator import Generator
from tidegate.generation.model import ModelAnswer, Question
from tidegate.generation.request import GenerationRequest, GenerationResult, OnProgress, Progress, Tally, Validated
from tidegate.generation.structured import ENVELOPE_SCHEMA

DOCUMENT = {
    "document": {"dsl": "1.0.0", "namespace": "test", "name": "pause", "version": "0.1.0"},
    "do": [{"pause": {"wait": {"seconds": 1}}}],
}
BROKEN = {**DOCUMENT, "do": [{"pause": {"wait": {"seconds": "soon"}}}]}


def envelope(document: object, *notes: str) -> str:
    return json.dumps({"workflow": json.dumps(document), "notes": list(notes)})


VALID, INVALID = envelope(DOCUMENT, "a note"), envelope(BROKEN)


class ScriptedModel:
    """Answers with the next item of a script: an answer's text, (text, stop reason), or an error.

    Each answer takes an attempt, 10 tokens in and 5 out, and half a second in the queue; an error five attempts.
    """

    def __init__(self, *script: str | tuple[str, str] | Exception) -> None:
        self.script = list(script)
        self.questions: list[Question] = []

    async def ask(self, question: Question, on_progress: OnProgress, tally: Tally) -> ModelAnswer:
        del on_progress
        self.questions.append(question)
        step = self.script.pop(0)
        tally.queue_seconds += 0.5
        if isinstance(step, Exception):
            tally.attempts += 5
            raise step
        tally.attempts += 1
        tally.add_usage(Usage(10, 5, 3, 1))
        text, stop_reason = (step, "end_turn") if isinstance(step, str) else step
        return ModelAnswer(text, stop_reason, question.model, Usage(10, 5, 3, 1), attempts=1)


def generate(
    model: ScriptedModel,
    request: GenerationRequest,
    seen: list[Progress] | None = None,
    observer: RecordingObserver | None = None,
    tally: Tally | None = None,
) -> GenerationResult:
    clock = VirtualClock()
    generator = Generator(model, clock, model="big", fallback_model="small", timeout_seconds=60, observer=observer)
    return run_virtual(generator.generate(request, (seen if seen is not None else []).append, tally), clock)


def test_valid_answer_is_the_document_itself() -> None:
    seen: list[Progress] = []
    model = ScriptedModel(VALID)
    workflow = generate(model, GenerationRequest("wait a second"), seen)
    assert workflow.document == DOCUMENT
    assert yaml.safe_load(yaml.safe_dump(workflow.document)) == DOCUMENT
    assert (workflow.model, workflow.attempts, workflow.queue_seconds) == ("big", 1, 0.5)
    assert (workflow.repaired, workflow.fallback_used, workflow.fallback_reason) == (False, False, None)
    assert workflow.usage == Usage(10, 5, 3, 1)
    assert workflow.notes == ("a note",)
    assert seen == [Validated(valid=True, findings=())]
    assert model.questions[0].schema is ENVELOPE_SCHEMA


def test_invalid_answer_goes_back_once_with_the_findings() -> None:
    model = ScriptedModel(INVALID, VALID)
    workflow = generate(model, GenerationRequest("wait a second"))
    assert workflow.document == DOCUMENT
    assert workflow.repaired
    assert workflow.attempts == 2
    assert workflow.usage == Usage(20, 10, 6, 2)
    repair = model.questions[1].messages
    assert [message["role"] for message in repair] == ["user", "assistant", "user"]
    assert repair[1]["content"] == INVALID
    assert "/do/0/pause/wait/seconds" in repair[2]["content"]


@pytest.mark.parametrize("answer", ["not JSON", "[]", '{"workflow": 7, "notes": []}', envelope(["a list"]), ""])
def test_answer_that_is_no_document_is_repaired_too(answer: str) -> None:
    assert generate(ScriptedModel(answer, VALID), GenerationRequest("wait")).repaired


def test_invalid_twice_raises_with_the_findings() -> None:
    observer = RecordingObserver()
    with pytest.raises(GenerationError, match="even after a repair") as caught:
        generate(ScriptedModel(INVALID, INVALID), GenerationRequest("wait"), observer=observer)
    assert caught.value.reason == "invalid"
    assert caught.value.findings[0].startswith("/do/0/pause/wait/seconds: ")
    assert observer.events == [WorkflowFinished("invalid")]


OVERLOADED = UpstreamError("529 overloaded_error: Overloaded", status=529, error_type="overloaded_error")
RATE_LIMITED = UpstreamError("429", status=429, error_type="rate_limit_error")
OUT_OF_TIME = UpstreamUnreachable("no answer", may_have_been_accepted=True, out_of_time=True)
TOO_LONG = UpstreamError("400 invalid_request_error: prompt is too long: 1200000 tokens", status=400)


@pytest.mark.parametrize(
    ("failures", "reason"),
    [
        ([INVALID, INVALID], "invalid: the answer has 1 faults"),
        ([("", "refusal")], "refused: the model refused"),
        ([("{", "max_tokens")], "truncated: the answer was longer"),
        ([("{", "model_context_window_exceeded")], "truncated: the prompt and its answer"),
        ([RetriesExhausted(5, 30.0, OVERLOADED)], "overloaded: gave up after 5 attempts in 30.0 s"),
        ([RetriesExhausted(5, 30.0, RATE_LIMITED)], "overloaded: gave up"),
        ([RetriesExhausted(1, 40.0, OUT_OF_TIME)], "deadline: ran out of time after 1 attempt in 40.0 s"),
        ([Refusal(Cause.DEADLINE, "no time")], "deadline: no time"),
        ([TOO_LONG], "too_long: 400"),
        ([UpstreamError("413", status=413)], "too_long: 413"),
    ],
)
def test_fallback_asks_the_smaller_model_with_a_smaller_prompt(failures: list[Any], reason: str) -> None:
    observer = RecordingObserver()
    model = ScriptedModel(*failures, VALID)
    workflow = generate(model, GenerationRequest("wait", fallback=True), observer=observer)
    assert workflow.document == DOCUMENT
    assert workflow.fallback_used
    assert f"{workflow.fallback_reason}: {workflow.fallback_message}".startswith(reason)
    first, last = model.questions[0], model.questions[-1]
    assert (first.model, last.model) == ("big", "small")
    assert len(last.system) * 3 < len(first.system)
    assert last.max_tokens < first.max_tokens
    start_ns = VirtualClock().monotonic_ns()
    assert (first.deadline_ns, last.deadline_ns) == (start_ns + 40 * 10**9, start_ns + 60 * 10**9)
    assert observer.events == [FallbackUsed(reason.split(":", maxsplit=1)[0]), WorkflowFinished("ok")]


@pytest.mark.parametrize(
    "error",
    [
        Refusal(Cause.QUEUE_FULL, "full"),
        UpstreamError("401 authentication_error: invalid x-api-key", status=401),
        UpstreamError("400 invalid_request_error: max_tokens", status=400),
        RetriesExhausted(5, 9.0, UpstreamUnreachable("refused", may_have_been_accepted=False)),
    ],
)
def test_no_fallback_for_what_would_fail_again(error: TidegateError) -> None:
    observer = RecordingObserver()
    model = ScriptedModel(error)
    with pytest.raises(type(error)) as caught:
        generate(model, GenerationRequest("wait", fallback=True), observer=observer)
    assert caught.value is error
    assert observer.events == [WorkflowFinished("failed")]


def test_a_generation_is_a_session_whose_repairs_and_fallback_go_to_its_front() -> None:
    model = ScriptedModel(INVALID, INVALID, INVALID, VALID, VALID)
    generate(model, GenerationRequest("wait", fallback=True))
    generate(model, GenerationRequest("wait"))
    sessions = [question.session for question in model.questions]
    assert len(set(sessions[:4])) == 1
    assert sessions[0] != sessions[4]
    assert all(sessions)
    full, repair, simple, simple_repair, another = [question.session_front for question in model.questions]
    assert (full, repair, simple, simple_repair, another) == (False, True, True, True, False)


def test_without_fallback_the_first_failure_is_raised() -> None:
    with pytest.raises(GenerationError, match="refused to answer"):
        generate(ScriptedModel(("", "refusal")), GenerationRequest("wait"))


def test_when_both_fail_the_second_failure_names_the_first_as_cause() -> None:
    with pytest.raises(GenerationError) as caught:
        generate(ScriptedModel(("", "refusal"), INVALID, INVALID), GenerationRequest("wait", fallback=True))
    assert caught.value.reason == "invalid"
    assert isinstance(caught.value.__cause__, GenerationError)
    assert caught.value.__cause__.reason == "refused"


def test_the_usage_of_failed_requests_counts() -> None:
    tally = Tally()
    model = ScriptedModel(RetriesExhausted(5, 30.0, OVERLOADED), INVALID, VALID)
    workflow = generate(model, GenerationRequest("wait", fallback=True), tally=tally)
    assert (workflow.attempts, workflow.queue_seconds, workflow.usage) == (7, 1.5, Usage(20, 10, 6, 2))
    with pytest.raises(GenerationError):
        generate(ScriptedModel(INVALID, INVALID), GenerationRequest("wait"), tally=(failed := Tally()))
    assert failed == Tally(2, 1.0, Usage(20, 10, 6, 2))


UNKNOWN_MODEL = UpstreamError("404 not_found_error: model: nope", status=404)


def test_a_model_that_the_upstream_does_not_know_is_the_callers_fault_if_the_call_names_it() -> None:
    with pytest.raises(
        ConfigurationError, match=r"model: got 'nope', allowed is a model that the upstream has"
    ) as caught:
        generate(ScriptedModel(UNKNOWN_MODEL), GenerationRequest("wait", model="nope"))
    assert caught.value.field == "model"
    with pytest.raises(UpstreamError) as configured:
        generate(ScriptedModel(UNKNOWN_MODEL), GenerationRequest("wait"))
    assert configured.value is UNKNOWN_MODEL


def test_deadline_comes_from_the_request() -> None:
    model = ScriptedModel(VALID)
    generate(model, GenerationRequest("wait", timeout_seconds=7))
    assert model.questions[0].deadline_ns == VirtualClock().monotonic_ns() + 7 * 10**9


SMALL_SCHEMA = {
    "type": "object",
    "properties": {"count": {"type": "integer", "minimum": 1}},
    "required": ["count"],
    "additionalProperties": False,
}
RECURSIVE_SCHEMA = {
    "type": "object",
    "properties": {"child": {"$ref": "#"}, "name": {"type": "string"}},
    "required": ["name"],
}


def test_a_caller_schema_is_sent_as_structured_output_and_checked_whole() -> None:
    model = ScriptedModel('{"count": 0}', '{"count": 2}')
    workflow = generate(model, GenerationRequest("count", schema=SMALL_SCHEMA))
    assert workflow.document == {"count": 2}
    assert workflow.repaired
    wire = model.questions[0].schema
    assert wire is not None
    assert "minimum" not in wire["properties"]["count"]
    assert "/count: 0 is less than the minimum of 1" in model.questions[1].messages[2]["content"]


def test_a_caller_schema_beyond_structured_outputs_travels_in_the_envelope() -> None:
    model = ScriptedModel(envelope({"name": "a", "child": {"name": "b"}}))
    workflow = generate(model, GenerationRequest("nest", schema=RECURSIVE_SCHEMA))
    assert workflow.document == {"name": "a", "child": {"name": "b"}}
    assert model.questions[0].schema is ENVELOPE_SCHEMA


@pytest.mark.parametrize("answer", ["nonsense", envelope({"a": 1}), "[" * 100_000, envelope("\ud800")])
def test_a_caller_schema_answers_that_are_no_documents(answer: str) -> None:
    with pytest.raises(GenerationError):
        generate(ScriptedModel(answer, answer), GenerationRequest("x", schema={"type": "array"}))


def test_a_caller_schema_may_be_of_another_type_than_object() -> None:
    schema = {"anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "integer"}}, {"type": "null"}]}
    assert generate(ScriptedModel(envelope([1])), GenerationRequest("x", schema=schema)).document == [1]
    assert generate(ScriptedModel(envelope(None)), GenerationRequest("x", schema=schema)).document is None


def test_a_caller_schema_that_is_none_is_named_before_anything_is_sent() -> None:
    model = ScriptedModel()
    with pytest.raises(ConfigurationError, match=r"schema\.properties\.a\.type: got 'strin'") as caught:
        generate(model, GenerationRequest("x", schema={"type": "object", "properties": {"a": {"type": "strin"}}}))
    assert caught.value.field == "schema.properties.a.type"
    assert model.questions == []


def test_the_empty_schema_takes_any_object() -> None:
    assert generate(ScriptedModel(envelope({"any": 1})), GenerationRequest("x", schema={})).document == {"any": 1}
