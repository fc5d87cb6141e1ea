"""Generates a valid document: a full request, one repair, then the simpler request."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import (
    ConfigurationError,
    GenerationError,
    Refusal,
    RetriesExhausted,
    TidegateError,
    UpstreamError,
)
from tidegate.core.domain.events import FallbackUsed, WorkflowFinished
from tidegate.core.domain.nanoseconds import to_ns
from tidegate.core.failures.retry_policy import retry_reason
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.observer import Observer, Scope, ScopeKind, scope_of
from tidegate.core.ports.span_attributes import MODEL
from tidegate.generation.model import LanguageModel, ModelAnswer, Question
from tidegate.generation.prompts import repair_message, schema_rules, simple_system_prompt, system_prompt
from tidegate.generation.request import GenerationRequest, GenerationResult, OnProgress, Tally, Validated
from tidegate.generation.structured import ENVELOPE_SCHEMA, wire_schema
from tidegate.generation.validate import Checked, check_answer, check_caller_schema_answer

__all__ = ["Generator"]

_FULL_MAX_TOKENS: Final = 16_000
_SIMPLE_MAX_TOKENS: Final = 8_000
_STOPPED: Final = {
    "refusal": ("refused", "the model refused to answer"),
    "max_tokens": ("truncated", "the answer was longer than the model may answer"),
    "model_context_window_exceeded": ("truncated", "the prompt and its answer are longer than the model's context"),
}
_OVERLOADED: Final = frozenset({"overloaded", "rate_limited", "server_error"})
"""Reasons of `retry_reason` after which another model may succeed."""

_FIRST_SHARE: Final = 2 / 3
"""The share of the time for the full request if a fallback may follow."""


@dataclass(slots=True)
class _Run:
    """The state of one generation.

    A generation is a session of its own in the queue. Its repair and its fallback go to the front of that session.
    """

    request: GenerationRequest
    check: Callable[[str, bool], Checked]
    deadline_ns: int
    on_progress: OnProgress
    tally: Tally
    session: str = field(default_factory=lambda: f"workflow-{uuid.uuid4().hex}")


@dataclass(frozen=True, slots=True)
class _Answered:
    """A valid document and the answer that contained it."""

    checked: Checked
    answer: ModelAnswer
    repaired: bool


class Generator:
    """Generates documents.

    Args:
        language_model: answers the questions.
        clock: the time for deadlines.
        model: the id of the model for full requests, unless a request names one.
        fallback_model: the id of the model for simpler requests.
        timeout_seconds: the time for a generation that names none.
        observer: receives the outcome of each generation.
    """

    def __init__(
        self,
        language_model: LanguageModel,
        clock: Clock,
        *,
        model: str,
        fallback_model: str,
        timeout_seconds: float,
        observer: Observer | None = None,
    ) -> None:
        self._language_model = language_model
        self._clock = clock
        self._model = model
        self._fallback_model = fallback_model
        self._timeout_seconds = timeout_seconds
        self._observer = observer

    async def generate(
        self, request: GenerationRequest, on_progress: OnProgress, tally: Tally | None = None
    ) -> GenerationResult:
        """Generates a valid document.

        The tally counts the cost, also if the generation fails or is cancelled.

        Raises:
            ConfigurationError: the caller's schema cannot be used (nothing was sent), or the upstream does not know the
                model that the request names.
            Refusal: Tidegate did not admit the call.
            UpstreamError: the upstream refused, and a retry would not help.
            RetriesExhausted: all attempts failed, or the time ran out.
            GenerationError: no answer could be used. The error has the findings about the last one.
        """
        timeout_seconds = request.timeout_seconds or self._timeout_seconds
        started_ns = self._clock.monotonic_ns()
        tally = Tally() if tally is None else tally
        run = _Run(request, _check_of(request.schema), started_ns + to_ns(timeout_seconds), on_progress, tally)
        first_share = _FIRST_SHARE if request.fallback else 1.0
        full = self._full_question(run, started_ns + to_ns(timeout_seconds * first_share))
        attributes = {MODEL: full.model, "tidegate.caller": request.caller.label}
        with scope_of(self._observer, ScopeKind.GENERATE, attributes) as scope:
            try:
                result = await self._generate(full, run)
            except TidegateError as error:
                self._report(error.reason if isinstance(error, GenerationError) else "failed", scope)
                raise
            self._report("repaired" if result.repaired else "ok", scope)
            return result

    async def _generate(self, full: Question, run: _Run) -> GenerationResult:
        try:
            return _result(await self._ask_and_repair(full, run), run.tally)
        except TidegateError as error:
            reason = _fallback_reason(error)
            if reason is None or not run.request.fallback:
                raise _as_bad_model(error, run.request) from error.__cause__
            first = error
        if self._observer is not None:
            self._observer.event(FallbackUsed(reason))
        try:
            answered = await self._ask_and_repair(self._simple_question(full, run), run)
        except TidegateError as error:
            raise error from first
        return _result(answered, run.tally, fallback_reason=reason, fallback_message=str(first))

    async def _ask_and_repair(self, question: Question, run: _Run) -> _Answered:
        """Returns the document that answers a question, after at most one repair."""
        answer, checked = await self._ask(question, run)
        repaired = bool(checked.findings)
        if repaired:
            conversation = (
                *question.messages,
                {"role": "assistant", "content": answer.text or "(nothing)"},
                {"role": "user", "content": repair_message(checked.findings)},
            )
            repair = replace(question, messages=conversation, session_front=True)
            answer, checked = await self._ask(repair, run)
        if checked.findings:
            raise GenerationError(
                "invalid",
                f"the answer has {len(checked.findings)} faults even after a repair, first {checked.findings[0]}",
                checked.findings,
            )
        return _Answered(checked, answer, repaired)

    async def _ask(self, question: Question, run: _Run) -> tuple[ModelAnswer, Checked]:
        answer = await self._language_model.ask(question, run.on_progress, run.tally)
        if answer.stop_reason in _STOPPED:
            raise GenerationError(*_STOPPED[answer.stop_reason])
        checked = run.check(answer.text, question.schema is ENVELOPE_SCHEMA)
        run.on_progress(Validated(not checked.findings, checked.findings))
        return answer, checked

    def _full_question(self, run: _Run, deadline_ns: int) -> Question:
        request = run.request
        return Question(
            model=request.model or self._model,
            system=system_prompt() if request.schema is None else schema_rules(request.schema),
            messages=({"role": "user", "content": request.prompt},),
            schema=wire_schema(request.schema),
            max_tokens=_FULL_MAX_TOKENS,
            caller=request.caller,
            deadline_ns=deadline_ns,
            session=run.session,
        )

    def _simple_question(self, full: Question, run: _Run) -> Question:
        return replace(
            full,
            deadline_ns=run.deadline_ns,
            model=self._fallback_model,
            system=simple_system_prompt() if run.request.schema is None else full.system,
            max_tokens=_SIMPLE_MAX_TOKENS,
            session_front=True,
        )

    def _report(self, outcome: str, scope: Scope) -> None:
        scope.set("tidegate.outcome", outcome)
        if self._observer is not None:
            self._observer.event(WorkflowFinished(outcome))


def _result(
    answered: _Answered, tally: Tally, *, fallback_reason: str | None = None, fallback_message: str | None = None
) -> GenerationResult:
    return GenerationResult(
        document=answered.checked.document,
        model=answered.answer.model,
        usage=tally.usage,
        attempts=tally.attempts,
        queue_seconds=tally.queue_seconds,
        repaired=answered.repaired,
        fallback_reason=fallback_reason,
        fallback_message=fallback_message,
        notes=answered.checked.notes,
    )


def _check_of(schema: Mapping[str, Any] | None) -> Callable[[str, bool], Checked]:
    """Returns the check of answers, a function of their text and of whether it is an envelope."""
    if schema is None:
        return lambda text, _enveloped: check_answer(text)
    from tidegate.generation.caller_schema.schema import CallerSchema  # noqa: PLC0415  # rarely needed, slow to import

    compiled = CallerSchema(schema)
    return lambda text, enveloped: check_caller_schema_answer(text, compiled, enveloped=enveloped)


def _fallback_reason(error: TidegateError) -> str | None:
    """Returns why a simpler request may succeed, or None if it would fail in the same way."""
    if isinstance(error, GenerationError):
        return error.reason
    if isinstance(error, Refusal) and error.cause is Cause.DEADLINE:
        return "deadline"
    if isinstance(error, RetriesExhausted):
        if error.out_of_time:
            return "deadline"
        return "overloaded" if retry_reason(error.last) in _OVERLOADED else None
    if isinstance(error, UpstreamError) and (error.status == 413 or "prompt is too long" in str(error)):
        return "too_long"
    return None


def _as_bad_model(error: TidegateError, request: GenerationRequest) -> TidegateError:
    """Returns the error, or a `ConfigurationError` if the upstream does not know the model that the request names."""
    if isinstance(error, UpstreamError) and error.status == 404 and request.model is not None:
        return ConfigurationError("model", request.model, f"a model that the upstream has; it answered {error}")
    return error
