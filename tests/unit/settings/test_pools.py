"""The pool settings that follow from the settings."""

from tidegate.core.claude.rate_limit_groups import ENDPOINT_POOLS
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings, QueueCaps
from tidegate.settings import PoolLimits, Settings


def test_without_settings_a_pool_is_left_to_the_upstream() -> None:
    assert Settings().messages_pool_settings() == PoolSettings()


def test_a_number_caps_each_messages_pool_and_never_other_endpoints() -> None:
    settings = Settings(pool_requests_per_minute=60, pool_burst_seconds=30)
    assert settings.messages_pool_settings().limits == {Dimension.REQUESTS: LimitSettings(60, 30)}
    assert settings.named_pool_settings() == dict.fromkeys(ENDPOINT_POOLS, PoolSettings())


def test_an_entry_of_its_own_goes_before_the_caps() -> None:
    entries = (
        PoolLimits(name="opus-4", input_tokens_per_minute=6_000),
        PoolLimits(name="files", requests_per_minute=6),
    )
    pools = Settings(pool_requests_per_minute=60, pools=entries).named_pool_settings()
    assert pools["opus-4"].limits == {Dimension.INPUT_TOKENS: LimitSettings(6_000, 1_000)}
    assert pools["files"].limits == {Dimension.REQUESTS: LimitSettings(6, 1)}


def test_a_model_names_its_pool_also_one_that_is_newer_than_this_release() -> None:
    entries = [{"model": "claude-saga-1-20270101", "requests_per_minute": 6}, {"model": "claude-opus-4-8"}]
    pools = Settings.model_validate({"pools": entries}).named_pool_settings()
    assert pools["saga-1"].limits == {Dimension.REQUESTS: LimitSettings(6, 1)}
    assert "opus-4" in pools


def test_every_pool_has_the_caps_of_the_queue() -> None:
    settings = Settings(
        queue_requests=4,
        queue_requests_per_caller=3,
        queue_tokens=2,
        queue_tokens_per_caller=1,
        pools=(PoolLimits(name="opus-4"),),
    )
    pools = [settings.messages_pool_settings(), *settings.named_pool_settings().values()]
    assert {pool.caps for pool in pools} == {QueueCaps(4, 3, 2, 1)}


def test_a_bucket_holds_at_least_one_unit() -> None:
    limits = PoolLimits(name="files", requests_per_minute=1, burst_seconds=1).limits()
    assert limits[Dimension.REQUESTS].capacity == 1
