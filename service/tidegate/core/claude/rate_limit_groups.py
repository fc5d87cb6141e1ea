"""Rate-limit groups: which calls share one quota of the upstream, and so one pool.

A Messages call draws on the pool of its model, or of its model in fast mode. Every other call draws on the pool of its
endpoint. Source: Claude Platform Docs, "Rate limits" (read 2026-10-08), "Fast mode" and "Rate Limits API" (2026-11).
"""

import re
from functools import lru_cache
from typing import Final

__all__ = [
    "DEFAULT_POOL",
    "ENDPOINT_POOLS",
    "MODEL_POOLS",
    "OTHER_ENDPOINTS",
    "endpoint_pool",
    "fast_model",
    "is_endpoint_pool",
    "is_fast_pool",
    "is_known_pool",
    "model_pool",
    "overflow_pool",
    "undated",
]

DEFAULT_POOL: Final = "default"
"""The pool of the older limiter, which limits requests only."""

OTHER_ENDPOINTS: Final = "other_endpoints"
"""The pool of routes without their own pool. Routes with their own pool have its settings."""

ENDPOINT_POOLS: Final = ("count_tokens", "batches", "files", "skills", "models", OTHER_ENDPOINTS)
"""Pools of calls other than Messages. The upstream limits each of the first four as a group."""

_OTHER_MODELS: Final = "other-models"
"""The pool of models without their own pool."""

MODEL_POOLS: Final = (
    *("fable-5", "mythos-5", "mythos-preview", "opus-5-5", "opus-5", "opus-4", "sonnet-5-5", "sonnet-5", "sonnet-4"),
    *("haiku-5-5", "haiku-4-5"),
    *("fable-5-2-fast", "mythos-5-2-fast", "opus-5-5-fast", "opus-5-fast", "opus-4-8-fast"),
    _OTHER_MODELS,
)
"""The pools of the models that this release knows. `model_pool` names the pool of a newer model."""

_SHARED: Final = (
    # All versions of such a family share one bucket ("Rate limits", read 2026-10-08). Any other model has its own.
    (re.compile(r"claude-fable-5(-|$)"), "fable-5"),
    (re.compile(r"claude-mythos-5(-|$)"), "mythos-5"),
    (re.compile(r"claude-opus-4(-|$)"), "opus-4"),
    (re.compile(r"claude-sonnet-4(-|$)"), "sonnet-4"),
)
_FAST: Final = "-fast"
"""Suffix of the pools of fast mode. Each model has its own: 429s for this limit name the model."""
_DATE_SUFFIX: Final = re.compile(r"-(20\d{6}|latest)$")
_POOL_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
_GROUPS: Final = {
    ("messages", "count_tokens"): "count_tokens",
    ("messages", "batches"): "batches",
    ("files",): "files",
    ("skills",): "skills",
    ("models",): "models",
}
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_WORD: Final = re.compile(r"[a-z][a-z_-]{0,30}")
"""A fixed segment of a path. Ids of the API have digits or capital letters, such as `sesn_01J2`."""
_ROUTE: Final = re.compile(
    r"(?:get|head|post|put|patch|delete|options)_"
    r"(?!(?:files|skills|models|messages_batches|messages_count_tokens)(?:_|$))[a-z][a-z_-]*"
)
"""Names of the pools of routes without a group."""
_MOST_PARTS: Final = 6
_MOST_CHARACTERS: Final = 63


@lru_cache(maxsize=1_024)
def model_pool(model: str) -> str:
    """The pool of a model, such as `sonnet-5-5`. A dated id has the pool of its alias.

    In fast mode, pass the id that `fast_model` returns. A name that cannot be a model's has the pool `other-models`.
    """
    if not model.endswith(_FAST):
        for pattern, pool in _SHARED:
            if pattern.match(model):
                return pool
    name = undated(model).removeprefix("claude-")
    return name if _POOL_NAME.fullmatch(name) and name not in {DEFAULT_POOL, *ENDPOINT_POOLS} else _OTHER_MODELS


def fast_model(model: str) -> str:
    """The id of a model in fast mode, as some platforms call it: `claude-opus-5-5-fast`."""
    return f"{undated(model)}{_FAST}"


@lru_cache(maxsize=1_024)
def undated(model: str) -> str:
    """The alias of a dated model id: `claude-haiku-4-5` for `claude-haiku-4-5-20251001`."""
    return _DATE_SUFFIX.sub("", model)


def endpoint_pool(method: str, path: str) -> str:
    """The pool of a call under `/v1/` that uses no model.

    Routes that the upstream limits as a group share a pool. Any other route has its own: `post_agents`, or
    `get_sessions_id_events` for `GET /v1/sessions/sesn_01J2/events`.
    """
    parts = [part for part in path.removeprefix("/v1/").split("/") if part]
    group = _GROUPS.get(tuple(parts[:2])) or _GROUPS.get(tuple(parts[:1]))
    if group is not None:
        return group
    words = [part if _WORD.fullmatch(part) else "id" for part in parts[:_MOST_PARTS]]
    name = "_".join((method.lower(), *words))
    return name if method in _METHODS and words and len(name) <= _MOST_CHARACTERS else OTHER_ENDPOINTS


def is_endpoint_pool(pool: str) -> bool:
    """Whether a pool serves calls other than Messages, where only requests are limited, and no limits are reported.

    Names of route pools have underscores, names of model pools have none.
    """
    return pool in ENDPOINT_POOLS or "_" in pool


def is_known_pool(pool: str) -> bool:
    """Whether this release knows the pool, or it is the pool of a route without a group."""
    return pool in MODEL_POOLS or pool in ENDPOINT_POOLS or _ROUTE.fullmatch(pool) is not None


def is_fast_pool(pool: str) -> bool:
    """Whether a pool is that of a model in fast mode, whose limits have their own headers."""
    return pool.endswith(_FAST)


def overflow_pool(pool: str) -> str:
    """The pool that is used instead when there are too many pools."""
    return OTHER_ENDPOINTS if is_endpoint_pool(pool) else _OTHER_MODELS
