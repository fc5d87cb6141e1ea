"""`make bench-store`: calls per second and latency of limiters that share their state on one Valkey server.

Tidegate runs as one process that leads and makes no load, and some that follow. The libraries run in as many processes
as follow. All are on the same server, one after the other:

1. Each process has some callers, each of which reserves and settles call after call. The quota never binds.
2. All processes together make calls at a constant rate.
3. Each process asks for more than a quota of 1,000 calls per second allows.

    PYTHONPATH=tests python -m benchmarks.store --followers 1 4 --seconds 5
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import Progress, bench_parser, exit_code
from benchmarks.store.figures import HEADER, Figures, bounds, figures
from benchmarks.store.limiters import LIMITERS
from benchmarks.store.measure import Plan, measure
from support.valkey_server import valkey_server

__all__ = ["main"]

_NOTES = """\
A pair is a reservation and its settlement, two round trips. The libraries settle nothing: a reservation alone.
most/s: the most calls admitted in any second, divided by the quota of 1,000. Tidegate has a burst of 50 calls besides.
Any other limiter whose figure is above 1 is not exact.
/50 ms: the same in any 50 ms, divided by the quota of that time. 20 lets a whole second through at once."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a line for each limiter and number of processes."""
    options = _options(arguments)
    chosen = options.limiters or list(LIMITERS)
    progress = Progress(len(options.followers) * len(chosen))
    found: list[Figures] = []
    sys.stdout.write(f"{HEADER}\n")
    with tempfile.TemporaryDirectory() as directory, valkey_server(Path(directory)) as port:
        for count in options.followers:
            for name in chosen:
                progress.begin(f"{name}, {count}")
                plan = Plan(
                    port, name, count, options.seconds, options.tasks, options.rate, options.streams, options.profile
                )
                found.append(figures(name, measure(plan)))
                sys.stdout.write(found[-1].line() + "\n")
                sys.stdout.flush()
    judged = bounds(found)
    sys.stdout.write("\n".join([_NOTES, *(each.text() for each in judged), ""]))
    return exit_code(sum(not each.is_met for each in judged), strict=options.strict)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = bench_parser("bench-store", __doc__)
    parser.add_argument("--followers", type=int, nargs="+", default=[1, 4], help="processes that make calls (1 4)")
    parser.add_argument("--limiters", nargs="+", choices=LIMITERS, help="all")
    parser.add_argument("--seconds", type=float, default=5, help="length of each phase (5)")
    parser.add_argument("--tasks", type=int, default=100, help="callers of each process (100)")
    parser.add_argument("--rate", type=float, default=1_000, help="calls per second in the second phase (1,000)")
    parser.add_argument("--streams", action="store_true", help="the leader echoes 500 streams of 25 events per second")
    parser.add_argument("--profile", default="", help="folder for profiles of all processes; slows them down")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
