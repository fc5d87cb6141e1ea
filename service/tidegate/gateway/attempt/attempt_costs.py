"""Computes what an attempt costs: to reserve, while its response comes, at its end, and when it is abandoned."""

from functools import partial
from typing import Final

from tidegate.core.domain.budget import NOTHING_SPENT
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import ONE_REQUEST, Cost
from tidegate.core.domain.usage import Usage, settled_cost
from tidegate.core.pricing.call_prices import CallPrices
from tidegate.core.pricing.cost_estimator import CostEstimator
from tidegate.core.pricing.message_shape import MessageShape
from tidegate.gateway.call import Call
from tidegate.gateway.receive.prepared_call import PreparedCall
from tidegate.gateway.relay.usage_reader import ResponseReader

__all__ = ["abandoned_cost", "complete_cost", "demand_of", "usage_so_far"]

_RESPONSE_TIMES: Final = 2
"""Most responses come within twice the mean. At most half of the time left is kept, because the mean may be off."""


def demand_of(
    call: Call,
    prepared: PreparedCall,
    estimator: CostEstimator,
    prices: CallPrices | None,
    now_ns: int,
    *,
    front: bool,
    retry: bool,
) -> Demand:
    """The demand of an attempt on the pool. `front` and `retry` are those of `Demand`.

    `prices`: None if there are no budgets.

    It waits no longer than leaves time for a response before the call's deadline. Under overload each call would
    otherwise be admitted in its last moment, and would use the quota for a response that comes too late.
    """
    cost, overdraw_tokens, price, spending = ONE_REQUEST, 0, None, NOTHING_SPENT
    left_ns = max(0, call.deadline_ns - now_ns)
    response_ns = 0
    if prepared.shape is not None:
        cost, overdraw_tokens = estimator.quote(prepared.shape, now_ns)
        if prices is not None:
            spending = prices.expected(prepared.shape, cost, estimator, now_ns)
        price = partial(estimator.estimate, prepared.shape)
        response_ns = estimator.response_ns(prepared.shape.model, cost.output_tokens, streams=prepared.streams)
    return Demand(
        call.pool,
        call.caller,
        cost,
        left_ns - min(_RESPONSE_TIMES * response_ns, left_ns // 2),
        front=front,
        retry=retry,
        overdraw_tokens=overdraw_tokens,
        session=call.session,
        agent=call.agent,
        price=price,
        spending=spending,
        is_priced_later=prices is not None and prepared.is_priced_later,
    )


def usage_so_far(reader: ResponseReader, shape: MessageShape | None, estimator: CostEstimator) -> Usage | None:
    """The usage of a response so far; None if it has reported none.

    It consists of the figures reported last, as far as they are possible, and an estimate for the text since then.
    """
    if (reported := reader.usage) is None:
        return None
    possible = reported.possible(None if shape is None else shape.max_tokens)
    if not reader.unreported_bytes:
        return possible
    return estimator.produced("" if shape is None else shape.model, possible, reader.unreported_bytes)


def complete_cost(
    reader: ResponseReader, usage: Usage | None, shape: MessageShape, estimate: Cost, estimator: CostEstimator
) -> tuple[Cost | None, bool]:
    """The charge for a complete Messages response, and whether its usage is missing or implausible.

    A cost of None means the estimate. `usage` is that of `usage_so_far`.
    """
    text_bytes = reader.text_bytes
    text_tokens = estimator.text_tokens(shape.model, text_bytes) if text_bytes else 0
    reported = reader.usage
    if reported is None or usage is None:
        return settled_cost(Usage(), estimate, text_tokens) if text_tokens else None, True
    has_all_figures = reported.all_input_tokens > 0 and (reported.output_tokens > 0 or shape.max_tokens == 0)
    is_odd = reader.usage_is_odd or reader.unreported_bytes > 0 or usage != reported
    return settled_cost(usage, estimate, text_tokens), is_odd or not has_all_figures


def abandoned_cost(prepared: PreparedCall, reserved: Cost, after_ns: int, estimator: CostEstimator) -> Cost:
    """The charge for a request that may have been accepted, if its response had not begun after `after_ns`."""
    if prepared.shape is None:
        return reserved
    return estimator.given_up(prepared.shape.model, reserved, after_ns, streams=prepared.streams)
