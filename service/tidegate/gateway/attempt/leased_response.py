"""A response that is being relayed: charges its lease, updates the pool's limits from it, and settles it."""

from collections.abc import Coroutine
from contextlib import suppress
from typing import Final

from tidegate.core.claude.failures import attempt_status
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.demand import Outcome
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.errors import Refusal
from tidegate.core.domain.events import Anomaly, AttemptFinished
from tidegate.core.domain.feedback import Feedback, Succeeded
from tidegate.core.domain.limit_report import LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE
from tidegate.core.domain.usage import Usage
from tidegate.engine.admission import Lease
from tidegate.gateway.attempt.attempt_costs import complete_cost, usage_so_far
from tidegate.gateway.attempt.call_spans import CallSpans
from tidegate.gateway.attempt.relay_context import RelayContext
from tidegate.gateway.call import Call
from tidegate.gateway.receive.prepared_call import PreparedCall
from tidegate.gateway.relay.response_start import ResponseStart

__all__ = ["LeasedResponse"]

_CHARGE_EVERY_BYTES: Final = 1_024
"""A few hundred tokens, which take seconds to produce. One charge takes microseconds."""
_CHARGE_EVERY_NS: Final = 10 * NS_PER_MINUTE
"""A lease without a charge expires after an hour."""
_NOTHING: Final = Cost()
_SUCCEEDED: Final = Succeeded()


