"""`make bench-gateway`: the cost of Tidegate as a relay, compared with nginx, a bare relay, and litellm's proxy.

Every relay is one process on one core. The upstream, which responds at once, and the load generator share another. The
relays take turns in rounds, so that changes of the machine's speed affect all; figures are medians.

    PYTHONPATH=tests python -m benchmarks.gateway --part throughput --without litellm --rounds 3
"""

import argparse
import compileall
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from benchmarks.command import Progress, bench_parser, exit_code
from benchmarks.gateway.contenders import BARE, CONTENDERS, OURS, upstream_running
from benchmarks.gateway.parts import PARTS, Bench, Sizes
from benchmarks.gateway.rows import Row

_SERVICE = Path(__file__).parents[3] / "service"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables. Return 1 if a target was missed and `--strict` is given, else 0."""
    options = _options(arguments)
    compileall.compile_dir(_SERVICE, quiet=2)  # like an installation
    contenders = [one for one in CONTENDERS if one.name not in options.without]
    started_seconds = time.monotonic()
    missed = 0
    os.sched_setaffinity(0, {options.cores[1]})
    with tempfile.TemporaryDirectory() as directory, upstream_running(Path(directory), options.cores[1]) as port:
        relay_core, load_core = options.cores
        bench = Bench(Path(directory), port, relay_core, load_core, contenders, options.sizes)
        names = [one.name for one in contenders]
        parts = options.part or list(PARTS)
        progress = Progress(len(parts))
        for part in parts:
            progress.begin(part)
            sys.stdout.write(f"\n{part}\n{Row.header(names)}\n")
            for row in uvloop.run(PARTS[part](bench)):
                sys.stdout.write("".join(f"{line}\n" for line in row.lines(names)))
                missed += sum(not bound.is_met for bound in row.bounds)
            sys.stdout.flush()
    sys.stdout.write(f"\n{time.monotonic() - started_seconds:.0f} s; missed: {missed}\n")
    return exit_code(missed, strict=options.strict)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    sizes = Sizes()
    parser = bench_parser("bench-gateway", __doc__)
    optional = sorted({one.name for one in CONTENDERS} - {OURS, BARE})
    parser.add_argument("--part", choices=PARTS, action="append", help="run one part only; may be repeated")
    parser.add_argument("--without", choices=optional, action="append", default=[], help="leave this relay out")
    parser.add_argument("--rounds", type=int, default=sizes.rounds, help=f"number of rounds ({sizes.rounds})")
    parser.add_argument(
        "--seconds", type=float, default=sizes.seconds, help=f"duration of each load ({sizes.seconds:g})"
    )
    parser.add_argument(
        "--streams", type=int, default=sizes.streams, help=f"number of open streams ({sizes.streams:,})"
    )
    parser.add_argument("--cores", type=int, nargs=2, default=[1, 0], help="cores of the relays and of the load (1 0)")
    options = parser.parse_args(arguments)
    options.sizes = Sizes(options.rounds, options.seconds, options.streams)
    return options


if __name__ == "__main__":
    sys.exit(main())
