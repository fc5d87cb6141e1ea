"""Which names of pools an operator may configure: those that some call will draw on."""

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
from tidegate.settings.hints import did_you_mean

__all__ = ["check_pool_name", "is_model_id"]

_KNOWN: Final = (*MODEL_POOLS, *ENDPOINT_POOLS)


def check_pool_name(field: str, name: str, also: Collection[str] = ()) -> None:
    """Refuses the name of a pool on which no call would ever draw; `also` are further names that are known.

    Raises:
        ConfigurationError: the name is not known; with all known names, and the one that was probably meant.
    """
    if is_known_pool(name) or name in also:
        return
    pool = model_pool(f"claude-{name.removeprefix('claude-')}")
    known = (*_KNOWN, *also)
    hint = f"; did you mean {pool}?" if pool in known and is_model_id(name) else did_you_mean(name, known)
    allowed = f"one of {', '.join(known)}, or a method and route such as post_agents"
    raise ConfigurationError(field, name, f"{allowed}{hint}; a model that is newer than Tidegate is named by `model`")


def is_model_id(name: str) -> bool:
    """Whether a text can be the id of a model with a pool of its own."""
    pool = model_pool(name)
    return pool != overflow_pool(pool) and not is_endpoint_pool(pool)
