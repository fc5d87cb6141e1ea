"""`make bench-overload`: admitted calls, refusals and health checks under twenty times the quota.

PYTHONPATH=tests python -m benchmarks.overload --seconds 20
"""

import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.command import bench_parser, exit_code
from benchmarks.gateway.latency import percentile
from benchmarks.gateway.rows import Bound
from benchmarks.overload.measure import Overload, Phase, Plan, measure

__all__ = ["bounds", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the figures, each with its bound."""
    parser = bench_parser("overload", __doc__)
    parser.add_argument("--seconds", type=float, default=20, help="measured in each phase (20)")
    parser.add_argument("--calm", type=float, default=60, help="calls per second in the first phase (60)")
    parser.add_argument("--offered", type=float, default=1_000, help="calls per second in the second phase (1,000)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        found = measure(Path(directory), Plan((options.calm, options.offered), options.seconds))
    judged = bounds(found)
    sys.stdout.write("\n".join([*_figures(found), *(bound.text() for bound in judged), *found.failed[:5], ""]))
    return exit_code(sum(not bound.is_met for bound in judged), strict=options.strict)


def bounds(found: Overload) -> list[Bound]:
    """The figures with a bound."""
    calm, overloaded = found.phases
    came_back = sum(status == 200 for status in found.returned)
    pages = overloaded.pages
    return [
        Bound("goodput, overloaded / calm", overloaded.goodput / max(calm.goodput, 1e-9), at_least=0.97),
        *(Bound(f"{path}, slowest, ms", _milliseconds(pages[path], 100), at_most=100) for path in pages),
        Bound("failed calls", len(found.failed), at_most=0),
        Bound("share of refused clients that succeed after retry-after", came_back / len(found.returned), at_least=1),
    ]


def _figures(found: Overload) -> list[str]:
    waits = sorted(set(found.retry_after), key=lambda pair: pair[::-1])
    return [
        *(line for phase in found.phases for line in _phase(phase)),
        "retry-after: " + ", ".join(f"{after:g} s for clients that wait {timeout:g} s" for after, timeout in waits),
        f"429s of the upstream: {found.upstream_429s}",
    ]


def _phase(phase: Phase) -> list[str]:
    return [
        f"offered {phase.offered:.0f}/s: {phase.goodput:.2f}/s succeed, {phase.refused:.0f}/s are refused",
        f"  CPU of the service: {100 * phase.cpu:.0f} % of a core",
        *(f"  {path}: {_spread(seconds)}" for path, seconds in phase.pages.items()),
        f"  refusals: {_spread(phase.refusal_seconds)}",
    ]


def _spread(seconds: Iterable[float]) -> str:
    values = sorted(seconds)
    if not values:
        return "none"
    shares = ", ".join(f"p{percent} {_milliseconds(values, percent):.1f}" for percent in (50, 99, 100))
    return f"{shares} ms ({len(values):,})"


def _milliseconds(seconds: Sequence[float], percent: float) -> float:
    return 1_000 * percentile(seconds, percent)


if __name__ == "__main__":
    sys.exit(main())
