"""Log lines for changes of the shared store: who leads, and whether this replica decides alone."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NoReturn

from tidegate.core.ports.store_status import SharedStatus

__all__ = ["StoreLog", "log_store_changes"]

logger = logging.getLogger("tidegate.store")

_INTERVAL_SECONDS: Final = 0.2


class StoreLog:
    """Writes one line per change.

    Args:
        shown: the address of the store, without its password.
    """

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._last: SharedStatus | None = None

    def log(self, status: SharedStatus) -> None:
        """Logs the differences from the status before."""
        before, self._last = self._last, status
        if before is None:
            logger.info("sharing limits in %s: %s", self._shown, _counted(status.replicas))
            if status.is_leader:
                logger.info("this replica leads")
            return
        if status.is_leader != before.is_leader:
            logger.info("this replica leads" if status.is_leader else "this replica does not lead any more")
        elif status.leader_changes > before.leader_changes and not status.is_leader:
            logger.info("another replica has taken the lead")
        if status.replicas != before.replicas:
            logger.info("%s share the limits", _counted(status.replicas))
        if status.is_refusing and not before.is_refusing:
            logger.error("the shared store %s is lost for %.0f s: refusing calls", self._shown, status.silent_seconds)
        elif status.is_degraded and not before.is_degraded:
            logger.error(
                "the shared store %s does not answer: this replica continues with its share of the limits", self._shown
            )
        elif _is_alone(before) and not _is_alone(status):
            logger.warning("the shared store %s is back", self._shown)


async def log_store_changes(shown: str, status: Callable[[], SharedStatus]) -> NoReturn:
    """Logs changes until it is cancelled."""
    log = StoreLog(shown)
    while True:
        log.log(status())
        await asyncio.sleep(_INTERVAL_SECONDS)


def _is_alone(status: SharedStatus) -> bool:
    return status.is_degraded or status.is_refusing


def _counted(replicas: int) -> str:
    return "1 replica" if replicas == 1 else f"{replicas} replicas"
