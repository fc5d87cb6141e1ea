"""The network between processes that share a log, and the server that holds it."""

from random import Random

from msgspec import Struct

from claude_simulator.checks import require_number
from support.memory_log import LogServer, MemoryLog
from support.virtual_time import VirtualClock

__all__ = ["LogNetwork", "Pause"]


class Pause(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The server does not answer from `at_seconds` on, for some seconds."""

    at_seconds: float
    seconds: float


class LogNetwork(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Delays and faults.

    Args:
        latency_seconds: The least latency of a command, and of its answer.
        jitter_seconds: How much more it is at most.
        lost: Share of commands that get lost; the answers of as many others get lost.
        repeated: Share of appended entries that arrive twice.
        pauses: Of the server.

    Raises:
        ValueError: A value is outside its range; the message names field, value and range.
    """

    latency_seconds: float = 0.000_25
    jitter_seconds: float = 0.000_25
    lost: float = 0.0
    repeated: float = 0.0
    pauses: tuple[Pause, ...] = ()

    def __post_init__(self) -> None:
        for name in ("latency_seconds", "jitter_seconds"):
            require_number(self, name, least=0)
        for name in ("lost", "repeated"):
            require_number(self, name, least=0, most=0.5)

    def server(self, clock: VirtualClock) -> LogServer:
        """A new server, whose pauses count from now."""
        now_seconds = clock.elapsed_s
        silent = [(now_seconds + each.at_seconds, now_seconds + each.at_seconds + each.seconds) for each in self.pauses]
        return LogServer(clock, silent=silent)

    def connect(self, server: LogServer, rng: Random) -> MemoryLog:
        """The connection of a process."""
        return MemoryLog(
            server,
            rng,
            latency_seconds=self.latency_seconds,
            jitter_seconds=self.jitter_seconds,
            lost_before=self.lost,
            lost_after=self.lost,
            repeated=self.repeated,
        )
