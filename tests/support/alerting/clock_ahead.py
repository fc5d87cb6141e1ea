"""`python clock_ahead.py serve …`: the `tidegate` command, whose clock jumps ahead by 31 minutes at each SIGUSR1.

It replaces half an hour of waiting.
"""

import signal
import time

import tidegate.engine.clock
from tidegate.cli import main

JUMP_NS = 31 * 60 * 1_000_000_000

ahead_ns = 0


def jump(*_: object) -> None:
    global ahead_ns  # noqa: PLW0603 - a signal handler has nowhere else to put it
    ahead_ns += JUMP_NS


class ClockAhead:
    monotonic_ns = staticmethod(lambda: time.monotonic_ns() + ahead_ns)
    wall_seconds = staticmethod(lambda: time.time() + ahead_ns / 1e9)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, jump)
    tidegate.engine.clock.SystemClock = ClockAhead  # type: ignore[assignment,misc]  # before it is imported
    main()
