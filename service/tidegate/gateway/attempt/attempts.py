"""Attempts at the upstream, until one gives an answer that can be relayed."""

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from typing import Final

from tidegate.core.claude.failures import attempt_status, lease_outcome, never_began
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import ONE_REQUEST, Cost
from tidegate.core.domain.errors import Refusal, RetriesExhausted, UpstreamError, UpstreamUnreachable
from tidegate.core.domain.events import Anomaly, AttemptFinished, Event, RefusedCall, RetryScheduled
from tidegate.core.domain.feedback import Feedback, Succeeded
from tidegate.core.domain.limit_report import LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND, to_ns
from tidegate.core.domain.usage import Usage
from tidegate.core.failures.retry_policy import retry_reason
from tidegate.core.ports.observer import NULL_SCOPE, Scope, ScopeKind
from tidegate.core.ports.span_attributes import MAX_TOKENS, MODEL, RESEND_COUNT, set_error
from tidegate.engine.admission import Lease
from tidegate.engine.feedback import teach_failure
from tidegate.engine.retry import with_retries
from tidegate.gateway.attempt.reachability import LONGEST_WAIT_SECONDS, OutOfReach
from tidegate.gateway.attempt.relay_context import NO_SCOPES, RelayContext, Reply
from tidegate.gateway.attempt.settlement import broken_status, settlement
from tidegate.gateway.call import Call
from tidegate.gateway.deadlines import Deadline
from tidegate.gateway.forwarded_headers import with_headers
from tidegate.gateway.receive.client_request import ClientDisconnected
from tidegate.gateway.receive.prepared_call import PreparedCall
from tidegate.gateway.receive.request import InvalidCall
from tidegate.gateway.relay.response_attributes import describe_answer
from tidegate.gateway.relay.response_start import ResponseStart
from tidegate.gateway.relay.usage_reader import reader_for

__all__ = ["Attempts"]

_SUCCEEDED: Final = Succeeded()
_LEAST_PAUSE_SECONDS: Final = 0.1
"""A pool pauses at least this long after a 429, whatever the upstream and the policy say: never a busy loop."""

_MAX_THROTTLED_IN_FRONT: Final = 3
"""A call that is refused again and again, because of its own size perhaps, must not keep all others waiting."""


