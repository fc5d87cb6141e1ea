"""`make bench-goodput`: the share of the quota that the limiter uses, its 429s, and the waits of callers.

Every scenario runs on virtual time with several seeds, through Tidegate's engine and, for comparison, through an oracle
that sees the upstream's state, the SDK's retries, and aiolimiter. Those with bounds for it also run through four
processes that share a log (`tidegate-shared`).

    PYTHONPATH=tests python -m benchmarks.goodput --scenario limit_halves --seeds 1 --clients tidegate --trace
    PYTHONPATH=tests python -m benchmarks.goodput --random hidden_changes --seeds 40 --clients tidegate
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks.command import Progress, bench_parser, exit_code
from benchmarks.goodput.case import BenchmarkCase
from benchmarks.goodput.clients import CLIENTS, SHARED
from benchmarks.goodput.expectations import Expectations, judge, read_expectations
from benchmarks.goodput.harness import Watch, run
from benchmarks.goodput.measurement import measurement_of
from benchmarks.goodput.metrics import Figures, figures
from benchmarks.goodput.random_scenarios import KINDS, random_scenario
from benchmarks.goodput.report import HEADER, scenario_lines
from benchmarks.goodput.scenario import load_scenario
from benchmarks.goodput.trace import Trace

_SCENARIOS: Final = Path(__file__).parent / "scenarios"
_OURS: Final = CLIENTS[0]

_Task = tuple[BenchmarkCase, str, int, bool]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables; returns 1 if a bound was missed and `--strict` is given, else 0."""
    options = _options(arguments)
    expectations, of_shared = read_expectations(), read_expectations(shared=True)
    started_seconds = time.monotonic()
    missed = []
    sys.stdout.write(f"{HEADER}\n(median|worst of {options.seeds} seeds)\n")
    with ExitStack() as stack:
        in_one_process = options.trace or options.jobs == 1
        run_each = map if in_one_process else stack.enter_context(multiprocessing.Pool(options.jobs)).imap
        # All are started at once: waiting for each scenario would leave processes idle.
        rows = []
        for name, cases in _rows(options):
            clients = options.clients or [each for each in CLIENTS if each != SHARED or name in of_shared]
            rows.append((name, clients, _run_all(cases, clients, options, run_each)))
        progress = Progress(len(rows))
        for name, clients, begun in rows:
            progress.begin(name)
            runs = {client: [next(begun) for _ in range(options.seeds)] for client in clients}
            ours = runs.get(_OURS, ())
            verdicts = {
                _OURS: judge(expectations.get(name, Expectations()), ours),
                SHARED: judge(of_shared.get(name, Expectations()), runs.get(SHARED, ()), ours),
            }
            lines = scenario_lines(runs, verdicts)
            sys.stdout.write(f"\n{name}\n" + "".join(f"{line}\n" for line in lines))
            sys.stdout.flush()
            if not all(verdict.passed for judged in verdicts.values() for verdict in judged):
                missed.append(name)
    sys.stdout.write(f"\n{time.monotonic() - started_seconds:.0f} s; missed: {', '.join(missed) or 'none'}\n")
    return exit_code(len(missed), strict=options.strict)


def _rows(options: argparse.Namespace) -> list[tuple[str, Sequence[BenchmarkCase]]]:
    """The runs by name: a scenario with each seed, or random scenarios of a kind, one per seed."""
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    scenarios: list[BenchmarkCase] = options.scenario
    if not scenarios and not options.random:
        scenarios = [_case(path.stem) for path in sorted(_SCENARIOS.glob("*.toml"))]
    return [(each.name, [each for _ in seeds]) for each in scenarios] + [
        (kind, [BenchmarkCase(kind, random_scenario(kind, number)) for number in seeds]) for kind in options.random
    ]


def _run_all(
    cases: Sequence[BenchmarkCase],
    clients: Sequence[str],
    options: argparse.Namespace,
    run_each: Callable[..., Iterator[Figures]],
) -> Iterator[Figures]:
    seeded = list(enumerate(cases, start=options.first_seed))
    return run_each(_run_one, [(each, client, seed, options.trace) for client in clients for seed, each in seeded])


def _run_one(task: _Task) -> Figures:
    case, client, seed, traced = task
    trace = Trace() if traced else None
    record = run(case, client, seed, Watch(trace, trace.each_second) if trace is not None else None)
    return figures(record, measurement_of(case.scenario))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = bench_parser("bench-goodput", __doc__)
    parser.add_argument(
        "--scenario", type=_case, action="append", default=[], help="name or TOML file; may be repeated"
    )
    parser.add_argument(
        "--random",
        choices=KINDS,
        action="append",
        default=[],
        help="random scenarios, one per seed; may be repeated",
    )
    parser.add_argument("--seeds", type=_at_least_one, default=20, help="number of seeds (20)")
    parser.add_argument("--first-seed", type=_seed, default=0, help="number of the first seed (0)")
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, help=f"all; {SHARED} where it has bounds")
    parser.add_argument("--trace", action="store_true", help="print the state every second; runs in one process")
    parser.add_argument("--jobs", type=_at_least_one, default=2, help="processes (2)")
    return parser.parse_args(arguments)


def _case(text: str) -> BenchmarkCase:
    """Find a scenario by its name, or by the path of a TOML file."""
    path = Path(text) if text.endswith(".toml") else _SCENARIOS / f"{text}.toml"
    if not path.is_file():
        names = ", ".join(sorted(each.stem for each in _SCENARIOS.glob("*.toml")))
        raise argparse.ArgumentTypeError(f"{text!r} was given; a TOML file is allowed, or one of {names}")
    try:
        scenario = load_scenario(path)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not scenario.workloads:
        raise argparse.ArgumentTypeError(f"{path}: workload: none was given; one or more are needed")
    known = read_expectations() if path.parent == _SCENARIOS else {}
    expected = known.get(path.stem, Expectations())
    return BenchmarkCase(path.stem, scenario, expected.configured, expected.configured_seconds)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} was given; a whole number from 0 is allowed")
    return int(text)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} was given; a whole number from 1 is allowed")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
