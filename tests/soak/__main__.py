"""`make soak`: what grows in the service under a long mixed load.

PYTHONPATH=tests python -m soak --minutes 5 --rate 100
"""

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.gateway.rows import Bound
from soak.load import BREAKING, FAULTS, Kind
from soak.run import Found, Plan, soak
from soak.verdicts import verdicts

__all__ = ["main"]

_WARM_UP: float = 1 / 6


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the soak, and prints what it found. Returns 1 if a bound was missed."""
    parser = argparse.ArgumentParser("soak", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30, help="duration of the load (30)")
    parser.add_argument("--warm-up-minutes", type=float, help="how much of it is not judged (a sixth)")
    parser.add_argument("--rate", type=float, default=200, help="calls per second (200)")
    parser.add_argument("--reload-seconds", type=float, default=30, help="time between reloads (30)")
    parser.add_argument("--seed", type=int, default=1, help="draws the calls (1)")
    parser.add_argument("--samples", type=Path, help="file for the samples, as JSON lines")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=FAULTS, help="of the simulator (all)")
    options = parser.parse_args(arguments)
    faults = tuple(options.faults)
    warm_up_minutes = options.minutes * _WARM_UP if options.warm_up_minutes is None else options.warm_up_minutes
    with tempfile.TemporaryDirectory() as directory:
        plan = Plan(options.minutes * 60, options.rate, options.reload_seconds, options.seed, faults)
        found = soak(Path(directory), plan)
    if options.samples:
        options.samples.write_text("".join(f"{json.dumps(asdict(sample))}\n" for sample in found.samples))
    bounds = [*_ends(found, breaks=not BREAKING.isdisjoint(faults)), *verdicts(found.samples, warm_up_minutes * 60)]
    sys.stdout.write("\n".join([*_counts(found), *(bound.text() for bound in bounds), *found.lost, ""]))
    return int(not all(bound.is_met for bound in bounds))


def _counts(found: Found) -> list[str]:
    used = found.samples[-1].cpu_seconds - found.samples[0].cpu_seconds
    seconds = found.samples[-1].at_seconds - found.samples[0].at_seconds
    return [
        f"{found.started:,} calls in {found.load_seconds:.0f} s: {found.started / found.load_seconds:.0f} per second",
        f"CPU of the service: {100 * used / seconds:.0f} % of a core",
        *(f"  {kind} {end}: {count:,}" for (kind, end), count in sorted(found.ends.items())),
        *(f"  {text}: {count}" for text, count in sorted(found.reloads.items())),
    ]


def _ends(found: Found, *, breaks: bool) -> list[Bound]:
    lost = sum(
        count for (kind, end), count in found.ends.items() if kind in {Kind.PLAIN, Kind.STREAM} and end != "whole"
    )
    return [
        Bound("calls lost", lost, at_most=0),
        Bound("tracebacks in the log", found.tracebacks, at_most=0),
        *(Bound(f"{what} left after the load", count, at_most=0) for what, count in found.left.items()),
        *(
            Bound(f"ledger apart: {what}", tokens, at_most=math.inf if breaks and "simulator" in what else 0)
            for what, tokens in found.apart.items()
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
