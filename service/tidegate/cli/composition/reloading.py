"""Reloads the configuration of the running service: all of it at once, or nothing."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from tidegate.api.services import Services
from tidegate.cli.composition.ledger import check_ledger
from tidegate.core.domain.errors import ConfigurationError, ConfigurationErrors
from tidegate.identity.access import AccessRules
from tidegate.observe.upkeep.upkeep_metrics import UpkeepMetrics
from tidegate.settings import Settings
from tidegate.settings.loading.changes import Change, changes_between, reloaded
from tidegate.settings.prices import load_prices

__all__ = ["Reloader"]

logger = logging.getLogger("tidegate.reload")

Prepare = Callable[[Settings], Callable[[], None]]
"""Makes all that new settings need, and returns a function that applies it. Only the first step may fail."""


class Reloader:
    """Replaces the settings of a running service.

    A reload reads and checks the whole configuration. Then it applies all changes without a pause in the event loop, so
    that no call sees a part of them. Calls under way keep the settings of their arrival, and waiting calls their place.

    Args:
        load: reads the configuration as at the start; raises `ConfigurationError`. Runs in a thread.
        services: have the settings in effect.
        upkeep: is told whether the latest reload was refused.

    Attributes:
        announce: a context manager around each reload.
    """

    def __init__(self, load: Callable[[], Settings], services: Services, upkeep: UpkeepMetrics | None = None) -> None:
        self._load = load
        self._upkeep = upkeep or UpkeepMetrics()
        self._services = services
        self._prepare: list[Prepare] = []
        self._lock = asyncio.Lock()
        self.announce: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext

    def add(self, prepare: Prepare) -> None:
        """Adds a part of the service whose settings are replaced."""
        self._prepare.append(prepare)

    async def reload(self, by: str = "SIGHUP") -> list[Change]:
        """Reloads the configuration. Returns and logs what changed, and what only a restart applies.

        Args:
            by: who asks for it, for the ledger.

        Raises:
            ConfigurationError: a value is not allowed; nothing changed.
        """
        async with self._lock:
            with self.announce():
                old, new = await self._replace_settings()
        changes = changes_between(old, new)
        _log(changes)
        audit = self._services.audit
        if audit is not None and changes:
            audit.record(by, "reload", "configuration", {}, {"changes": [change.as_json() for change in changes]})
        return changes

    async def _replace_settings(self) -> tuple[Settings, Settings]:
        """Returns the settings that were in effect, and those that were loaded."""
        try:
            new = await asyncio.to_thread(self._load)
            check_ledger(new)  # it would fail the next start, although a reload does not apply it; as the price list
            await asyncio.to_thread(load_prices, new.prices)
            old = self._services.settings
            in_effect = reloaded(old, new)
            key_store = self._services.key_store
            for settings in (new, in_effect):
                AccessRules.of(settings, key_store=key_store).check_bind(settings.host)
                AccessRules.for_metrics(settings, key_store=key_store)
            steps = [prepare(in_effect) for prepare in self._prepare]
        except ConfigurationError as error:
            logger.error("reload failed, the old configuration stays: %s", _one_line(error))  # noqa: TRY400
            self._upkeep.reload_refused = True
            raise
        self._upkeep.reload_refused = False
        for apply in steps:
            apply()
        self._services.settings = in_effect
        return old, new

    async def reload_on_signal(self) -> None:
        """As `reload`. Errors are only logged: nobody waits for the result of a signal."""
        try:
            await self.reload()
        except ConfigurationError:
            return  # logged
        except Exception:
            logger.exception("reload failed, the old configuration stays")


def _log(changes: list[Change]) -> None:
    applied = "; ".join(change.text for change in changes if not change.needs_restart)
    pending = "; ".join(change.text for change in changes if change.needs_restart)
    logger.info("reloaded: %s", applied or "nothing changed")
    if pending:
        logger.warning("needs a restart: %s", pending)


def _one_line(error: ConfigurationError) -> str:
    faults = error.faults if isinstance(error, ConfigurationErrors) else (error,)
    return "; ".join(map(str, faults))
