"""What a whole answer is charged, and whether what it says it used can be."""

from tidegate.core.claude.failures import attempt_status
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.usage import Usage, settled_cost
from tidegate.core.pricing.cost_estimator import CostEstimator, MessageShape
from tidegate.gateway.relay.response_start import ResponseStart
from tidegate.gateway.relay.usage_reader import ResponseReader

__all__ = ["broken_status", "settlement"]


def settlement(
    reader: ResponseReader, usage: Usage | None, shape: MessageShape, estimate: Cost, estimator: CostEstimator
) -> tuple[Cost | None, bool]:
    """What to charge for an answer that came whole (None: the estimate), and whether its usage is missing or odd.

    `usage` is what of its figures can be, with the text that they do not count.
    """
    text_bytes = reader.text_bytes
    text_tokens = estimator.text_tokens(shape.model, text_bytes) if text_bytes else 0
    told = reader.usage
    if told is None or usage is None:
        return settled_cost(Usage(), estimate, text_tokens) if text_tokens else None, True
    is_whole = told.all_input_tokens > 0 and (told.output_tokens > 0 or shape.max_tokens == 0)
    is_odd = reader.usage_is_odd or reader.unreported_bytes > 0 or usage != told
    return settled_cost(usage, estimate, text_tokens), is_odd or not is_whole


def broken_status(answer: ResponseStart) -> str:
    """How an attempt is counted whose answer broke off, or told of an error in its stream."""
    return "error" if answer.reader.error is None else attempt_status(answer.reader.error)
