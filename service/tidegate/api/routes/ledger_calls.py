"""Asks the ledger from the event loop, which must never wait for the database."""

import asyncio
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from tidegate.core.domain.errors import LedgerUnavailable

__all__ = ["LedgerCalls"]

Result = TypeVar("Result")

_AT_ONCE: Final = 4
_SECONDS: Final = 15.0


class LedgerCalls:
    """Runs calls of the ledger in threads.

    The threads are daemons: a database that hangs does not keep the process from ending, and does not use up the
    threads of others.
    """

    def __init__(self) -> None:
        self._running = 0

    async def run(self, call: Callable[[], Result]) -> Result:
        """The result of a call.

        Raises:
            LedgerUnavailable: the database does not answer in time, or too many calls already wait for it.
        """
        if self._running >= _AT_ONCE:
            raise LedgerUnavailable("too many requests to the ledger wait for its database")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()

        def end(result: Result | None, error: BaseException | None) -> None:
            self._running -= 1
            if done.cancelled():
                return
            if error is None:
                done.set_result(result)  # type: ignore[arg-type] # it is the result if there is no error
            else:
                done.set_exception(error)

        def work() -> None:
            try:
                result, error = call(), None
            except BaseException as raised:  # noqa: BLE001 - raised in the event loop
                result, error = None, raised
            try:
                loop.call_soon_threadsafe(end, result, error)
            except RuntimeError:  # the loop has ended meanwhile
                return

        self._running += 1
        threading.Thread(target=work, name="ledger-call", daemon=True).start()
        try:
            return await asyncio.wait_for(done, _SECONDS)
        except TimeoutError:
            raise LedgerUnavailable("the database of the ledger does not answer in time") from None
