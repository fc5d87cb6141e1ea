"""The names of callers, teams and pools that the configuration knows."""

from tidegate.core.claude.rate_limit_groups import is_known_pool
from tidegate.core.domain.pause import PauseKind
from tidegate.settings.model import Settings

__all__ = ["is_configured"]


def is_configured(settings: Settings, kind: PauseKind, name: str) -> bool:
    """Whether the configuration, or Tidegate itself, knows a caller, team or pool of this name."""
    if kind is PauseKind.CALLER:
        return any(caller.name == name for caller in settings.callers)
    if kind is PauseKind.TEAM:
        return any(caller.team == name for caller in settings.callers)
    return kind is PauseKind.POOL and (is_known_pool(name) or any(pool.name == name for pool in settings.pools))
