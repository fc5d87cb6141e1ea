"""Runs and queries a Prometheus, and replaces Grafana's variables in the queries of panels."""

import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.daemon import daemon

_FIRST_SCRAPE_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Prometheus:
    url: str

    def ask(self, expr: str, *, last_seconds: int) -> list[dict[str, Any]]:
        """Query an expression at each second. Raises `AssertionError` with Prometheus's message if it is invalid."""
        now = time.time()
        times = {"start": now - last_seconds, "end": now, "step": 1}
        found: list[dict[str, Any]] = self._get("query_range", query=expr, **times)["result"]
        return found

    def _get(self, path: str, **arguments: Any) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{arguments}: {error.read().decode()}") from error


def as_asked(expr: str, interval: str = "5m", time_range: str = "1h") -> str:
    """The query that Grafana sends for an expression if every variable is All."""
    filled = expr.replace("$__rate_interval", interval).replace("$__range", time_range)
    return re.sub(r"\$\w+", ".*", filled)


@contextmanager
def prometheus(directory: Path, scraped: str, rule_files: list[Path]) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes `host:port` as job `tidegate` and evaluates the rules, every second.

    Yields after the first scrape: Prometheus takes seconds to discover even static targets.
    """
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in rule_files],
        "scrape_configs": [{"job_name": "tidegate", "static_configs": [{"targets": [scraped]}]}],
    }
    # JSON is YAML, too.
    (directory / "prometheus.yml").write_text(json.dumps(config))

    def arguments(address: str) -> list[str]:
        return ["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", f"--web.listen-address={address}"]

    with daemon(directory, "prometheus", "prometheus", arguments) as url:
        running = Prometheus(url)
        deadline = time.monotonic() + _FIRST_SCRAPE_SECONDS
        while not running.ask("up", last_seconds=5):
            assert time.monotonic() < deadline, (
                f"Prometheus scraped nothing: {(directory / 'prometheus.log').read_text()}"
            )
            time.sleep(0.1)
        yield running
