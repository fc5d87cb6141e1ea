"""What a dump of estimates leaves out where it may not have more bytes."""

from msgspec import msgpack

from tidegate.core.domain.usage import Usage
from tidegate.core.pricing.cost_estimator import CostEstimator
from tidegate.core.pricing.message_shape import MessageShape
from tidegate.core.pricing.prompt_size import PromptSize


def test_a_quarter_is_for_rates_and_the_rest_for_lengths_of_outputs_the_newest_first() -> None:
    estimator = CostEstimator()
    for number in range(10, 60):
        shape = MessageShape("ann", f"claude-{number}", PromptSize(500), 1_024)
        estimator.observe(shape, Usage(500, 70), 0, text_bytes=300)
    state = estimator.dump(0, 2_000)
    rate_bytes, length_bytes = ([len(msgpack.encode(each)) for each in part] for part in (state.models, state.outputs))
    assert 500 - rate_bytes[0] < sum(rate_bytes) <= 500
    assert 1_500 - length_bytes[0] < sum(length_bytes) <= 1_500
    models = [each.model for each in state.models]
    assert models == [f"claude-{number}" for number in range(60 - len(models), 60)]
