"""Measures how fast the service answers `/healthz` and `/metrics`, in a process of its own.

The load generator is too busy to measure this. Prints the latencies in seconds by path as JSON.
"""

import argparse
import http.client
import json
import sys
import time

__all__ = ["probe"]

_EVERY_SECONDS = 0.05
_SCRAPE_EVERY = 10
"""Each tenth probe reads the metrics."""
_LEAST_PROBES = 2
"""One for each page."""


def probe(port: int, seconds: float) -> dict[str, list[float]]:
    """Reads both pages in turn over one connection; the latencies by path, in seconds.

    Raises:
        RuntimeError: the status of a response is not 200.
    """
    found: dict[str, list[float]] = {"/healthz": [], "/metrics": []}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    until, number = time.monotonic() + seconds, 0
    while number < _LEAST_PROBES or time.monotonic() < until:
        path = "/metrics" if number % _SCRAPE_EVERY == 0 else "/healthz"
        started = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        found[path].append(time.perf_counter() - started)
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status}")
        number += 1
        time.sleep(_EVERY_SECONDS)
    connection.close()
    return found


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    json.dump(probe(options.port, options.seconds), sys.stdout)


if __name__ == "__main__":
    _main()
