"""The pools of models and endpoints: those of one pool share a quota."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.claude.rate_limit_groups import (
    DEFAULT_POOL,
    ENDPOINT_POOLS,
    endpoint_pool,
    fast_model,
    is_endpoint_pool,
    is_fast_pool,
    is_known_pool,
    model_pool,
    overflow_pool,
)


@pytest.mark.parametrize(
    ("model", "pool"),
    [
        ("claude-sonnet-5-5", "sonnet-5-5"),
        ("claude-sonnet-5-5-20261001", "sonnet-5-5"),
        ("claude-haiku-4-5-latest", "haiku-4-5"),
        ("claude-opus-4", "opus-4"),
        ("claude-opus-4-1-20250805", "opus-4"),
        ("claude-sonnet-4-20250514", "sonnet-4"),
        ("claude-sonnet-4-6", "sonnet-4"),
        ("claude-sonnet-45", "sonnet-45"),
        ("claude-fable-5", "fable-5"),
        ("claude-mythos-5-preview", "mythos-5"),
        ("gpt-oss", "gpt-oss"),
        ("", "other-models"),
        ("claude-", "other-models"),
        ("Claude X", "other-models"),
        ("../../etc", "other-models"),
        ("x" * 64, "other-models"),
        ("x" * 63, "x" * 63),
        ("claude-x\n", "other-models"),
    ],
)
def test_pool_of_a_model(model: str, pool: str) -> None:
    assert model_pool(model) == pool


@pytest.mark.parametrize("name", [DEFAULT_POOL, *ENDPOINT_POOLS])
def test_no_model_takes_the_pool_of_something_else(name: str) -> None:
    assert model_pool(name) == "other-models"
    assert model_pool(f"claude-{name}") == "other-models"


@pytest.mark.parametrize(
    ("model", "pool"),
    [
        ("claude-opus-5-5", "opus-5-5-fast"),
        ("claude-opus-4-8", "opus-4-8-fast"),
        ("claude-opus-4-5-20251101", "opus-4-5-fast"),
        ("claude-fable-5-2", "fable-5-2-fast"),
        ("", "other-models"),
    ],
)
def test_each_model_has_a_pool_of_its_own_in_fast_mode(model: str, pool: str) -> None:
    assert model_pool(fast_model(model)) == pool
    assert is_fast_pool(pool) is (pool != "other-models")
    assert not is_fast_pool(model_pool(model))


@pytest.mark.parametrize(
    ("path", "pool"),
    [
        ("/v1/messages/count_tokens", "count_tokens"),
        ("/v1/messages/batches", "batches"),
        ("/v1/messages/batches/msgbatch_1/results", "batches"),
        ("/v1/files", "files"),
        ("/v1/files/file_1/content", "files"),
        ("/v1/skills", "skills"),
        ("/v1/skills/skill_1/versions", "skills"),
        ("/v1/models", "models"),
        ("/v1/models/claude-sonnet-5-5", "models"),
    ],
)
def test_routes_that_the_upstream_limits_as_a_group_share_a_pool(path: str, pool: str) -> None:
    assert endpoint_pool("GET", path) == endpoint_pool("POST", path) == pool
    assert pool in ENDPOINT_POOLS


@pytest.mark.parametrize(
    ("method", "path", "pool"),
    [
        ("POST", "/v1/agents", "post_agents"),
        ("GET", "/v1/agents", "get_agents"),
        ("GET", "/v1/agents/", "get_agents"),
        ("GET", "/v1/agents/agent_01J2", "get_agents_id"),
        ("GET", "/v1/sessions/sesn_01AbC/events", "get_sessions_id_events"),
        ("DELETE", "/v1/memory_stores/memstore_1/memories/mem_2", "delete_memory_stores_id_memories_id"),
        ("POST", "/v1/chat/completions", "post_chat_completions"),
        ("GET", "/v1/messages", "get_messages"),
        ("GET", "/v1/modelsx", "get_modelsx"),
        ("GET", "/v1/AAA/b%20c", "get_id_id"),
        ("GET", "/v1/a/b/c/d/e/f/g/h", "get_a_b_c_d_e_f"),
        ("GET", "/v1/" + "a" * 32, "get_id"),
        ("GET", "/v1/" + "/".join(["a" * 31] * 2), "other_endpoints"),
        ("GET", f"/v1/{'a' * 31}/{'b' * 27}", f"get_{'a' * 31}_{'b' * 27}"),
        ("GET", f"/v1/{'a' * 31}/{'b' * 28}", "other_endpoints"),
        ("BREW", "/v1/agents", "other_endpoints"),
        ("GET", "/v1/", "other_endpoints"),
    ],
)
def test_any_other_route_and_method_has_a_pool_of_its_own(method: str, path: str, pool: str) -> None:
    assert endpoint_pool(method, path) == pool
    assert is_endpoint_pool(pool)


@given(st.sampled_from(["GET", "POST", "x"]), st.text("aZ09-_/.\n", max_size=200), st.text("aZ09-_/.\n", max_size=80))
def test_no_path_gives_a_name_that_a_model_has_too(method: str, path: str, model: str) -> None:
    pool = endpoint_pool(method, f"/v1/{path}")
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", pool)
    assert is_endpoint_pool(pool)
    assert not is_endpoint_pool(model_pool(model))


@pytest.mark.parametrize(
    ("pool", "shared"), [("sonnet-9", "other-models"), ("post_agents", "other_endpoints"), ("files", "other_endpoints")]
)
def test_pools_without_room_share_one(pool: str, shared: str) -> None:
    assert overflow_pool(pool) == shared


@pytest.mark.parametrize("pool", ["sonnet-5-5", "other-models", "files", "other_endpoints", "post_agents"])
def test_the_pools_of_models_endpoints_and_routes_are_known(pool: str) -> None:
    assert is_known_pool(pool)


@pytest.mark.parametrize("pool", ["sonnet-9", "default", "get_files", "brew_agents", ""])
def test_other_names_are_not_known_as_pools(pool: str) -> None:
    assert not is_known_pool(pool)
