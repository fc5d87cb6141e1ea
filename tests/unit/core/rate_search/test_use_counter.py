"""What is counted of all use, and what follows from it."""

import pytest

from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.rate_search.use_counter import UseCounter


def test_the_size_of_a_request_is_the_mean_use_and_at_least_1() -> None:
    use = UseCounter(Cost(), in_flight=0)
    assert [use.size(dimension) for dimension in range(3)] == [1, 1, 1]
    use.add(Cost(5, 100, 3))
    use.add(Cost(-1, 0, 0))
    assert [use.size(dimension) for dimension in range(3)] == [1, 25, 1]


@pytest.mark.parametrize(
    ("used", "in_flight", "tokens"),
    [
        (Cost(10, 0, 1_200), 4, 400),  # the 6 that ended had 200 each; half of 4 × 200
        (Cost(10, 0, 1_200), 0, 0),
        (Cost(10, 0, -60), 8, 0),
        (Cost(4, 0, 1_200), 4, 0),
        (Cost(3, 0, 1_200), 4, 0),
    ],
)
def test_requests_in_flight_have_produced_half_of_the_usual_output(used: Cost, in_flight: int, tokens: int) -> None:
    assert UseCounter(used, in_flight).half_done_output() == tokens


def test_the_output_rate_is_at_least_1() -> None:
    use = UseCounter(Cost(1, 0, 500), in_flight=0)
    assert [use.output_per_second(seconds * S) for seconds in (10, 1_000)] == [50, 1]
    assert use.output_per_second(0) == 500 * S
