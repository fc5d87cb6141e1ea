"""Validates configured pool names, so that a misspelt name is refused."""

from collections.abc import Collection
from typing import Final

from tidegate.core.claude.rate_limit_groups import (
    ENDPOINT_POOLS,
    MODEL_POOLS,
    is_endpoint_pool,
    is_known_pool,
    model_pool,
    overflow_pool,
)
from tidegate.core.domain.errors import ConfigurationError
from tidegate.settings.fields.suggestions import did_you_mean

__all__ = ["check_pool_name", "is_model_id"]

_KNOWN: Final = (*MODEL_POOLS, *ENDPOINT_POOLS)


def check_pool_name(field: str, name: str, also: Collection[str] = ()) -> None:
    """Refuses a name that no call would ever use. `also` are further known names.

    Raises:
        ConfigurationError: the name is unknown; lists all known names, and suggests one.
    """
    if is_known_pool(name) or name in also:
        return
    pool = model_pool(f"claude-{name.removeprefix('claude-')}")
    known = (*_KNOWN, *also)
    hint = f"; did you mean {pool}?" if pool in known and is_model_id(name) else did_you_mean(name, known)
    allowed = f"one of {', '.join(known)}, or a method and route such as post_agents"
    raise ConfigurationError(field, name, f"{allowed}{hint}; use `model` for a model that is newer than Tidegate")


def is_model_id(name: str) -> bool:
    """Whether a text can be the id of a model with its own pool."""
    pool = model_pool(name)
    return pool != overflow_pool(pool) and not is_endpoint_pool(pool)
