"""The values that cross the store protocol reject what makes no sense."""

import math

import pytest

from tidegate.core.errors import ConfigurationError
from tidegate.core.store import LimitSettings


@pytest.mark.parametrize("field", ["per_minute", "capacity"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, 10**12 + 1])
def test_a_limit_is_above_0_and_finite(field: str, value: float) -> None:
    values = {"per_minute": 1.0, "capacity": 1.0, field: value}
    with pytest.raises(ConfigurationError, match="allowed is a number above 0, at most 1,000,000,000,000") as raised:
        LimitSettings(**values)
    assert (raised.value.field, raised.value.given) == (field, pytest.approx(value, nan_ok=True))


@pytest.mark.parametrize("value", [1e-9, 1, 10**12])
def test_any_other_limit_is_allowed(value: float) -> None:
    assert LimitSettings(value, value).capacity == value
