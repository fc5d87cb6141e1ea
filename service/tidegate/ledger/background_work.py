"""Work with the database that is done again and again, in a thread of its own."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from tidegate.core.domain.errors import LedgerUnavailable
from tidegate.core.ports.clock import Clock

__all__ = ["BackgroundWork"]

logger = logging.getLogger("tidegate.ledger")

_EVERY_SECONDS: Final = 0.5
"""With the time that a turn takes, what is done is at most a second old."""


class BackgroundWork:
    """Does work every half second, and knows whether that succeeds.

    A failure is logged once, until the work succeeds again.

    Args:
        name: of the thread.
        work: done in each turn; may raise `LedgerUnavailable`.
        clock: the time.
        failing: the log line when the work begins to fail.
        works_again: the log line when it succeeds after that.
        last_turns: so many turns are done when the thread is told to stop, as long as they succeed.

    Attributes:
        up: whether the last turn succeeded.
        failures: turns that failed so far.
    """

    def __init__(
        self, name: str, work: Callable[[], None], clock: Clock, failing: str, works_again: str, last_turns: int = 0
    ) -> None:
        self._work = work
        self._clock = clock
        self._failing = failing
        self._works_again = works_again
        self._last_turns = last_turns
        self._began_ns: int | None = None  # the turn in progress
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.up = True
        self.failures = 0

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """Ends the thread after the last turns. Gives up after a time: the database may not answer."""
        self._stop.set()
        self._thread.join(timeout_seconds)

    def is_stuck(self, after_ns: int) -> bool:
        """Whether the last turn failed, or the one in progress has taken longer."""
        began_ns = self._began_ns
        return not self.up or (began_ns is not None and self._clock.monotonic_ns() - began_ns > after_ns)

    def turn(self) -> bool:
        """Does the work once. Returns whether that succeeded."""
        self._began_ns = self._clock.monotonic_ns()
        try:
            self._work()
        except LedgerUnavailable as error:
            self.failures += 1
            if self.up:
                logger.error("%s: %s", self._failing, error)  # noqa: TRY400 - one line
            self.up = False
            return False
        finally:
            self._began_ns = None
        if not self.up:
            logger.warning(self._works_again)
        self.up = True
        return True

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            try:
                self.turn()
            except Exception:  # the thread must live on
                self.up = False
                self.failures += 1
                logger.exception(self._failing)
                self._stop.wait(_EVERY_SECONDS)
        for _ in range(self._last_turns):
            if not self.turn():
                break
