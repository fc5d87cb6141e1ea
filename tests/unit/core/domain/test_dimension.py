"""Sums and differences of costs."""

from tidegate.core.domain.dimension import Cost


def test_costs_add_up_in_each_dimension() -> None:
    cost = Cost(1, 20, 300)
    assert cost.plus(Cost(4, 50, 600)) == Cost(5, 70, 900)
    assert cost.plus(Cost(4, 50, 600), 2) == Cost(9, 120, 1_500)
    assert cost.minus(Cost(4, 50, 600)) == Cost(-3, -30, -300)
    assert cost.tokens == 320
