"""The protocol with which admins pause and resume."""

from collections.abc import Sequence
from typing import Protocol

from tidegate.core.domain.pause import Pause, PauseKind

__all__ = ["PauseAdministration"]


class PauseAdministration(Protocol):
    """Pauses and resumes. Waits for the database: never call it in an event loop.

    Every method raises `LedgerUnavailable` if the database does not answer. A change is in effect in this process when
    the method returns, and in others within a second.
    """

    def pause(self, kind: PauseKind, name: str, *, reason: str, by: str) -> Pause:
        """Refuses all calls of something from now on. A second pause replaces reason, author and time of the first.

        Raises:
            ConfigurationError: the ledger has never heard of this name, except of a session's.
        """
        ...

    def resume(self, kind: PauseKind, name: str, *, by: str) -> Pause:
        """Ends a pause, and returns it.

        Raises:
            ConfigurationError: it is not paused.
        """
        ...

    def all_pauses(self) -> Sequence[Pause]:
        """All pauses, the newest first."""
        ...
