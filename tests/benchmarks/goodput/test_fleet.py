"""Which process takes a call, while processes start and leave."""

import asyncio
from collections import Counter

from benchmarks.goodput.fleet import Fleet, spread
from benchmarks.goodput.records import Job
from benchmarks.goodput.sdk_clients import Client
from benchmarks.goodput.workload import RequestShape
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.caller import Caller

JOB = Job(0, Caller("team"), 0.0, 60.0, RequestShape(model="m", input_tokens=1, output_tokens=1), 1)


class SlowClient:
    """Answers after a second."""

    def __init__(self, number: int, log: list[str]) -> None:
        self._number, self._log = number, log

    async def call(self, job: Job) -> bool:
        await asyncio.sleep(1)
        self._log.append(f"{self._number} answers")
        return job is JOB

    async def aclose(self) -> None:
        self._log.append(f"{self._number} stops")


def test_turns_are_spread_by_weight() -> None:
    turns = spread((52, 8, 3, 1))
    assert Counter(turns) == {0: 52, 1: 8, 2: 3, 3: 1}
    assert spread((2, 1, 1)) == (0, 1, 2, 0)


def test_the_oldest_process_leaves_after_its_last_call_and_takes_no_other() -> None:
    log: list[str] = []

    def start(number: int) -> Client:
        log.append(f"{number} starts")
        return SlowClient(number, log)

    async def main() -> list[bool]:
        fleet = Fleet(start, 2)
        first = [asyncio.create_task(fleet.call(JOB, number, (1, 1))) for number in range(2)]
        await asyncio.sleep(0.5)
        fleet.resize(1)
        fleet.resize(2)
        later = [asyncio.create_task(fleet.call(JOB, number)) for number in range(2)]
        answers = await asyncio.gather(*first, *later)
        await fleet.aclose()
        return answers

    assert run_virtual(main(), VirtualClock()) == [True] * 4
    assert log[:6] == ["0 starts", "1 starts", "2 starts", "0 answers", "1 answers", "0 stops"]
    assert sorted(log[6:8]) == ["1 answers", "2 answers"]
    assert sorted(log[8:]) == ["1 stops", "2 stops"]