class LeasedResponse:
    """A response that will be relayed, with its lease. Must be settled.

    While the response comes, call `account` whenever `accounting_is_due`, after the latest part has been sent to the
    client: neither limits nor charges should delay it.

    Args:
        context: what all calls share.
        call: the call.
        prepared: the call's request.
        start: the response, read up to its first content.
        lease: what was reserved for the request.
        sent_ns: when the request was sent.
        spans: the spans of the call.
    """

    __slots__ = (
        "_call",
        "_charged_bytes",
        "_charged_ns",
        "_context",
        "_lease",
        "_limits_are_updated",
        "_prepared",
        "_sent_ns",
        "_spans",
        "start",
    )

    def __init__(
        self,
        context: RelayContext,
        call: Call,
        prepared: PreparedCall,
        start: ResponseStart,
        lease: Lease,
        sent_ns: int,
        spans: CallSpans,
    ) -> None:
        self.start = start
        self._context = context
        self._call = call
        self._prepared = prepared
        self._lease = lease
        self._sent_ns = sent_ns
        self._spans = spans
        self._limits_are_updated = False
        self._charged_bytes = 0
        self._charged_ns = sent_ns

    def accounting_is_due(self, now_ns: int) -> bool:
        """Whether the pool should learn the limits in the head now, or should be told of the output so far."""
        return not self._limits_are_updated or self._charge_is_due(now_ns)

    async def account(self, now_ns: int) -> None:
        """Updates the pool's limits from the head, once, and charges the output so far, as the upstream does."""
        if not self._limits_are_updated:
            await self._update_limits()
        if self._charge_is_due(now_ns):
            self._charged_bytes, self._charged_ns = self.start.reader.unreported_bytes, now_ns
            await self._charge(self._used())  # even nothing renews the lease

    async def settle(self, outcome: Outcome, *, succeeded: bool) -> None:
        """Ends the lease with what the response used, or the estimate if unknown; closes the response; reports it.

        `succeeded` says that the response was complete and without an error event.
        """
        usage = self._call.usage = self._used()
        with self._spans.settlement(self.start, usage, outcome, succeeded=succeeded):
            await self._settle(outcome, usage, succeeded=succeeded)

    async def _settle(self, outcome: Outcome, usage: Usage | None, *, succeeded: bool) -> None:
        shape, reader, estimator = self._prepared.shape, self.start.reader, self._context.admission.estimator
        is_odd = False
        if succeeded and shape is not None:
            cost, is_odd = complete_cost(reader, usage, shape, self._lease.demand.cost, estimator)
        else:
            cost = None if usage is None else usage.cost()
        prices, model = self._context.admission.prices, self._prepared.model
        cost_pico_usd = None if usage is None else prices.cost_pico_usd(model, usage)
        charged = None if is_odd else usage
        spent = prices.spent(model, None, cost) if charged is None else prices.of_response(charged, cost_pico_usd)
        now_ns = self._context.clock.monotonic_ns()
        try:
            await self._lease.end(outcome, cost, self._feedback(now_ns, succeeded=succeeded), spent)
        finally:
            if not self.start.is_over:
                await self.start.aclose()
            self._call.in_flight = False
        if is_odd:
            self._context.report(Anomaly(self._call.pool, AnomalyKind.USAGE))
        elif usage is not None and shape is not None and succeeded:
            written_ns = 0 if self._prepared.streams else now_ns - self._sent_ns
            estimator.observe(
                shape,
                usage,
                now_ns,
                text_bytes=reader.text_bytes,
                written_ns=written_ns,
                first_token_ns=self._to_first_token_ns() or 0,
            )
        self._report(outcome, now_ns, usage, cost_pico_usd, succeeded=succeeded)

    def cost_micro_usd(self) -> int | None:
        """The cost of the whole response, once it is over; None if its model has no known price."""
        usage = self._used()
        return None if usage is None else self._context.admission.prices.cost_micro_usd(self._prepared.model, usage)

    def _charge(self, usage: Usage | None) -> Coroutine[None, None, None]:
        if usage is None:
            return self._lease.charge(_NOTHING)
        spent = self._context.admission.prices.of_usage(self._prepared.model, usage)
        return self._lease.charge(usage.cost(), spent)

    def _used(self) -> Usage | None:
        return usage_so_far(self.start.reader, self._prepared.shape, self._context.admission.estimator)

    def _charge_is_due(self, now_ns: int) -> bool:
        new_bytes = self.start.reader.unreported_bytes - self._charged_bytes
        return new_bytes >= _CHARGE_EVERY_BYTES or now_ns - self._charged_ns >= _CHARGE_EVERY_NS

    async def _update_limits(self) -> None:
        self._limits_are_updated = True
        with suppress(Refusal):  # the store is unavailable: the next response reports the limits, too
            if (usage := self._used()) is not None:
                # The headers count the actual input. The pool's level must count it before it is compared with them.
                await self._charge(usage)
            report = self._limit_report(self._context.clock.monotonic_ns())
            await self._context.admission.store.learn(self._call.pool, report)
        self.start.forget_head()

    def _limit_report(self, now_ns: int) -> LimitReport:
        sent_ago_ns = now_ns - self._sent_ns
        return self._context.limit_updates.of_response(
            self._lease, self.start.response.headers, sent_ago_ns, self._context.clock
        )

    def _feedback(self, now_ns: int, *, succeeded: bool) -> tuple[Feedback, ...]:
        """The feedback to the pool with the end of the lease."""
        if self._limits_are_updated:
            return (_SUCCEEDED,) if succeeded else ()
        self._limits_are_updated = True
        if succeeded and not self._context.limit_updates.are_due(self._call.pool, now_ns):
            return (Succeeded(now_ns - self._sent_ns, self._lease.id),)
        report = self._limit_report(now_ns)
        return (report, _SUCCEEDED) if succeeded else (report,)

    def _report(
        self, outcome: Outcome, now_ns: int, usage: Usage | None, cost_pico_usd: int | None, *, succeeded: bool
    ) -> None:
        self._context.report(
            AttemptFinished(
                self._call.pool,
                self._prepared.model,
                self._call.caller,
                self._status(outcome, succeeded=succeeded),
                now_ns - self._sent_ns,
                self._to_first_token_ns(),
                usage,
                self._call.session,
                cost_pico_usd,
            )
        )

    def _to_first_token_ns(self) -> int | None:
        first_ns = self.start.first_token_ns
        return None if first_ns is None else first_ns - self._sent_ns

    def _status(self, outcome: Outcome, *, succeeded: bool) -> str:
        """The status of the attempt in metrics: `error` if the response broke off."""
        if succeeded or outcome is not Outcome.SETTLED:
            return str(self.start.response.status)
        error = self.start.reader.error
        return "error" if error is None else attempt_status(error)
