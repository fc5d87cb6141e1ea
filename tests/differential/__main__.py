"""`python -m differential [COUNT [SEED]]`: compares implementations on mutated recordings, a million by default."""

import asyncio
import sys
import time
from random import Random

import uvloop

from differential.differences import Unexplained
from differential.run import Comparison
from differential.streams import mutated, recordings

_DEFAULTS = (1_000_000, 1)
_TELL_EVERY = 50_000


async def main(count: int, seed: int) -> int:
    """Send half of the streams to the servers and half to the clients. Return the number of unlisted differences."""
    comparison = Comparison()
    try:
        return await _compare(comparison, count, Random(seed))
    finally:  # also when interrupted
        for (compared, difference), times in comparison.counts.most_common():
            print(f"{times:>9,}  {compared}: {difference or 'the same'}")


async def _compare(comparison: Comparison, count: int, random: Random) -> int:
    sides = [(recordings("requests"), comparison.serve), (recordings("answers"), comparison.read)]
    unexplained, started = 0, time.monotonic()
    for number in range(1, count + 1):
        sources, compare = sides[number % 2]
        stream = mutated(sources, random)
        try:
            await compare(stream)
        except Unexplained as error:
            unexplained += 1
            print(f"{error}\n  {stream}")
        if number % _TELL_EVERY == 0 or number == count:
            seconds = time.monotonic() - started
            print(f"{number:,} of {count:,} streams, {seconds:,.0f} s, {unexplained} unexplained", flush=True)
    return unexplained


if __name__ == "__main__":
    count, seed = (*map(int, sys.argv[1:]), *_DEFAULTS[len(sys.argv) - 1 :])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        raise SystemExit(bool(runner.run(main(count, seed))))
