"""The protocol of the ledger that keeps what was spent, for budgets."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from tidegate.core.domain.budget import Spender, Spending

__all__ = ["SpendingStore"]


class SpendingStore(Protocol):
    """Records spending and says how much there was. Thread-safe.

    Methods that wait for the database say so, and raise `LedgerUnavailable` if it does not answer: never call them in
    an event loop.
    """

    def now(self) -> float:
        """The time by the clock of the database, in seconds since 1970-01-01 UTC, as far as it was read before."""
        ...

    def record(self, spender: Spender, spending: Spending) -> None:
        """Records what was spent now. The end of a lease is recorded by its event."""
        ...

    def keep(self, reserved: Callable[[], Mapping[Spender, Spending]] | None, *, sessions: bool) -> None:
        """Sets what is kept beside the spending of callers.

        Args:
            reserved: returns what calls in progress have reserved, so that it is known after a crash; None: nothing.
                Called from another thread.
            sessions: whether the spending of each session is kept.
        """
        ...

    def spent_since(self, starts: int, *, by_session: bool) -> Sequence[tuple[Spender, Spending]]:
        """The amounts spent from a moment on, by caller, or by session. Waits for the database."""
        ...

    def settle_dead(self, *, sole: bool) -> Sequence[tuple[Spender, Spending]]:
        """Records as spent what processes had reserved that have died since. Returns that. Waits for the database.

        `sole`: no other process that uses the database can be alive. Otherwise one that has written nothing for 5
        seconds is dead.
        """
        ...
