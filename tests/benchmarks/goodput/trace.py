"""Prints a line per second of a run, and the unusual events of the engine."""

import sys
from collections.abc import Sequence
from typing import Final

from benchmarks.goodput.connection import UpstreamConnection
from benchmarks.goodput.records import Sample
from benchmarks.goodput.sdk_clients import Client
from benchmarks.goodput.tidegate_client import TidegateClient
from support.recording_observer import RecordingObserver
from tidegate.core.domain.events import Admitted, AttemptFinished, Event, LeaseEnded, Queued

__all__ = ["Trace"]

_ROUTINE: Final = (Admitted, AttemptFinished, LeaseEnded, Queued)
_NONE: Final = Sample(0, (0, 0, 0), (0, 0, 0), (0, 0, 0), 0, 0)


class Trace(RecordingObserver):
    """Prints, for each second: usage and attainable usage, the true level, and each replica's estimates of level,
    capacity and rate. Each has three figures: requests, input tokens and output tokens.
    """

    def __init__(self) -> None:
        super().__init__()
        self._before = _NONE

    def event(self, event: Event) -> None:
        if not isinstance(event, _ROUTINE):
            sys.stdout.write(f"        {event}\n")

    def each_second(self, connection: UpstreamConnection, clients: Sequence[Client]) -> None:
        now, before = connection.sample(), self._before
        self._before = now
        used = [b - a for a, b in zip(before.used, now.used, strict=True)]
        could = [b - a for a, b in zip(before.attainable, now.attainable, strict=True)]
        sys.stdout.write(
            f"{now.seconds:6.1f}s used {_three(used)} of {_three(could)} level {_three(now.level)}"
            f" sent {now.answers - before.answers:3d} 429 {now.refusals - before.refusals:3d}\n"
        )
        for client in clients:
            if isinstance(client, TidegateClient):
                for pool in client.store.snapshot_now():
                    dimensions = pool.dimensions
                    sys.stdout.write(
                        f"        believes level {_three([each.available for each in dimensions])}"
                        f" capacity {_three([each.capacity for each in dimensions])}"
                        f" a minute {_three([each.effective_per_minute for each in dimensions])}"
                        f" by {'/'.join(each.binding for each in dimensions)}"
                        f" waiting {pool.waiting} ({pool.retries_waiting} retries, {pool.retries_left:.1f} left)"
                        f" in flight {pool.in_flight}, unanswered {pool.unanswered} of {pool.concurrency_limit}"
                        f" frozen {pool.frozen_seconds:.1f}s circuits {pool.open_circuits}\n"
                    )


def _three(numbers: Sequence[float | None]) -> str:
    return "/".join(
        "-" if number is None else f"{number:.0f}" if abs(number) >= 100 else f"{number:.1f}" for number in numbers
    )
