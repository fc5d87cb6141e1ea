"""The flow from a prompt to a valid document: full request, one repair, then the simpler request."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tidegate.core.clock import Clock, to_ns
from tidegate.core.conventions import MODEL
from tidegate.core.errors import GenerationError, RetriesExhausted, TidegateError, UpstreamError
from tidegate.core.events import FallbackUsed, WorkflowFinished
from tidegate.core.observer import Observer, Scope, ScopeKind, scope_of
from tidegate.core.retry import retry_reason
from tidegate.core.usage import Usage
from tidegate.generation.model import LanguageModel, ModelAnswer, Question
from tidegate.generation.prompts import repair_message, schema_rules, simple_system_prompt, system_prompt
from tidegate.generation.request import GeneratedWorkflow, GenerationRequest, OnProgress, Validated
from tidegate.generation.structured import ENVELOPE_SCHEMA, wire_schema
from tidegate.generation.validate import Checked, check_answer, check_own_schema_answer

__all__ = ["Generator"]

_FULL_MAX_TOKENS: Final = 16_000
_SIMPLE_MAX_TOKENS: Final = 8_000
_STOPPED: Final = {
    "refusal": ("refused", "the model refused to answer"),
    "max_tokens": ("truncated", "the answer was longer than the model may answer"),
    "model_context_window_exceeded": ("truncated", "the prompt and its answer are longer than the model's context"),
}
_OVERLOADED: Final = frozenset({"overloaded", "rate_limited", "server_error"})
"""Reasons of `retry_reason` for which another model is worth a try."""


_NOTHING: Final = Usage()


@dataclass(slots=True)
class _Run:
    """One generation: what is asked, how answers are checked, and what all of them took together.

    It is a session of its own in the queue. Its repair and its fallback go to the front of that session.
    """

    request: GenerationRequest
    check: Callable[[str, bool], Checked]
    deadline_ns: int
    on_progress: OnProgress
    session: str = field(default_factory=lambda: f"workflow-{uuid.uuid4().hex}")
    usage: Usage = _NOTHING
    attempts: int = 0
    queue_seconds: float = 0.0

    def add(self, answer: ModelAnswer) -> None:
        self.usage = Usage._make(map(sum, zip(self.usage, answer.usage, strict=True)))
        self.attempts += answer.attempts
        self.queue_seconds += answer.queue_seconds


class Generator:
    """Generates documents.

    Args:
        language_model: who is asked.
        clock: time for deadlines.
        model: id of the model for full requests, unless a request names one.
        fallback_model: id of the model for simpler requests.
        timeout_seconds: time for a generation that names none.
        observer: who hears how generations end.
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

    async def generate(self, request: GenerationRequest, on_progress: OnProgress) -> GeneratedWorkflow:
        """Generates a document that is valid, with how it came about in its attributes.

        Raises:
            ConfigurationError: the caller's schema is not a JSON Schema; nothing was sent.
            Refusal: Tidegate did not admit the call.
            UpstreamError: the upstream refused for good.
            RetriesExhausted: every attempt failed.
            GenerationError: there were answers, but no usable one; with the validator's findings.
        """
        timeout_seconds = request.timeout_seconds or self._timeout_seconds
        deadline_ns = self._clock.monotonic_ns() + to_ns(timeout_seconds)
        run = _Run(request, _check_of(request.schema), deadline_ns, on_progress)
        attributes = {MODEL: request.model or self._model, "tidegate.caller": request.caller.label}
        with scope_of(self._observer, ScopeKind.GENERATE, attributes) as scope:
            try:
                document = await self._generate(run)
            except TidegateError as error:
                self._report(error.reason if isinstance(error, GenerationError) else "failed", scope)
                raise
            self._report("repaired" if document.repaired else "ok", scope)
            return document

    async def _generate(self, run: _Run) -> GeneratedWorkflow:
        try:
            return await self._answered(self._full_question(run), run)
        except TidegateError as error:
            reason = _fallback_reason(error)
            if reason is None or not run.request.fallback:
                raise
            first = error
        if self._observer is not None:
            self._observer.event(FallbackUsed(reason))
        try:
            document = await self._answered(self._simple_question(run), run)
        except TidegateError as error:
            raise error from first
        document.fallback_used = True
        document.fallback_reason = f"{reason}: {first}"
        return document

    async def _answered(self, question: Question, run: _Run) -> GeneratedWorkflow:
        """The document that answers a question, after one repair at most."""
        answer, checked = await self._asked(question, run)
        repaired = checked.document is None
        if repaired:
            conversation = (
                *question.messages,
                {"role": "assistant", "content": answer.text or "(nothing)"},
                {"role": "user", "content": repair_message(checked.findings)},
            )
            repair = replace(question, messages=conversation, session_front=True)
            answer, checked = await self._asked(repair, run)
        if checked.document is None:
            raise GenerationError(
                "invalid",
                f"the answer has {len(checked.findings)} faults even after a repair, first {checked.findings[0]}",
                checked.findings,
            )
        document = GeneratedWorkflow(checked.document)
        document.model = answer.model
        document.usage = run.usage
        document.attempts = run.attempts
        document.queue_seconds = run.queue_seconds
        document.repaired = repaired
        document.notes = checked.notes
        return document

    async def _asked(self, question: Question, run: _Run) -> tuple[ModelAnswer, Checked]:
        answer = await self._language_model.ask(question, run.on_progress)
        run.add(answer)
        if answer.stop_reason in _STOPPED:
            raise GenerationError(*_STOPPED[answer.stop_reason])
        checked = run.check(answer.text, question.schema is ENVELOPE_SCHEMA)
        run.on_progress(Validated(checked.document is not None, checked.findings))
        return answer, checked

    def _full_question(self, run: _Run) -> Question:
        request = run.request
        return Question(
            model=request.model or self._model,
            system=system_prompt() if request.schema is None else schema_rules(request.schema),
            messages=({"role": "user", "content": request.prompt},),
            schema=wire_schema(request.schema),
            max_tokens=_FULL_MAX_TOKENS,
            caller=request.caller,
            deadline_ns=run.deadline_ns,
            session=run.session,
        )

    def _simple_question(self, run: _Run) -> Question:
        full = self._full_question(run)
        return replace(
            full,
            model=self._fallback_model,
            system=simple_system_prompt() if run.request.schema is None else full.system,
            max_tokens=_SIMPLE_MAX_TOKENS,
            session_front=True,
        )

    def _report(self, outcome: str, scope: Scope) -> None:
        scope.set("tidegate.outcome", outcome)
        if self._observer is not None:
            self._observer.event(WorkflowFinished(outcome))


def _check_of(schema: Mapping[str, Any] | None) -> Callable[[str, bool], Checked]:
    """How answers are checked, as a function of their text and whether that is an envelope."""
    if schema is None:
        return lambda text, _enveloped: check_answer(text)
    from tidegate.generation.own_schema import own_schema_validator  # noqa: PLC0415  # rarely needed, slow to import

    validator = own_schema_validator(schema)
    return lambda text, enveloped: check_own_schema_answer(text, validator, enveloped=enveloped)


def _fallback_reason(error: TidegateError) -> str | None:
    """Why a simpler request is worth a try; None if it would fail in the same way."""
    if isinstance(error, GenerationError):
        return error.reason
    if isinstance(error, RetriesExhausted) and retry_reason(error.last) in _OVERLOADED:
        return "overloaded"
    if isinstance(error, UpstreamError) and (error.status == 413 or "prompt is too long" in str(error)):
        return "too_long"
    return None
