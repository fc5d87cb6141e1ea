"""Asks Claude through the SDK: admitted by the limiter, retried by Tidegate, streamed."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import structs

from tidegate.core.claude.failures import attempt_status, lease_outcome, never_began
from tidegate.core.claude.header_names import REQUEST_ID
from tidegate.core.claude.rate_limit_groups import DEFAULT_POOL, model_pool
from tidegate.core.claude.rate_limit_headers import read_limits
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.errors import UpstreamError
from tidegate.core.domain.events import Anomaly, AttemptFinished, Event
from tidegate.core.domain.feedback import Succeeded
from tidegate.core.domain.nanoseconds import to_seconds
from tidegate.core.domain.usage import Usage, settled_cost
from tidegate.core.failures.retry_policy import RetryPolicy, retry_reason
from tidegate.core.ports.observer import Scope, ScopeKind, scope_of
from tidegate.core.ports.span_attributes import (
    FINISH_REASON,
    MAX_TOKENS,
    METHOD,
    MODEL,
    RESEND_COUNT,
    RESPONSE_MODEL,
    STATUS,
    STREAMED,
    URL_PATH,
    set_error,
    set_upstream_request_id,
    set_usage,
)
from tidegate.core.pricing.message_shape import MessageShape, Prefix
from tidegate.core.pricing.prompt_size import PromptSize
from tidegate.engine.admission import Admission, Lease
from tidegate.engine.failure_feedback import report_failure
from tidegate.engine.retry import with_retries
from tidegate.engine.waiting import Waiting
from tidegate.generation.claude_stream import ReceivedAnswer, receive_answer
from tidegate.generation.model import ModelAnswer, Question
from tidegate.generation.request import AttemptStarted, OnProgress, Tally, TextReceived, WaitPredicted

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

__all__ = ["ClaudeModel"]

logger = logging.getLogger("services.dsl_generator.ai_client")
"""Programs written for the older module configure this logger by its name."""

_TEXT_EVERY_NS: Final = 250_000_000
"""Interval of progress reports. Each holds the whole text so far, so a report per token would be quadratic."""


class Gate(Protocol):
    """Waits for the pool `default`."""

    def __call__(
        self,
        caller: Caller,
        patience_ns: int | None,
        on_wait: Callable[[Waiting], None] | None,
        *,
        session: str,
        session_front: bool,
    ) -> Awaitable[float]:
        """Returns the time waited, in seconds. If there is a wait, `on_wait` is called."""
        ...


class ClaudeModel:
    """Implements `LanguageModel` for Claude.

    Each attempt is admitted by the pool `default` first, then by the pool of the model. Both learn from its outcome.

    Args:
        sdk: returns the SDK's client for the running event loop, with its own retries and traces off.
        gate: waits for the pool `default`.
        admission: admits attempts to the pool of a model.
        retry_policy: returns the current policy.
        random: returns random numbers from 0 to 1.

    Attributes:
        counts: attempts, answers, retries and failures since the start, for the status.
    """

    def __init__(
        self,
        sdk: "Callable[[], AsyncAnthropic]",
        gate: Gate,
        admission: Admission,
        retry_policy: Callable[[], RetryPolicy],
        random: Callable[[], float],
    ) -> None:
        self.counts = Counter[str](attempts=0, answers=0, retries=0, failures=0)
        self._sdk = sdk
        self._gate = gate
        self._admission = admission
        self._store = admission.store
        self._clock = admission.clock
        self._retry_policy = retry_policy
        self._random = random

    async def ask(self, question: Question, on_progress: OnProgress, tally: Tally) -> ModelAnswer:
        """Implements `LanguageModel.ask`."""
        call = _Call(question, on_progress, tally, self._store.pool_for(model_pool(question.model)), _shape(question))

        async def attempt(number: int) -> ModelAnswer:
            return await self._attempt(call, number)

        def on_retry(reason: str, number: int, wait_seconds: float, error: UpstreamError) -> None:
            self.counts["retries"] += 1
            logger.debug("attempt %d failed (%s: %s); again in %.1f s", number, reason, error, wait_seconds)

        attributes = {**_attributes(call), MAX_TOKENS: question.max_tokens, STREAMED: True}
        with scope_of(self._admission.observer, ScopeKind.CHAT, attributes) as scope:
            try:
                answer = await with_retries(
                    attempt,
                    self._retry_policy(),
                    clock=self._clock,
                    random=self._random,
                    deadline_ns=question.deadline_ns,
                    observer=self._admission.observer,
                    pool=call.pool,
                    on_retry=on_retry,
                )
            except Exception as error:
                self.counts["failures"] += 1
                set_error(scope, error)
                raise
            scope.set("tidegate.attempts", answer.attempts)
            scope.set(RESPONSE_MODEL, answer.model)
            scope.set(FINISH_REASON, answer.stop_reason or "")
            set_usage(scope, answer.usage)
            return answer

    async def _attempt(self, call: "_Call", number: int) -> ModelAnswer:
        question = call.question
        call.tally.queue_seconds += await self._gate(
            question.caller,
            self._left_ns(call),
            self._on_wait(call, DEFAULT_POOL),
            session=question.session,
            session_front=question.session_front,
        )
        estimator = self._admission.estimator
        cost, overdraw_tokens = estimator.quote(call.shape, self._clock.monotonic_ns())
        throttled = call.last is not None and retry_reason(call.last) == "rate_limited"
        demand = Demand(
            call.pool,
            question.caller,
            cost,
            patience_ns=self._left_ns(call),
            front=throttled,
            retry=call.last is not None and not throttled,
            overdraw_tokens=overdraw_tokens,
            session=question.session,
            session_front=question.session_front,
            price=partial(estimator.estimate, call.shape),
            spending=self._admission.prices.expected(call.shape, cost, estimator, self._clock.monotonic_ns()),
        )
        async with await self._admission.acquire(demand, self._on_wait(call, call.pool)) as lease:
            call.tally.queue_seconds += to_seconds(lease.waited_ns)
            logger.debug("attempt %d: asking %s", number, question.model)
            self.counts["attempts"] += 1
            call.tally.attempts += 1
            call.on_progress(AttemptStarted(number, question.model))
            received, started_ns = ReceivedAnswer(), self._clock.monotonic_ns()
            try:
                with self._attempt_scope(call, number) as scope:
                    await self._receive(call, received, scope, lease.id)
            except BaseException as error:
                await self._failed(call, received, lease, error, started_ns)
                raise
            call.tally.add_usage(received.usage)
            settled = settled_cost(received.usage, cost)
            usage = None if received.usage_is_odd else received.usage
            spent = self._admission.prices.spent(question.model, usage, settled)
            await lease.end(Outcome.SETTLED, settled, spent=spent)
        if received.usage_is_odd:
            self._report(Anomaly(call.pool, AnomalyKind.USAGE))
        else:
            text_bytes = len(received.text.encode())
            self._admission.estimator.observe(
                call.shape, received.usage, self._clock.monotonic_ns(), text_bytes=text_bytes
            )
        for pool in (DEFAULT_POOL, call.pool):
            await self._store.learn(pool, Succeeded())
        self.counts["answers"] += 1
        logger.debug("attempt %d: answered, %s", number, received.usage)
        self._report(self._attempt_event(call, started_ns, "200", received, received.usage))
        return ModelAnswer(
            text=received.text,
            stop_reason=received.stop_reason,
            model=received.model or question.model,
            usage=received.usage,
            attempts=number,
        )

    def _attempt_scope(self, call: "_Call", number: int) -> Scope:
        attributes: dict[str, str | float] = {**_attributes(call), METHOD: "POST", URL_PATH: "/v1/messages"}
        if number > 1:
            attributes[RESEND_COUNT] = number - 1
        return scope_of(self._admission.observer, ScopeKind.ATTEMPT, attributes)

    def _left_ns(self, call: "_Call") -> int:
        return max(0, call.question.deadline_ns - self._clock.monotonic_ns())

    def _on_wait(self, call: "_Call", pool: str) -> Callable[[Waiting], None]:
        def on_wait(waiting: Waiting) -> None:
            logger.debug("waiting for pool %s, probably %.1f s", pool, waiting.predicted_seconds)
            call.on_progress(WaitPredicted(pool, waiting.predicted_seconds))

        return on_wait

    async def _failed(
        self, call: "_Call", received: ReceivedAnswer, lease: Lease, error: BaseException, started_ns: int
    ) -> None:
        """Ends the lease of a failed or cancelled attempt, as the gateway does, and updates the pools."""
        estimator, model = self._admission.estimator, call.question.model
        after_ns, used = self._clock.monotonic_ns() - started_ns, received.estimated_usage(model, estimator)
        if used is not None:
            call.tally.add_usage(used)
        if isinstance(error, UpstreamError):
            call.last = error
            outcome, charged = lease_outcome(error, used)
            may_have_begun = not never_began(error, stream_opened=received.opened)
        else:
            outcome, charged, may_have_begun = Outcome.ABANDONED, None if used is None else used.cost(), False
        if charged is None and outcome is Outcome.ABANDONED and not may_have_begun:
            charged = estimator.given_up(model, lease.demand.cost, after_ns, streams=True)
        try:
            if isinstance(error, UpstreamError):
                await report_failure(self._admission, lease, DEFAULT_POOL, error=error, sent_ago_ns=after_ns)
        finally:
            await lease.end(outcome, charged, spent=self._admission.prices.spent(model, used, charged))
        self._report(self._attempt_event(call, started_ns, attempt_status(error), received, used))

    async def _receive(self, call: "_Call", answer: ReceivedAnswer, scope: Scope, lease_id: str) -> None:
        """Sends one attempt and receives its answer within the deadline.

        Raises:
            UpstreamError: there is no complete answer.
        """
        started_ns = self._clock.monotonic_ns()

        async def on_headers(headers: Mapping[str, str]) -> None:
            set_upstream_request_id(scope, headers.get(REQUEST_ID, ""))
            report = read_limits(headers, self._clock.wall_seconds())
            sent_ago_ns = self._clock.monotonic_ns() - started_ns
            await self._store.learn(call.pool, structs.replace(report, sent_ago_ns=sent_ago_ns, lease_id=lease_id))

        def on_text() -> None:
            if answer.first_token_ns is None:
                answer.first_token_ns = self._clock.monotonic_ns() - started_ns
            self._report_text(call, answer.text)

        try:
            await receive_answer(
                self._sdk(),
                call.question,
                answer,
                timeout_seconds=to_seconds(self._left_ns(call)),
                wall_seconds=self._clock.wall_seconds,
                trace_headers=scope.headers(),
                on_headers=on_headers,
                on_text=on_text,
            )
        except UpstreamError as error:
            set_error(scope, error)
            raise
        scope.set(STATUS, 200)

    def _report_text(self, call: "_Call", text: str) -> None:
        now_ns = self._clock.monotonic_ns()
        if now_ns - call.text_reported_ns >= _TEXT_EVERY_NS:
            call.text_reported_ns = now_ns
            call.on_progress(TextReceived(text))

    def _attempt_event(
        self, call: "_Call", started_ns: int, status: str, received: ReceivedAnswer, usage: Usage | None
    ) -> AttemptFinished:
        model = call.question.model
        return AttemptFinished(
            pool=call.pool,
            model=model,
            caller=call.question.caller,
            status=status,
            duration_ns=self._clock.monotonic_ns() - started_ns,
            first_token_ns=received.first_token_ns,
            usage=usage,
            cost_pico_usd=None if usage is None else self._admission.prices.cost_pico_usd(model, usage),
        )

    def _report(self, event: Event) -> None:
        if self._admission.observer is not None:
            self._admission.observer.event(event)


@dataclass(slots=True)
class _Call:
    question: Question
    on_progress: OnProgress
    tally: Tally
    pool: str
    shape: MessageShape
    last: UpstreamError | None = None
    text_reported_ns: int = -_TEXT_EVERY_NS


def _attributes(call: _Call) -> dict[str, str | float]:
    return {
        "tidegate.pool": call.pool,
        "tidegate.caller": call.question.caller.label,
        MODEL: call.question.model,
    }


def _shape(question: Question) -> MessageShape:
    system = Prefix(hash(question.system), len(question.system), PromptSize(), marked=True)
    asked = PromptSize(sum(len(str(message["content"])) for message in question.messages))
    return MessageShape(question.caller.name, question.model, system.size.plus(asked), question.max_tokens, (system,))
