"""One run: the load, and what operators do to a healthy service meanwhile."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quiet.load import BalancedClient, Load
from support.alerting.stack import Stack, stack
from support.postgresql_server import postgresql_server

__all__ = ["Found", "run"]

_CALLERS: Final = Path(__file__).with_name("callers.toml")
_SETTLED_SECONDS: Final = 60
"""For the last evaluations, after the load."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a run found.

    Attributes:
        ends: how calls ended, by program and status.
        alerts: seconds that alerts were pending or firing, by their labels (with `alertstate`).
        paged: names of the alerts that paged.
    """

    ends: Counter[tuple[str, int]]
    alerts: dict[tuple[tuple[str, str], ...], float]
    paged: set[str]


def run(directory: Path, seconds: float, say: Callable[[str], None]) -> Found:
    """Runs replicas on a shared store and database under load, with a start, a reload and drains on the way.

    Args:
        directory: An empty folder.
        seconds: Duration of the load.
        say: Takes a line for each event.
    """
    with ExitStack() as programs:
        database = programs.enter_context(postgresql_server()).new_database()
        variables = {"TIDEGATE_STATE_DIR": "state", "TIDEGATE_DATABASE_URL": database.replace("+psycopg", "")}
        toml = _CALLERS.read_text()
        running = programs.enter_context(
            stack(directory, toml=toml, variables=variables, store=True, short_rules=False)
        )
        client = BalancedClient([running.service])
        client.simulator = running.simulator
        load = Load(client, random.Random(1))  # noqa: S311 - a load
        begun_at = time.monotonic()
        calling = threading.Thread(target=load.run, args=(seconds,))
        calling.start()
        try:
            for share, event in _EVENTS:
                time.sleep(max(0, begun_at + share * seconds - time.monotonic()))
                say(f"{(time.monotonic() - begun_at) / 60:.1f} min: {event.__doc__}")
                event(running, client)
        finally:
            calling.join()
        time.sleep(_SETTLED_SECONDS)
        # Each sample is one evaluation.
        interval_seconds = running.interval_seconds
        alerts = {
            tuple(sorted(found["metric"].items())): float(found["value"][1]) * interval_seconds
            for found in running.query("count_over_time(ALERTS[1d])")
        }
    return Found(load.ends, alerts, running.paged)


def _second_replica(running: Stack, client: BalancedClient) -> None:
    """a second replica starts"""
    running.serve("b")
    running.scrape(*running.addresses)
    client.replicas = running.urls


def _reload(running: Stack, _client: BalancedClient) -> None:
    """both replicas read a changed configuration"""
    file = running.folder("a").parent / "tidegate.toml"
    file.write_text(file.read_text().replace("weight = 3", "weight = 4"))
    for name in ("a", "b"):
        running.folder(name)  # copies it
        running.reload(name)


def _upgrade(running: Stack, client: BalancedClient) -> None:
    """the first replica drains, and starts again, as in an upgrade"""
    _out_of_service(running, client, "a")
    running.serve("a", running.stop("a"))
    client.replicas = running.urls


def _fewer(running: Stack, client: BalancedClient) -> None:
    """the second replica drains, and is gone"""
    _out_of_service(running, client, "b")
    running.stop("b")
    running.scrape(*running.addresses)


def _out_of_service(running: Stack, client: BalancedClient, name: str) -> None:
    client.replicas = [url for url in running.urls if url != running.url_of(name)]
    running.drain(name)


_EVENTS: Final[tuple[tuple[float, Callable[[Stack, BalancedClient], None]], ...]] = (
    (0.15, _second_replica),
    (0.3, _reload),
    (0.5, _upgrade),
    (0.75, _fewer),
)
"""At which share of the time each happens."""
