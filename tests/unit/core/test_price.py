"""The first estimate of a call's cost."""

import pytest

from tidegate.core.dimension import Cost
from tidegate.core.price import estimate_messages_cost


@pytest.mark.parametrize(
    ("body_bytes", "max_tokens", "cost"),
    [
        (0, 0, Cost(1, 0, 0)),
        (1, 10, Cost(1, 1, 10)),
        (4_000, 500, Cost(1, 1_000, 500)),
        (4_001, 64_000, Cost(1, 1_001, 500)),
        (400, None, Cost(1, 100, 500)),
    ],
)
def test_input_by_size_and_output_as_usual(body_bytes: int, max_tokens: int | None, cost: Cost) -> None:
    assert estimate_messages_cost(body_bytes, max_tokens) == cost
