"""The values that cross the store protocol reject what makes no sense."""

import math

import pytest

from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.pool_settings import LimitSettings


@pytest.mark.parametrize("field", ["per_minute", "capacity"])
@pytest.mark.parametrize("value", [0, -1, 1e-300, 0.000_999, math.nan, math.inf, 10**12 + 1])
def test_a_limit_is_within_what_can_be_computed(field: str, value: float) -> None:
    values = {"per_minute": 1.0, "capacity": 1.0, field: value}
    with pytest.raises(ConfigurationError, match=r"allowed is a number, 0\.001 to 1,000,000,000,000") as raised:
        LimitSettings(**values)
    assert (raised.value.field, raised.value.given) == (field, pytest.approx(value, nan_ok=True))


@pytest.mark.parametrize("value", [0.001, 1, 10**12])
def test_any_other_limit_is_allowed(value: float) -> None:
    assert LimitSettings(value, value).capacity == value
