"""Pauses: callers, keys, teams, sessions and pools whose calls are refused until an admin resumes them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from tidegate.core.domain.caller import Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import Refusal

__all__ = ["NO_PAUSES", "Pause", "PauseKind", "Pauses"]


class PauseKind(StrEnum):
    """The kind of what is paused. Also the label of the metric."""

    CALLER = "caller"
    KEY = "key"
    TEAM = "team"
    SESSION = "session"
    POOL = "pool"


@dataclass(frozen=True, slots=True)
class Pause:
    """One pause.

    Attributes:
        kind, name: what is paused. A session is named as its client names it; a key by its id in the ledger.
        by: who paused it.
        at: when, in seconds since 1970-01-01 UTC.
        reason: why; empty if nobody said.
    """

    kind: PauseKind
    name: str
    by: str
    at: int
    reason: str = ""

    def refusal(self) -> Refusal:
        """The refusal of a call. It says who paused what, when and why, and who can resume it."""
        when = datetime.fromtimestamp(self.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        why = f": {self.reason}" if self.reason else ""
        text = f"{self.kind} {self.name!r} is paused since {when} by {self.by}{why}"
        resume = f"an admin can resume it: tidegate resume {self.kind} {self.name}"
        return Refusal(Cause.PAUSED, f"{text}; {resume}")


class Pauses:
    """The pauses in effect at one time. Immutable; false if there are none."""

    def __init__(self, pauses: Iterable[Pause] = ()) -> None:
        self._by_name: Mapping[tuple[PauseKind, str], Pause] = {(each.kind, each.name): each for each in pauses}

    def __bool__(self) -> bool:
        """Whether anything is paused."""
        return bool(self._by_name)

    def refusal(self, caller: Caller, session: str = "", pool: str = "") -> Refusal | None:
        """The refusal of a call; None if nothing that it belongs to is paused.

        Args:
            caller: its caller, with the key that it presented.
            session: its session; empty if it has none.
            pool: the pool that it uses; empty if that is not known yet.
        """
        if not self._by_name:
            return None
        names = (
            (PauseKind.TEAM, caller.team),
            (PauseKind.CALLER, caller.name),
            (PauseKind.CALLER, caller.label),
            (PauseKind.KEY, caller.key),
            (PauseKind.SESSION, session),
            (PauseKind.POOL, pool),
        )
        pause = next((self._by_name[each] for each in names if each in self._by_name), None)
        return None if pause is None else pause.refusal()

    def by_kind(self) -> Mapping[PauseKind, int]:
        """The number of pauses of each kind, also of those without any."""
        count = Counter(kind for kind, _ in self._by_name)
        return {kind: count[kind] for kind in PauseKind}


NO_PAUSES: Final = Pauses()
