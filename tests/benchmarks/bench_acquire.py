"""`make bench`: CPU time of an uncontended `acquire_token()`, compared with aiolimiter's `acquire()`, in one process.

aiolimiter does less: one dimension, no lease, no observer, one event loop. Ours may take four times as long. The rounds
alternate, so that changes of the machine's speed affect both. The verdict is on the medians.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiolimiter import AsyncLimiter

from benchmarks.command import Progress, bench_parser, exit_code
from tidegate.rate_limiter import RateLimitConfig, RateLimiter

_CALLS: Final = 50_000
_ROUNDS: Final = 7
_MOST_TIMES_SLOWER: Final = 4.0
_NEVER_EMPTY: Final = 1_000_000_000
"""Burst and rate per minute; every call succeeds at once."""


async def microseconds_per_call(call: Callable[[], Awaitable[object]]) -> float:
    """Mean CPU time of a call."""
    started_ns = time.process_time_ns()
    for _ in range(_CALLS):
        await call()
    return (time.process_time_ns() - started_ns) / _CALLS / 1_000


async def measure() -> list[tuple[float, float]]:
    """Measure microseconds per call of ours and of aiolimiter, by round, after a warm-up round."""
    ours = RateLimiter(RateLimitConfig(requests_per_minute=_NEVER_EMPTY, burst_limit=_NEVER_EMPTY))
    peer = AsyncLimiter(_NEVER_EMPTY, time_period=60)
    rounds = []
    progress = Progress(_ROUNDS + 1)
    for number in range(_ROUNDS + 1):
        progress.begin(f"round {number}" if number else "warming up")
        rounds.append((await microseconds_per_call(ours.acquire_token), await microseconds_per_call(peer.acquire)))
    return rounds[1:]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and the verdict. Return 1 if ours takes too long and `--strict` is given, else 0."""
    options = bench_parser("bench", __doc__).parse_args(arguments)
    rounds = asyncio.run(measure())
    print(f"microseconds of CPU per uncontended acquire, {_CALLS:,} calls a round")
    print(f"{'':8}{'acquire_token()':>16}{'aiolimiter':>12}{'ratio':>8}")
    for number, (ours, peer) in enumerate(rounds, start=1):
        print(f"{f'round {number}':8}{ours:16.2f}{peer:12.2f}{ours / peer:8.2f}")
    ours, peer = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = ours / peer
    print(f"{'median':8}{ours:16.2f}{peer:12.2f}{ratio:8.2f}")
    met = ratio <= _MOST_TIMES_SLOWER
    print(f"{'met' if met else 'MISSED'}: at most {_MOST_TIMES_SLOWER:g} times aiolimiter's")
    return exit_code(not met, strict=options.strict)


if __name__ == "__main__":
    sys.exit(main())
