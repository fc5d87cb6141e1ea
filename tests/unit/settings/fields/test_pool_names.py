"""The pools that can be configured: those that some call will draw on."""

import pytest

from claude_simulator.requests.models import MODELS
from tidegate.core.claude.rate_limit_groups import (
    ENDPOINT_POOLS,
    MODEL_POOLS,
    endpoint_pool,
    fast_model,
    is_known_pool,
    model_pool,
)
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.pricing.price_list import PriceList
from tidegate.settings.fields.pool_names import check_pool_name, is_model_id


@pytest.mark.parametrize("name", [*MODEL_POOLS, *ENDPOINT_POOLS, "post_agents", "get_memory_stores_id_memories_id"])
def test_known_names_are_taken(name: str) -> None:
    check_pool_name("pools", name)


@pytest.mark.parametrize("model", sorted({*PriceList.bundled().models, *MODELS}))
def test_the_pool_of_every_model_that_is_priced_or_simulated_is_known(model: str) -> None:
    assert is_known_pool(model_pool(model))
    assert is_model_id(model)


def test_the_pool_of_every_priced_model_in_fast_mode_is_known() -> None:
    fast = ["claude-opus-5-5", "claude-opus-5", "claude-opus-4-8"]
    assert {model_pool(fast_model(model)) for model in fast} <= set(MODEL_POOLS)


@pytest.mark.parametrize(
    "route", ["agents", "sessions/sesn_01/events", "memory_stores/m1/memories/m2", "skills", "files/f1"]
)
def test_the_pool_of_every_route_is_known(route: str) -> None:
    assert is_known_pool(endpoint_pool("GET", f"/v1/{route}"))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("claude-haiku-4-5", "did you mean haiku-4-5?"),
        ("claude-haiku-4-5-20251001", "did you mean haiku-4-5?"),
        ("claude-opus-4-8", "did you mean opus-4?"),
        ("opus-4-8", "did you mean opus-4?"),
        ("sonet-5-5", "did you mean sonnet-5-5?"),
        ("sonnet-5.5", "did you mean sonnet-5-5?"),
        ("sonnet_5_5", "did you mean sonnet-5-5?"),
        ("get_skills", "did you mean skills?"),
        ("count-tokens", "did you mean count_tokens?"),
        ("messages", "use `model` for a model that is newer than Tidegate"),
        ("saga-1", "use `model` for a model that is newer than Tidegate"),
    ],
)
def test_a_name_that_no_call_draws_on_is_refused_with_all_known_ones(name: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_pool_name("pools[0].name", name)
    assert (caught.value.field, caught.value.given) == ("pools[0].name", name)
    assert hint in caught.value.allowed
    assert all(known in caught.value.allowed for known in (*MODEL_POOLS, *ENDPOINT_POOLS))


def test_further_names_may_be_known() -> None:
    check_pool_name("pool", "saga-1", ["saga-1"])
    with pytest.raises(ConfigurationError, match=r"did you mean saga-1\?"):
        check_pool_name("pool", "sage-1", ["saga-1"])


@pytest.mark.parametrize("name", ["", "Claude X", "other-models", "claude-default", "count_tokens", "files"])
def test_what_cannot_be_the_id_of_a_model(name: str) -> None:
    assert not is_model_id(name)
