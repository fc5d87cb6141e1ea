"""Tests the rate limiter on the real clock, and shows what it measured: `python test_rate_limiting.py`, 25 seconds.

Finds the checkout by its own path, needs no key and no network, and exits 1 if anything measured is not as expected.
pytest does not collect it; the tests of logic, on a virtual clock, are in `tests/`.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
try:
    from services.dsl_generator.rate_limiter import RateLimitConfig, RateLimiter
except ImportError as problem:  # an older Python, or a dependency that is missing
    sys.exit(f"{problem}: run `make run` once in the checkout, then start this script with its .venv/bin/python")

LATE_SECONDS: Final = 0.25
"""Delay with which a busy machine may wake a waiter up; being early is always a miss."""
_EARLY_SECONDS: Final = 0.005
_CHART_COLUMNS: Final = 60


@dataclass(frozen=True, slots=True)
class Check:
    """A measured figure beside what was expected: it hits from `low` to `high`, both included."""

    what: str
    measured: float
    low: float
    high: float
    unit: str

    @property
    def hit(self) -> bool:
        """Whether the figure is as expected."""
        return self.low <= self.measured <= self.high

    def __str__(self) -> str:
        verdict = "ok  " if self.hit else "MISS"
        expected = f"{self.low:g}" if self.low == self.high else f"{self.low:g} to {self.high:g}"
        return f"  {verdict}  {self.what:<50} measured {self.measured:8.3f}   expected {expected} {self.unit}"


class Admission(NamedTuple):
    """Time at which a caller got its token, in seconds since all started. Callers are numbered from 1 as they came."""

    caller: int
    at_seconds: float


def takes(what: str, measured_seconds: float, expected_seconds: float) -> Check:
    """A check of a duration: never early, and late by no more than a busy machine may be."""
    low, high = round(expected_seconds - _EARLY_SECONDS, 3), round(expected_seconds + LATE_SECONDS, 3)
    return Check(what, measured_seconds, low, high, "s")


def is_exactly(what: str, measured: float, expected: float, unit: str) -> Check:
    """A check of a figure that does not depend on the machine's speed."""
    return Check(what, round(measured, 3), expected, expected, unit)


def timeline(admissions: Sequence[Admission]) -> list[str]:
    """Draws a line per caller, in the order of admission: `-` while it waits, `#` when it gets its token."""
    last_seconds = max((admission.at_seconds for admission in admissions), default=0.0)
    scale = (_CHART_COLUMNS - 1) / last_seconds if last_seconds > 0 else 0.0
    return [
        f"  caller {caller:2} |{'-' * round(at_seconds * scale) + '#':<{_CHART_COLUMNS}}| {at_seconds:6.3f} s"
        for caller, at_seconds in admissions
    ]


def schedule_checks(admissions: Sequence[Admission], burst: int, spacing_seconds: float) -> list[Check]:
    """Checks a queue of callers: the burst at once, then one each spacing, in the order in which they came."""
    ideal = [max(0, index + 1 - burst) * spacing_seconds for index in range(len(admissions))]
    lateness = [admission.at_seconds - at_seconds for admission, at_seconds in zip(admissions, ideal, strict=True)]
    in_order = sum(admission.caller == place for place, admission in enumerate(admissions, start=1))
    return [
        takes(f"the first {burst} come at once", admissions[burst - 1].at_seconds, 0.0),
        takes(f"then one every {spacing_seconds:g} s: the last one comes", admissions[-1].at_seconds, ideal[-1]),
        takes("earliest against that schedule", min(lateness), 0.0),
        takes("latest against that schedule", max(lateness), 0.0),
        is_exactly("served in the order in which they came", in_order, len(admissions), "callers"),
    ]


async def admit(limiter: RateLimiter, callers: int) -> list[Admission]:
    """Lets callers ask for a token at the same time; returns when each got it, in the order of admission."""
    started = time.monotonic()
    admissions: list[Admission] = []

    async def call(caller: int) -> None:
        await limiter.acquire_token()
        admissions.append(Admission(caller, time.monotonic() - started))

    async with asyncio.TaskGroup() as group:
        for caller in range(1, callers + 1):
            group.create_task(call(caller))
    return admissions


