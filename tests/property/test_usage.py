"""No usage block of an answer, whatever it holds, raises, charges more than a model can use, or gives anything back."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.usage import Usage, settled_cost
from tidegate.core.pricing.cost_estimator import CostEstimator
from tidegate.core.pricing.message_shape import MessageShape
from tidegate.core.pricing.prompt_size import PromptSize

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
FIELDS = st.sampled_from(
    [
        *("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation"),
    ]
)
BLOCKS = st.dictionaries(FIELDS, JSON | st.integers(0, 10**7))
MOST_OUTPUT = st.none() | st.integers(0, 128_000)
ESTIMATE = Cost(1, 300, 200)


@given(BLOCKS, BLOCKS, MOST_OUTPUT)
def test_what_is_charged_and_learned_is_bounded(start: Any, delta: Any, max_tokens: int | None) -> None:
    Usage.is_odd(start)
    usage = Usage.from_json(delta, Usage.from_json(start)).possible(max_tokens)
    assert all(0 <= tokens <= 10_000_000 for tokens in usage)
    cost = settled_cost(usage, ESTIMATE)
    assert cost.requests == 1
    assert 0 <= cost.input_tokens <= 1_000_000
    assert 1 <= cost.output_tokens <= max(200, 1_000_000 if max_tokens is None else max_tokens)

    shape = MessageShape("team-a", "claude-sonnet-5-5", PromptSize(4_000), max_tokens)
    estimator = CostEstimator()
    before = estimator.estimate(shape, 0)
    estimator.observe(shape, usage, 0)
    after = estimator.estimate(shape, 0)
    assert after.input_tokens <= 8 * before.input_tokens
    assert 1 <= after.output_tokens <= max(1, 1_000_000 if max_tokens is None else max_tokens)
