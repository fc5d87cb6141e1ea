"""Makes the attempts of one call: each reserves quota, sends the request, judges the result, and settles a failure."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from tidegate.core.claude.failures import FAIR_SECONDS, attempt_status, lease_outcome, never_began
from tidegate.core.claude.request_ids import upstream_request_id
from tidegate.core.domain.budget import Spending
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Outcome
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.errors import Refusal, RetriesExhausted, UpstreamError, UpstreamUnreachable
from tidegate.core.domain.events import AttemptFinished, RefusedCall, RetryScheduled
from tidegate.core.domain.nanoseconds import NS_PER_SECOND, to_ns
from tidegate.core.domain.usage import Usage
from tidegate.core.failures.retry_policy import retry_reason
from tidegate.engine.admission import Lease
from tidegate.engine.failure_feedback import report_failure
from tidegate.engine.retry import with_retries
from tidegate.engine.waiting import Waiting
from tidegate.gateway.attempt.attempt_costs import abandoned_cost, demand_of, usage_so_far
from tidegate.gateway.attempt.call_spans import spans_of
from tidegate.gateway.attempt.leased_response import LeasedResponse
from tidegate.gateway.attempt.reachability import LONGEST_WAIT_SECONDS, OutOfReach
from tidegate.gateway.attempt.relay_context import RelayContext
from tidegate.gateway.call import Call
from tidegate.gateway.deadlines import Deadline
from tidegate.gateway.forwarded_headers import is_compressible, uncompressed, with_headers
from tidegate.gateway.receive.client_request import ClientDisconnected
from tidegate.gateway.receive.prepared_call import PreparedCall
from tidegate.gateway.receive.request import InvalidCall
from tidegate.gateway.relay.response_start import ResponseStart
from tidegate.gateway.relay.usage_reader import reader_for

__all__ = ["Attempts"]

_MIN_PAUSE_SECONDS: Final = 0.1
"""A pool pauses at least this long after a 429, whatever the upstream and the policy say, so that no loop gets busy."""
_MAX_429S_AT_FRONT: Final = 3
"""A call that gets more 429s loses its place at the front: it may get them for its own size, and others must not wait
behind it forever."""


class Attempts:
    """The attempts of one call. They end when one has a response to relay, or when retrying makes no sense.

    A 429 does not count as an attempt: the pool is frozen for as long as the upstream asks, and the call waits at the
    front of its queue for as long as its client does. Other failures are retried by the policy.

    Args:
        context: what all calls share.
        call: the call.
        prepared: its request.
        task: the task that runs the call; None: the current one.
    """

    __slots__ = (
        "_admission",
        "_call",
        "_clock",
        "_context",
        "_is_sending",
        "_last_error",
        "_prepared",
        "_rate_limited",
        "_response_start",
        "_spans",
        "_task",
    )

    def __init__(
        self, context: RelayContext, call: Call, prepared: PreparedCall, task: asyncio.Task[object] | None = None
    ) -> None:
        self._context = context
        self._admission = context.admission
        self._clock = context.clock
        self._call = call
        self._prepared = prepared
        self._task = task
        self._spans = spans_of(call, prepared, context.admission.observer, context.clock)
        self._rate_limited = 0  # number of 429s
        self._last_error: UpstreamError | None = None
        # The attempt under way:
        self._is_sending = False  # something of the request may have been sent
        self._response_start: ResponseStart | None = None

    async def response(self) -> LeasedResponse:
        """The response to relay.

        Raises:
            Refusal: Tidegate refused before anything was sent.
            UpstreamError: the last failure, if the call cannot be retried, or not any more.
        """
        with self._spans.call():
            return await self._first_response()

    async def _first_response(self) -> LeasedResponse:
        reachability = self._context.reachability
        try:
            if reachability is not None and reachability.is_hopeless:
                raise reachability.refusal()
            try:
                return await self._attempt(1)
            except UpstreamError as error:
                if not self._prepared.replayable:
                    raise
                first = error
            with self._while_reachable():
                return await with_retries(
                    self._attempt,
                    self._context.retry_policy(),
                    first=first,
                    clock=self._clock,
                    random=self._context.random,
                    deadline_ns=self._call.deadline_ns,
                    observer=self._admission.observer,
                    pool=self._call.pool,
                )
        except RetriesExhausted as exhausted:
            last = exhausted.last
        except OutOfReach as refusal:
            self._context.report(RefusedCall(self._call.pool, self._call.caller, refusal.cause))
            raise
        except Refusal as refusal:
            # The upstream's last error says more than that the call cannot wait any longer.
            if self._last_error is not None and refusal.row.retryable:
                raise self._last_error from refusal
            raise
        raise last  # not above: as its context, the exhaustion would refer to it and it to the exhaustion

    async def _attempt(self, _number: int) -> LeasedResponse:
        """One attempt by the policy's count. It waits out 429s and outages."""
        while True:
            if self._call.is_read_on:  # its client has left: only the usage of a response is still wanted
                raise ClientDisconnected
            lease = await self._reserve()
            self._call.attempts += 1
            try:
                with self._spans.attempt() as trace_headers:
                    return await self._send(lease, trace_headers)
            except UpstreamError as error:
                if not await self._is_retried_uncounted(error):
                    raise

    # Reserve.

    async def _reserve(self) -> Lease:
        """Waits for the quota of an attempt."""
        call, asked_ns = self._call, self._clock.monotonic_ns()
        after_429 = self._last_error is not None and retry_reason(self._last_error) == "rate_limited"
        demand = demand_of(
            call,
            self._prepared,
            self._admission.estimator,
            self._admission.prices if self._admission.store.has_budgets else None,
            asked_ns,
            front=after_429 and self._rate_limited <= _MAX_429S_AT_FRONT,
            retry=self._last_error is not None and not after_429,
        )
        if not self._spans.are_recorded and (lease := self._admission.try_acquire(demand)) is not None:
            return lease
        try:
            with self._while_reachable():
                lease = await self._admission.acquire(demand, self._note_waiting)
            call.external_wait_ns += lease.waited_ns
            return lease
        finally:
            call.queue_wait_ns += self._clock.monotonic_ns() - asked_ns  # also if it was refused
            call.waiting = None

    def _note_waiting(self, waiting: Waiting) -> None:
        self._call.waiting = waiting

    def _while_reachable(self) -> AbstractContextManager[object]:
        """A block in which the call waits for the upstream. It ends early if the upstream stays unreachable."""
        reachability = self._context.reachability
        if reachability is None:
            return nullcontext()
        max_seconds = None if self._call.names_timeout else LONGEST_WAIT_SECONDS
        return reachability.while_reachable(self._task, max_seconds, self._has_sent, self._call.started_ns)

    def _has_sent(self) -> bool:
        return self._call.in_flight and self._is_sending

    # Send.

    async def _send(self, lease: Lease, trace_headers: Mapping[str, str]) -> LeasedResponse:
        """Sends the request once. Ends the lease unless there is a response to relay."""
        call, sent_ns = self._call, self._clock.monotonic_ns()
        left_seconds = max(0, call.deadline_ns - sent_ns) / NS_PER_SECOND
        is_hasty = left_seconds < FAIR_SECONDS
        if self._prepared.streams:  # it may wait longer for quota than an upstream takes to begin a stream
            left_seconds = min(left_seconds, self._context.limits.content_idle_seconds)
        call.in_flight = True
        self._response_start, self._is_sending = None, False
        try:
            with Deadline(left_seconds, self._task, self._context.deadline_timers):
                start = await self._open_response(trace_headers)
        except TimeoutError:
            late = UpstreamUnreachable(
                f"no response from the upstream within the {left_seconds:.1f} s that were left for it",
                may_have_been_accepted=self._is_sending,
                out_of_time=True,
                is_hasty=is_hasty,
            )
            after_ns = self._clock.monotonic_ns() - sent_ns
            await self._settle_failure(lease, late, sent_ns)
            if self._is_sending:
                self._note_timeout(lease, after_ns)
            raise late from None
        except UpstreamError as error:
            await self._settle_failure(lease, error, sent_ns)
            raise
        except BaseException as error:
            await self._settle_abandoned(lease, error, sent_ns)
            raise
        self._last_error = None
        return LeasedResponse(self._context, call, self._prepared, start, lease, sent_ns, self._spans)

    async def _open_response(self, trace_headers: Mapping[str, str]) -> ResponseStart:
        """Sends the request and reads until the response can be relayed; raises as `ResponseStart.open`."""
        context = self._context
        request = with_headers(context.upstream_key.in_request(self._prepared.request), trace_headers)
        if self._prepared.streams:
            if self._call.status is not None:  # a comment has begun the response, without a coding
                request = uncompressed(request)
            self._call.may_be_compressed = is_compressible(request)
        response = await context.transport.send(request, self._note_sending)
        self._call.upstream_request_id = upstream_request_id(response.fields)
        reader = reader_for(self._call.route, response.headers, response.fields)
        start = self._response_start = ResponseStart(response, reader, context.limits, self._clock)
        if not start.arrived_whole():
            await start.open()
        return start

    def _note_sending(self) -> None:
        self._is_sending = True

    # Judge.

    async def _is_retried_uncounted(self, error: UpstreamError) -> bool:
        """Whether the call is retried without counting an attempt, because the pool itself makes it wait.

        That holds for 429s, and while the pool's circuit is open.

        Raises:
            UpstreamError: the error before this one, if this attempt ran out of time before anything was sent.
        """
        previous, self._last_error = self._last_error, error.with_traceback(None)  # frames hold the whole response
        if previous is not None and _expired_unsent(error):
            self._last_error = previous
            raise previous from error
        if not self._prepared.replayable:
            return False
        if retry_reason(error) == "rate_limited":
            return True
        if isinstance(error, UpstreamUnreachable) and (error.may_have_been_accepted or error.out_of_time):
            return False
        pools = await self._admission.store.snapshot(self._call.pool)
        return retry_reason(error) is not None and any(Cause.UPSTREAM_OUTAGE in pool.open_circuits for pool in pools)

    # Settle.

    async def _settle_failure(self, lease: Lease, error: UpstreamError, sent_ns: int) -> None:
        """Reports a failure to the pool, ends the lease, and reports the attempt."""
        self._call.in_flight = False
        usage = self._used()
        sent_ago_ns = self._clock.monotonic_ns() - sent_ns
        outcome, cost = lease_outcome(error, usage)
        stream_opened, self._response_start = self._prepared.streams and self._response_start is not None, None
        if cost is None and outcome is Outcome.ABANDONED and never_began(error, stream_opened=stream_opened):
            cost = abandoned_cost(self._prepared, lease.demand.cost, sent_ago_ns, self._admission.estimator)
        try:
            await self._report_failure(lease, error, sent_ago_ns)
        finally:
            await lease.end(outcome, cost, spent=self._spent(usage, cost))
        self._report_attempt(attempt_status(error), sent_ago_ns, usage)
        report = self._context.limit_updates.of_error(self._call.pool, error.headers, sent_ago_ns, self._clock)
        if report is not None:
            await self._admission.store.learn(self._call.pool, report)

    def _note_timeout(self, lease: Lease, after_ns: int) -> None:
        """Reports to the estimator that a response takes longer than the time that was left for it."""
        shape, output_tokens = self._prepared.shape, lease.demand.cost.output_tokens
        if shape is not None:
            estimator = self._admission.estimator
            estimator.observe_timeout(shape.model, output_tokens, after_ns, streams=self._prepared.streams)

    async def _settle_abandoned(self, lease: Lease, error: BaseException, sent_ns: int) -> None:
        """Ends the lease of an attempt that ended on this side: the client left, or broke off its upload."""
        usage = self._used()
        # If the client's upload failed, the request was never sent whole, so it was not accepted.
        upload_failed = isinstance(error, ClientDisconnected | InvalidCall)
        outcome = Outcome.ABANDONED if self._is_sending and not upload_failed else Outcome.RELEASED
        after_ns = self._clock.monotonic_ns() - sent_ns
        if usage is None:
            cost = abandoned_cost(self._prepared, lease.demand.cost, after_ns, self._admission.estimator)
        else:
            cost = usage.cost()
        await lease.end(outcome, cost, spent=self._spent(usage, cost))
        self._report_attempt("abandoned", after_ns, usage)

    async def _report_failure(self, lease: Lease, error: UpstreamError, sent_ago_ns: int) -> None:
        """Reports a failure. A 429 freezes the pool as long as the upstream asks, else by the policy: ever longer."""
        pause_ns = 0
        if retry_reason(error) == "rate_limited":
            policy_seconds = self._context.retry_policy().wait_seconds(self._rate_limited, self._context.random())
            pause_ns = to_ns(max(error.retry_after_seconds or policy_seconds, _MIN_PAUSE_SECONDS))
            self._rate_limited += 1
            if self._prepared.replayable:
                self._context.report(RetryScheduled(self._call.pool, "rate_limited", self._call.attempts, pause_ns))
        await report_failure(self._admission, lease, error=error, sent_ago_ns=sent_ago_ns, pause_ns=pause_ns)

    def _spent(self, usage: Usage | None, cost: Cost | None) -> Spending | None:
        return self._admission.prices.spent(self._prepared.model, usage, cost)

    def _used(self) -> Usage | None:
        if self._response_start is None:
            return None
        return usage_so_far(self._response_start.reader, self._prepared.shape, self._admission.estimator)

    def _report_attempt(self, status: str, duration_ns: int, usage: Usage | None) -> None:
        call, model = self._call, self._prepared.model
        cost_pico_usd = None if usage is None else self._admission.prices.cost_pico_usd(model, usage)
        self._context.report(
            AttemptFinished(
                call.pool, model, call.caller, status, duration_ns, None, usage, call.session, cost_pico_usd
            )
        )


def _expired_unsent(error: UpstreamError) -> bool:
    """Whether time ran out before anything was sent: the error of an earlier attempt says more."""
    return isinstance(error, UpstreamUnreachable) and error.out_of_time and not error.may_have_been_accepted