class Attempts:
    """The attempts of one call: under the limiter, and repeated as long as nothing of an answer has been handed on.

    A 429 costs no attempt: the pool is frozen for as long as the upstream asks, and the call waits at the front of its
    queue for as long as its client does. Other failures are repeated as the policy says.
    """

    __slots__ = (
        "_admission",
        "_answer",
        "_asked_ns",
        "_begun",
        "_call",
        "_chat",
        "_clock",
        "_last",
        "_prepared",
        "_scopes",
        "_task",
        "_throttled",
        "_traces",
        "_upstream",
    )

    def __init__(
        self, upstream: RelayContext, call: Call, prepared: PreparedCall, task: asyncio.Task[object] | None = None
    ) -> None:
        self._upstream = upstream
        self._task = task
        self._admission = upstream.admission
        self._clock = upstream.admission.clock
        self._call = call
        self._prepared = prepared
        self._throttled = 0
        self._last: UpstreamError | None = None
        self._answer: ResponseStart | None = None
        self._begun = False  # whether anything of the latest request has been sent
        self._chat: Scope = NULL_SCOPE
        self._traces = call.traced
        self._scopes: AbstractContextManager[object] = NO_SCOPES
        self._asked_ns = 0

    def reply(self) -> Coroutine[None, None, Reply]:
        """The answer to relay.

        Raises:
            Refusal: Tidegate refused before anything was sent.
            UpstreamError: the last failure, when the call cannot be repeated, or not any more.
        """
        return self._traced_reply() if self._traces else self._reply()

    async def _traced_reply(self) -> Reply:
        self._asked_ns = self._clock.monotonic_ns()
        with ExitStack() as scopes:
            if self._prepared.shape is not None:
                most_tokens = self._prepared.shape.max_tokens
                attributes = {} if most_tokens is None else {MAX_TOKENS: most_tokens}
                self._chat = scopes.enter_context(self._scope(ScopeKind.CHAT, attributes))
            try:
                reply = await self._reply()
            except BaseException as error:
                set_error(self._chat, error)
                raise
            finally:
                self._chat.set("tidegate.attempts", self._call.attempts)
            self._scopes = scopes.pop_all()  # goes on until the reply is settled
            return reply

    async def _reply(self) -> Reply:
        reachability = self._upstream.reachability
        try:
            if reachability is not None and reachability.is_hopeless:
                raise reachability.refusal()
            try:
                return await self._attempt(1)
            except UpstreamError as error:
                if not self._prepared.replayable:
                    raise
                first = error
            with self._reachable():
                return await with_retries(
                    self._attempt,
                    self._upstream.retry_policy(),
                    first=first,
                    clock=self._clock,
                    random=self._upstream.random,
                    deadline_ns=self._call.deadline_ns,
                    observer=self._admission.observer,
                    pool=self._call.pool,
                )
        except RetriesExhausted as exhausted:
            raise exhausted.last from None
        except OutOfReach as refusal:
            self._report(RefusedCall(self._call.pool, self._call.caller, refusal.cause))
            raise
        except Refusal as refusal:
            # What the upstream said last tells more than that the limiter would not wait for it any longer.
            if self._last is not None and refusal.row.retryable:
                raise self._last from refusal
            raise

    def _reachable(self) -> AbstractContextManager[object]:
        """A block in which the call waits for the upstream, and which ends early if that cannot be reached."""
        reachability = self._upstream.reachability
        if reachability is None:
            return NO_SCOPES
        max_seconds = None if self._call.names_timeout else LONGEST_WAIT_SECONDS
        return reachability.waiting(self._task, max_seconds, self._is_sent, self._call.started_ns)

    def _is_sent(self) -> bool:
        return self._call.in_flight and self._begun

    async def learn(self, reply: Reply) -> None:
        """Tells the pool what the head of an answer says that is still coming: soon after its first part went on.

        That takes as long as everything else, and no client needs to wait for it.
        """
        reply.learned = True
        with suppress(Refusal):  # the store is away, the client has its answer, and the next one tells as much
            if (usage := self.used()) is not None:
                # What headers say counts the true input, so the level here has to count it as well.
                await reply.lease.charge(usage.cost())
            await self._admission.store.learn(self._call.pool, self._lesson(reply, self._clock.monotonic_ns()))
        reply.answer.forget_head()

    def _lesson(self, reply: Reply, now_ns: int) -> LimitReport:
        headers, sent_ago_ns = reply.answer.response.headers, now_ns - reply.started_ns
        return self._upstream.lessons.of_answer(reply.lease, headers, sent_ago_ns, self._clock)

    def _taught(self, reply: Reply, now_ns: int, *, succeeded: bool) -> tuple[Feedback, ...]:
        """What the pool has not yet heard of an answer that is over."""
        if reply.learned:
            return (_SUCCEEDED,) if succeeded else ()
        reply.learned = True
        if succeeded and not self._upstream.lessons.are_due(self._call.pool, now_ns):
            return (Succeeded(now_ns - reply.started_ns, reply.lease.id),)
        report = self._lesson(reply, now_ns)
        return (report, _SUCCEEDED) if succeeded else (report,)

    def settle(self, reply: Reply, outcome: Outcome, *, succeeded: bool) -> Coroutine[None, None, None]:
        """Closes a reply, charges what its answer has used (the estimate, if it says nothing), and learns."""
        settles = self._settle(reply, outcome, succeeded=succeeded)
        return self._within_scopes(reply, settles) if self._traces else settles

    async def _within_scopes(self, reply: Reply, settles: Coroutine[None, None, None]) -> None:
        with self._scopes, reply.scopes:
            await settles

    async def _settle(self, reply: Reply, outcome: Outcome, *, succeeded: bool) -> None:
        usage = self._call.usage = self.used()
        first_ns = reply.answer.first_token_ns
        if self._traces:
            told = "abandoned" if outcome is Outcome.ABANDONED else "broken"
            describe_answer(
                self._chat,
                reply.scope,
                reply.answer,
                usage,
                asked_ns=self._asked_ns,
                failure=None if succeeded else told,
            )
        shape, reader, estimator = self._prepared.shape, reply.answer.reader, self._admission.estimator
        is_odd = False
        if succeeded and shape is not None:
            cost, is_odd = settlement(reader, usage, shape, reply.lease.demand.cost, estimator)
        else:
            cost = None if usage is None else usage.cost()
        now_ns = self._clock.monotonic_ns()
        try:
            await reply.lease.end(outcome, cost, self._taught(reply, now_ns, succeeded=succeeded))
        finally:
            if not reply.answer.is_over:
                await reply.answer.aclose()
            self._call.in_flight = False
        if is_odd:
            self._report(Anomaly(self._call.pool, AnomalyKind.USAGE))
        elif usage is not None and shape is not None and succeeded:
            written_ns = 0 if self._prepared.streams else now_ns - reply.started_ns
            estimator.learn(shape, usage, now_ns, text_bytes=reader.text_bytes, written_ns=written_ns)
        is_broken = not succeeded and outcome is Outcome.SETTLED
        self._report_attempt(
            broken_status(reply.answer) if is_broken else str(reply.answer.response.status),
            now_ns - reply.started_ns,
            first_token_ns=None if first_ns is None else first_ns - reply.started_ns,
            usage=usage,
        )

    async def _attempt(self, _number: int) -> Reply:
        """One attempt, in which 429s and outages are waited out; after a failure it goes ahead of the queue."""
        while True:
            if self._call.is_read_on:  # for the sake of its usage, not of another attempt
                raise ClientDisconnected
            demand = self._demand()
            lease = (None if self._traces else self._admission.lease_at_once(demand)) or await self._acquire(demand)
            self._call.attempts += 1
            try:
                return await (self._traced_send(lease) if self._traces else self._send(lease, NULL_SCOPE))
            except UpstreamError as error:
                before, self._last = self._last, error.with_traceback(None)  # which would hold the whole answer
                if before is not None and _expired_unsent(error):
                    self._last = before
                    raise before from error
                if not self._prepared.replayable or not await self._waits_its_turn(error):
                    raise

    async def _waits_its_turn(self, error: UpstreamError) -> bool:
        """Whether the pool itself holds the call back until another attempt makes sense: then it costs no attempt."""
        if retry_reason(error) == "rate_limited":
            return True
        if isinstance(error, UpstreamUnreachable) and (error.may_have_been_accepted or error.out_of_time):
            return False
        pools = await self._admission.store.snapshot(self._call.pool)
        return retry_reason(error) is not None and any(Cause.UPSTREAM_OUTAGE in pool.open_circuits for pool in pools)

    def _demand(self) -> Demand:
        call, shape, asked_ns = self._call, self._prepared.shape, self._clock.monotonic_ns()
        throttled = self._last is not None and retry_reason(self._last) == "rate_limited"
        cost, overdraw_tokens, price = ONE_REQUEST, 0, None
        if shape is not None:
            estimator = self._admission.estimator
            cost, overdraw_tokens = estimator.quote(shape, asked_ns)
            price = partial(estimator.estimate, shape)
        return Demand(
            call.pool,
            call.caller,
            cost,
            max(0, call.deadline_ns - asked_ns),
            front=throttled and self._throttled <= _MAX_THROTTLED_IN_FRONT,
            retry=self._last is not None and not throttled,
            overdraw_tokens=overdraw_tokens,
            session=call.session,
            agent=call.agent,
            price=price,
        )

    async def _acquire(self, demand: Demand) -> Lease:
        call, asked_ns = self._call, self._clock.monotonic_ns()
        try:
            with self._reachable():
                lease = await self._admission.acquire(demand)
            call.waited_ns += lease.waited_ns
            return lease
        finally:
            call.queued_ns += self._clock.monotonic_ns() - asked_ns  # also when it was in vain

    async def _traced_send(self, lease: Lease) -> Reply:
        with ExitStack() as scopes:
            scope = scopes.enter_context(self._scope(ScopeKind.ATTEMPT, {RESEND_COUNT: self._call.attempts - 1}))
            try:
                reply = await self._send(lease, scope)
            except BaseException as error:
                set_error(scope, error)
                raise
            reply.scope, reply.scopes = scope, scopes.pop_all()
            return reply

    async def _send(self, lease: Lease, scope: Scope) -> Reply:
        """Sends the request once; the lease has ended unless an answer is returned."""
        call, upstream, started_ns = self._call, self._upstream, self._clock.monotonic_ns()
        left_seconds = max(0, call.deadline_ns - started_ns) / NS_PER_SECOND
        call.in_flight = True
        self._answer, self._begun = None, False
        try:
            with Deadline(left_seconds, self._task, upstream.deadlines):
                request = self._prepared.request
                if scope is not NULL_SCOPE:
                    request = with_headers(request, scope.headers())
                response = await upstream.transport.send(request, self._note_begin)
                reader = reader_for(call.route, response.headers, response.fields)
                answer = self._answer = ResponseStart(response, reader, upstream.limits, self._clock)
                if not answer.came_whole():
                    await answer.open()
        except TimeoutError:
            late = UpstreamUnreachable(
                f"no answer from the upstream within the {left_seconds:.1f} s that were left for it",
                may_have_been_accepted=self._begun,
                out_of_time=True,
            )
            await self._failed(lease, late, started_ns)
            raise late from None
        except UpstreamError as error:
            await self._failed(lease, error, started_ns)
            raise
        except BaseException as error:
            used = self.used()
            # The source of a body failed: the request was never sent whole, so it cannot have been accepted.
            was_cut = isinstance(error, ClientDisconnected | InvalidCall)
            outcome = Outcome.ABANDONED if self._begun and not was_cut else Outcome.RELEASED
            after_ns = self._clock.monotonic_ns() - started_ns
            await lease.end(outcome, self._given_up(lease, after_ns) if used is None else used.cost())
            self._report_attempt("abandoned", after_ns, usage=used)
            raise
        self._last = None
        return Reply(answer, lease, started_ns)

    async def _failed(self, lease: Lease, error: UpstreamError, started_ns: int) -> None:
        """Ends the lease of an attempt that failed, and learns."""
        self._call.in_flight = False
        used = self.used()
        sent_ago_ns = self._clock.monotonic_ns() - started_ns
        outcome, cost = lease_outcome(error, used)
        opened, self._answer = self._prepared.streams and self._answer is not None, None
        if cost is None and outcome is Outcome.ABANDONED and never_began(error, stream_opened=opened):
            cost = self._given_up(lease, sent_ago_ns)
        try:
            await self._learn_failure(lease, error, sent_ago_ns)
        finally:
            await lease.end(outcome, cost)
        self._report_attempt(attempt_status(error), sent_ago_ns, usage=used)
        report = self._upstream.lessons.of_error(self._call.pool, error.headers, sent_ago_ns, self._clock)
        if report is not None:
            await self._admission.store.learn(self._call.pool, report)

    def _note_begin(self) -> None:
        self._begun = True

    def used(self) -> Usage | None:
        """What the latest answer had used so far, as far as that can be; None where it says nothing."""
        if self._answer is None or (usage := (reader := self._answer.reader).usage) is None:
            return None
        shape = self._prepared.shape
        possible = usage.possible(None if shape is None else shape.max_tokens)
        if not reader.unreported_bytes:
            return possible
        return self._admission.estimator.produced(
            "" if shape is None else shape.model, possible, reader.unreported_bytes
        )

    def _given_up(self, lease: Lease, after_ns: int) -> Cost:
        """What a request has cost, if it was accepted, whose answer was not waited for to begin."""
        prepared, reserved = self._prepared, lease.demand.cost
        if prepared.shape is None:
            return reserved
        return self._admission.estimator.given_up(prepared.shape.model, reserved, after_ns, streams=prepared.streams)

    async def _learn_failure(self, lease: Lease, error: UpstreamError, sent_ago_ns: int) -> None:
        """A 429 freezes the pool for as long as the upstream asks; where it does not say, for longer each time."""
        pause_ns = 0
        if retry_reason(error) == "rate_limited":
            own_seconds = self._upstream.retry_policy().wait_seconds(self._throttled, self._upstream.random())
            pause_ns = to_ns(max(error.retry_after_seconds or own_seconds, _LEAST_PAUSE_SECONDS))
            self._throttled += 1
            if self._prepared.replayable:
                self._report_retry("rate_limited", pause_ns)
        await teach_failure(self._admission, lease, error=error, sent_ago_ns=sent_ago_ns, pause_ns=pause_ns)

    def _scope(self, kind: ScopeKind, attributes: Mapping[str, str | float]) -> Scope:
        if self._admission.observer is None:
            return NULL_SCOPE
        known = {
            "tidegate.pool": self._call.pool,
            "tidegate.caller": self._call.caller.label,
            MODEL: self._prepared.model,
        }
        return self._admission.observer.scope(kind, {**known, **attributes})

    def _report(self, event: Event) -> None:
        if self._admission.observer is not None:
            self._admission.observer.event(event)

    def _report_retry(self, reason: str, wait_ns: int) -> None:
        self._report(RetryScheduled(self._call.pool, reason, self._call.attempts, wait_ns))

    def _report_attempt(
        self, status: str, duration_ns: int, *, first_token_ns: int | None = None, usage: Usage | None = None
    ) -> None:
        if self._admission.observer is not None:
            call = self._call
            self._admission.observer.event(
                AttemptFinished(
                    call.pool, self._prepared.model, call.caller, status, duration_ns, first_token_ns, usage
                )
            )


def _expired_unsent(error: UpstreamError) -> bool:
    """Whether time ran out before anything was sent: what an earlier attempt met tells more."""
    return isinstance(error, UpstreamUnreachable) and error.out_of_time and not error.may_have_been_accepted
