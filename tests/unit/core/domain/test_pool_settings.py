"""The values that cross the store protocol reject what makes no sense."""

import math

import pytest

from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings, QueueCaps, RetrySettings


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


REQUESTS, TOKENS = Dimension.REQUESTS, Dimension.INPUT_TOKENS


def test_an_update_takes_what_changed_and_keeps_the_rest() -> None:
    before = PoolSettings({REQUESTS: LimitSettings(60, 10)}, caps=QueueCaps(5))
    at_runtime = PoolSettings({REQUESTS: LimitSettings(600, 100), TOKENS: LimitSettings(7, 7)}, caps=QueueCaps(5))
    assert at_runtime.updated(before, before) == at_runtime
    after = PoolSettings({REQUESTS: LimitSettings(60, 10)}, AdaptiveSettings(), QueueCaps(6), allow_debt=False)
    assert at_runtime.updated(before, after) == PoolSettings(
        at_runtime.limits, AdaptiveSettings(), QueueCaps(6), allow_debt=False
    )
    with_tokens = PoolSettings({REQUESTS: LimitSettings(60, 10), TOKENS: LimitSettings(8, 8)}, caps=QueueCaps(5))
    assert at_runtime.updated(before, with_tokens).limits == {
        REQUESTS: LimitSettings(600, 100),
        TOKENS: LimitSettings(8, 8),
    }
    assert at_runtime.updated(before, PoolSettings(caps=QueueCaps(5))).limits == {TOKENS: LimitSettings(7, 7)}


def test_what_an_update_does_not_change_stays_as_it_was_set_at_runtime() -> None:
    before = PoolSettings()
    after = PoolSettings({REQUESTS: LimitSettings(60, 10)})
    at_runtime = PoolSettings({}, AdaptiveSettings(), QueueCaps(7), allow_debt=False)
    assert at_runtime.updated(before, after) == PoolSettings(
        after.limits, AdaptiveSettings(), QueueCaps(7), allow_debt=False
    )


def test_each_value_of_the_retries_is_updated_on_its_own() -> None:
    before, after = RetrySettings(5, 2, 30, 0.25), RetrySettings(5, 1, 30, 0.25)
    at_runtime = PoolSettings(retries=RetrySettings(3, 2, 60, 0.1))
    assert at_runtime.updated(PoolSettings(retries=before), PoolSettings(retries=after)).retries == RetrySettings(
        3, 1, 60, 0.1
    )
    assert at_runtime.updated(PoolSettings(), PoolSettings()).retries == at_runtime.retries
    assert at_runtime.updated(PoolSettings(), PoolSettings(retries=after)).retries == after
    assert PoolSettings().updated(PoolSettings(retries=before), PoolSettings(retries=after)).retries == after


def test_settings_that_were_removed_at_runtime_stay_so_until_they_change() -> None:
    adaptive, retries = AdaptiveSettings(), RetrySettings(5, 1, 30, 0.25)
    known = PoolSettings(adaptive=adaptive, retries=retries)
    assert PoolSettings().updated(known, known) == PoolSettings()
    slower = RetrySettings(5, 2, 30, 0.25)
    at_runtime = PoolSettings(retries=RetrySettings(5, 9, 30, 0.25))
    assert at_runtime.updated(known, known).retries == at_runtime.retries
    assert at_runtime.updated(known, PoolSettings(retries=slower)).retries == slower
