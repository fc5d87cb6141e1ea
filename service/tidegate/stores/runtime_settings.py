"""Settings that were changed at runtime: who set each value, and when."""

import logging
from collections.abc import Mapping

from msgspec import Struct

__all__ = ["SetAtRuntime", "log_runtime_change"]

logger = logging.getLogger("tidegate.configure")


class SetAtRuntime(Struct, frozen=True, array_like=True):
    """The origin of a value that is in effect in place of the configuration's.

    Attributes:
        by: the name of the admin, or of the interface that was used.
        unix_seconds: when, in seconds since 1970-01-01 UTC.
    """

    by: str
    unix_seconds: float


def log_runtime_change(pool: str, before: Mapping[str, object], after: Mapping[str, object], by: str) -> None:
    """Logs the values that are different, on one line. Logs nothing if there are none."""
    changes = [f"{name} {_text(before[name])} → {_text(after[name])}" for name in after if before[name] != after[name]]
    if changes:
        logger.info("configured pool %s: %s, by %s", pool, "; ".join(changes), by)


def _text(value: object) -> str:
    if isinstance(value, int | float):
        return f"{value:,}".removesuffix(".0")
    return "auto" if value is None else str(value)
