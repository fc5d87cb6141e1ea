"""Makes the clients of a run, by kind."""

from collections.abc import Callable
from random import Random
from typing import Final

from benchmarks.goodput.case import BenchmarkCase
from benchmarks.goodput.connection import UpstreamConnection
from benchmarks.goodput.oracle_client import OracleClient
from benchmarks.goodput.records import PredictedWait
from benchmarks.goodput.sdk_clients import Client, LimitedSdkClient, SdkClient
from benchmarks.goodput.shared_client import SharedClient
from benchmarks.goodput.tidegate_client import TidegateClient
from support.virtual_time import VirtualClock
from tidegate.core.claude.rate_limit_groups import model_pool
from tidegate.core.ports.observer import Observer
from tidegate.stores.memory import MemoryStore

__all__ = ["CLIENTS", "SHARED", "replica_count", "starter"]

SHARED: Final = "tidegate-shared"
"""Tidegate in several processes that share one log."""

CLIENTS: Final = ("tidegate", SHARED, "oracle", "sdk", "aiolimiter")
"""Tidegate, with limits of each process and with shared ones, the oracle, and two others for comparison."""

_SHARING: Final = 4
"""So many processes share the log, unless the scenario says how many processes there are."""


def replica_count(case: BenchmarkCase, kind: str) -> int:
    """The number of processes at the start."""
    count = case.scenario.replicas
    if kind == "oracle":
        return 1
    return _SHARING if kind == SHARED and count == 1 else count


def starter(
    case: BenchmarkCase,
    kind: str,
    connection: UpstreamConnection,
    clock: VirtualClock,
    rng: Callable[[str], Random],
    observer: Observer | None,
    waits: list[PredictedWait],
) -> Callable[[int], Client]:
    """A function that starts the process of a number.

    Raises:
        ValueError: There is no such kind.
    """
    pools = {model_pool(connection.model): case.settings} if case.configured else {}
    server = case.scenario.log.server(clock)

    def start(number: int) -> Client:
        own = rng(f"replica {number}")
        match kind:
            case "tidegate":
                return TidegateClient(connection, own, clock, MemoryStore(clock, pools), observer, waits)
            case "tidegate-shared":
                log = case.scenario.log.connect(server, rng(f"log {number}"))
                return SharedClient(f"r{number}", log, connection, own, clock, pools, observer, waits)
            case "oracle":
                return OracleClient(connection)
            case "sdk":
                return SdkClient(connection, own)
            case _:
                return LimitedSdkClient(connection, own, case.scenario.upstream.limits.requests_per_minute)

    if kind not in CLIENTS:
        raise ValueError(f"client: {kind!r} was given; allowed are {', '.join(CLIENTS)}")
    return start
