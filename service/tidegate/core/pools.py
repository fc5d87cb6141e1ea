"""Which models share one quota upstream."""

import re
from functools import lru_cache
from typing import Final

__all__ = ["DEFAULT_POOL", "ENDPOINT_POOLS", "OVERFLOW_POOL", "endpoint_pool", "model_pool", "undated"]

DEFAULT_POOL: Final = "default"
"""The older limiter's pool: requests only."""

ENDPOINT_POOLS: Final = ("count_tokens", "batches", "files", "models", "other_endpoints")
"""Pools of what is not a Messages call: each has its own request limit upstream ("Rate limits", read 2026-10-08)."""

OVERFLOW_POOL: Final = "other-models"
"""The pool of models without a pool of their own."""

_SHARED: Final = (
    # One bucket each for all versions of a family ("Rate limits", read 2026-10-08); every other model has its own.
    (re.compile(r"claude-fable-5(-|$)"), "fable-5"),
    (re.compile(r"claude-mythos-5(-|$)"), "mythos-5"),
    (re.compile(r"claude-opus-4(-|$)"), "opus-4"),
    (re.compile(r"claude-sonnet-4(-|$)"), "sonnet-4"),
)
_DATE_SUFFIX: Final = re.compile(r"-(20\d{6}|latest)$")
_POOL_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")


@lru_cache(maxsize=1_024)
def model_pool(model: str) -> str:
    """Name of the pool that a model draws on, such as `sonnet-5-5`; a dated id shares the pool of its alias.

    A name that cannot be a model's gives `other-models`.
    """
    for pattern, pool in _SHARED:
        if pattern.match(model):
            return pool
    name = undated(model).removeprefix("claude-")
    return name if _POOL_NAME.fullmatch(name) and name not in {DEFAULT_POOL, *ENDPOINT_POOLS} else OVERFLOW_POOL


@lru_cache(maxsize=1_024)
def undated(model: str) -> str:
    """The alias of a dated model id: `claude-haiku-4-5` for `claude-haiku-4-5-20251001`."""
    return _DATE_SUFFIX.sub("", model)


def endpoint_pool(path: str) -> str:
    """Name of the request pool of a `/v1/…` path other than `/v1/messages` itself."""
    if path == "/v1/messages/count_tokens":
        return "count_tokens"
    if path.startswith("/v1/messages/batches"):
        return "batches"
    for name in ("files", "models"):
        if path == f"/v1/{name}" or path.startswith(f"/v1/{name}/"):
            return name
    return "other_endpoints"