async def basic_token_acquisition() -> list[Check]:
    """The defaults: 20 requests a minute, burst 5."""
    limiter = RateLimiter(RateLimitConfig())
    full = limiter.get_stats()["current_state"]["available_tokens"]
    admissions = await admit(limiter, 7)
    state = limiter.get_stats()["current_state"]
    return [
        is_exactly("a new limiter holds its burst", full, 5, "tokens"),
        *schedule_checks(admissions, burst=5, spacing_seconds=3.0),
        is_exactly("requests counted", state["total_requests"], 7, "requests"),
    ]


async def concurrent_request_handling() -> list[Check]:
    """20 callers at once, at 120 requests a minute and burst 5."""
    admissions = await admit(RateLimiter(RateLimitConfig(requests_per_minute=120, burst_limit=5)), 20)
    print(*timeline(admissions), sep="\n")
    return schedule_checks(admissions, burst=5, spacing_seconds=0.5)


async def adaptive_rate_limiting() -> list[Check]:
    """429s cut the rate by 10 % each, down to a floor; successes bring it back; `retry_after` is obeyed."""
    limiter = RateLimiter(RateLimitConfig(requests_per_minute=60, burst_limit=1))

    def rate() -> float:
        return float(limiter.get_stats()["current_state"]["requests_per_minute"])

    def after_429s(times: int) -> float:
        for _ in range(times):
            limiter.record_rate_limit()
        return rate()

    checks = [
        is_exactly("the rate after one 429", after_429s(1), 54.0, "requests/minute"),
        is_exactly("the rate after two", after_429s(1), 48.6, "requests/minute"),
    ]
    spacing_seconds = (await admit(limiter, 2))[1].at_seconds
    checks.append(takes("two tokens at that rate are apart by", spacing_seconds, 60 / 48.6))
    checks.append(is_exactly("the rate after 100 more, at its floor", after_429s(100), 6.0, "requests/minute"))
    successes = 0
    while rate() < 60.0 and successes < 1_000:
        limiter.record_success()
        successes += 1
    checks.append(Check("successes that it takes to come back, gradually", successes, 10, 999, "successes"))
    limiter.record_success()
    checks.append(is_exactly("the rate after one more, never above", rate(), 60.0, "requests/minute"))
    limiter.record_rate_limit(retry_after=2.0)
    (frozen,) = await admit(limiter, 1)
    checks.append(takes("after a 429 with retry_after=2 a token takes", frozen.at_seconds, 2.0))
    return checks


async def configuration_updates() -> list[Check]:
    """Four callers wait at 20 requests a minute; half a second later the rate becomes 240 a minute."""
    limiter = RateLimiter(RateLimitConfig(requests_per_minute=20, burst_limit=1))
    await limiter.acquire_token()
    waiting = asyncio.create_task(admit(limiter, 4))
    await asyncio.sleep(0.5)
    before = limiter.get_stats()["current_state"]
    limiter.update_config(RateLimitConfig(requests_per_minute=240, burst_limit=1))
    after = limiter.get_stats()["current_state"]
    admissions = await waiting
    in_order = [admission.caller for admission in admissions] == [1, 2, 3, 4]
    refilled = before["available_tokens"]
    return [
        is_exactly("callers that wait", before["waiting_requests"], 4, "callers"),
        Check("tokens that the update gives away", after["available_tokens"] - refilled, 0.0, 0.05, "tokens"),
        takes("the first waiter then comes at", admissions[0].at_seconds, 0.5 + (1 - refilled) * 0.25),
        takes("the last one, 0.25 s after each other, at", admissions[3].at_seconds, 0.5 + (4 - refilled) * 0.25),
        is_exactly("waiters served in their order", 4 if in_order else 0, 4, "callers"),
    ]


Part = Callable[[], Coroutine[None, None, list[Check]]]
"""One part of the test: measures, and says beside each figure what was expected."""

PARTS: Final[Sequence[tuple[str, Part]]] = (
    ("Basic token acquisition", basic_token_acquisition),
    ("Concurrent request handling", concurrent_request_handling),
    ("Adaptive rate limiting", adaptive_rate_limiting),
    ("Configuration updates", configuration_updates),
)


def main() -> int:
    """Runs all parts, each in an event loop of its own; returns 1 if anything was missed, else 0."""
    misses = checked = 0
    for number, (title, part) in enumerate(PARTS, start=1):
        print(f"{number}. {title}. {part.__doc__}", flush=True)
        checks = asyncio.run(part())
        print(*checks, sep="\n", flush=True)
        misses += sum(not check.hit for check in checks)
        checked += len(checks)
    print(f"{checked - misses} of {checked} figures are as expected")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
