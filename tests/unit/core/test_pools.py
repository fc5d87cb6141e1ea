"""Which models and endpoints share one quota."""

import pytest

from tidegate.core.pools import DEFAULT_POOL, ENDPOINT_POOLS, endpoint_pool, model_pool


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
    ("path", "pool"),
    [
        ("/v1/messages/count_tokens", "count_tokens"),
        ("/v1/messages/batches", "batches"),
        ("/v1/messages/batches/msgbatch_1/results", "batches"),
        ("/v1/files", "files"),
        ("/v1/files/file_1/content", "files"),
        ("/v1/models", "models"),
        ("/v1/models/claude-sonnet-5-5", "models"),
        ("/v1/modelsx", "other_endpoints"),
        ("/v1/complete", "other_endpoints"),
    ],
)
def test_pool_of_an_endpoint(path: str, pool: str) -> None:
    assert endpoint_pool(path) == pool
    assert pool in ENDPOINT_POOLS
