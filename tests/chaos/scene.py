"""Replicas of the service before a simulator, with clients at each of them."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import httpx2

from chaos.load import Clients, calling
from chaos.network import Link, linked
from chaos.servers import Server
from support.service_process import ServiceProcess, running

__all__ = ["BURST_SECONDS", "PER_MINUTE", "Outcome", "Replica", "Scene", "play", "scene"]

PER_MINUTE = 600
BURST_SECONDS = 2.0
"""The simulator's bucket. That of the service is half as large: what arrives up to a second early is not refused."""
_SCENARIO = f"""
[limits]
requests_per_minute = {PER_MINUTE}
input_tokens_per_minute = 100_000_000
output_tokens_per_minute = 100_000_000
enforcement_seconds = {BURST_SECONDS}
[latency]
first_token_seconds = 0.01
tokens_per_second = 20
"""
_WARM_UP_SECONDS = 4.0
_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass
class Replica:
    """One process of the service, and its way to the store, if it has one of its own."""

    name: str
    service: ServiceProcess
    clients: Clients
    link: Link | None = None

    def send(self, number: signal.Signals) -> None:
        self.service.process.send_signal(number)


@dataclass
class Scene:
    """What a case may act on.

    Attributes:
        store: the server that has the data of the replicas.
        hurt: the names of replicas whose own calls may be lost.
    """

    simulator: ServiceProcess
    store: Server
    replicas: list[Replica] = field(default_factory=list)
    hurt: set[str] = field(default_factory=set)

    async def leader(self) -> Replica:
        """The replica that leads."""
        return await self._one(is_leader=True)

    async def follower(self) -> Replica:
        """A replica that does not lead."""
        return await self._one(is_leader=False)

    async def _one(self, *, is_leader: bool) -> Replica:
        async with httpx2.AsyncClient(timeout=20) as client:
            for _ in range(50):
                for replica in self.replicas:
                    answer = await client.get(f"{replica.service.url}/api/system/rate-limiting/status")
                    if answer.json()["shared_store"]["is_leader"] == is_leader:
                        return replica
                await asyncio.sleep(0.1)
        raise AssertionError("nobody leads")

    async def judged(self) -> tuple[int, int]:
        """The requests that the upstream admitted, and its 429s."""
        async with httpx2.AsyncClient(timeout=20) as client:
            state = (await client.get(f"{self.simulator.url}/simulator/state")).json()
        pools = state["pools"].values()
        return sum(pool["requests"] for pool in pools), sum(pool["rate_limited"] for pool in pools)


Act = Callable[[Scene], Awaitable[None]]
"""Lets something fail, and everything work again."""


@dataclass
class Outcome:
    """What became of the calls.

    Attributes:
        requests: that the upstream admitted, from the failure to the end.
        rate_limited: 429s of the upstream, in all.
        seconds: from the failure to the end.
        lost: calls without a whole answer at replicas that were not hurt, by reason.
        lost_there: the same at replicas that were hurt.
        recovery_seconds: the longest time without an answer at a replica that was not hurt.
        answers: whole answers by replica, from the failure to the end.
        slowest_seconds: the longest wait for an answer at a replica that was not hurt.
    """

    requests: int
    rate_limited: int
    seconds: float
    lost: dict[str, int]
    lost_there: dict[str, int]
    recovery_seconds: float
    answers: dict[str, int]
    slowest_seconds: float

    @property
    def most(self) -> float:
        """As many requests as the limit allows in that time."""
        return PER_MINUTE / 60 * (self.seconds + BURST_SECONDS)

    def __str__(self) -> str:
        return (
            f"{self.requests} requests at the upstream in {self.seconds:.1f} s (at most {self.most:.0f}), "
            f"{self.rate_limited} 429s; lost {self.lost or 0}, at the hurt replica {self.lost_there or 0}; "
            f"longest time without an answer {self.recovery_seconds:.2f} s, "
            f"slowest answer {self.slowest_seconds:.2f} s; answers by replica {self.answers}"
        )


@asynccontextmanager
async def scene(
    directory: Path,
    url: str,
    store: Server,
    count: int,
    *,
    has_links: bool = False,
    callers: int = 4,
    variables: Callable[[int], Mapping[str, str]] = lambda _number: _NONE,
    program: Callable[[int], tuple[str, ...]] = lambda _number: ("-m", "tidegate"),
) -> AsyncIterator[Scene]:
    """Runs replicas that share the store of a URL. `{port}` in it is the replica's own way to it, with `has_links`."""
    async with AsyncExitStack() as stack:
        simulated = _folder(directory, "simulator")
        (simulated / "scenario.toml").write_text(_SCENARIO)
        simulator = stack.enter_context(running(simulated, "simulator", "--scenario", "scenario.toml"))
        on = Scene(simulator, store)
        for number in range(count):
            link = await stack.enter_async_context(linked(store.port)) if has_links else None
            port = store.port if link is None else link.port
            service = running(
                _folder(directory, f"replica{number}"),
                "serve",
                program=program(number),
                **{
                    "ANTHROPIC_API_KEY": "any",
                    "TIDEGATE_UPSTREAM_URL": simulator.url,
                    "TIDEGATE_STORE_URL": url.format(port=port),
                    "TIDEGATE_POOL_REQUESTS_PER_MINUTE": str(PER_MINUTE),
                    "TIDEGATE_POOL_BURST_SECONDS": str(BURST_SECONDS / 2),
                    "TIDEGATE_LOG_LEVEL": "info",
                    "TIDEGATE_DRAIN_SECONDS": "30",
                    **variables(number),
                },
            )
            process = await asyncio.to_thread(service.__enter__)
            stack.push(service.__exit__)
            on.replicas.append(Replica(f"r{number}", process, Clients(process.url, callers), link))
        yield on


async def play(on: Scene, act: Act, after_seconds: float) -> Outcome:
    """Lets clients call meanwhile. Returns what became of their calls, some time after everything works again."""
    async with calling(*(each.clients for each in on.replicas)):
        await asyncio.sleep(_WARM_UP_SECONDS)
        before, _ = await on.judged()
        began = time.monotonic()
        await act(on)
        await asyncio.sleep(after_seconds)
        ended = time.monotonic()
        after, _ = await on.judged()
    _, rate_limited = await on.judged()
    fine = [each.clients for each in on.replicas if each.name not in on.hurt]
    return Outcome(
        requests=after - before,
        rate_limited=rate_limited,
        seconds=ended - began,
        lost=_counts(fine),
        lost_there=_counts([each.clients for each in on.replicas if each.name in on.hurt]),
        recovery_seconds=max(each.longest_gap(began, ended) for each in fine),
        answers={each.name: each.clients.answers(began, ended) for each in on.replicas},
        slowest_seconds=max(max(each.waits) for each in fine),
    )


def _counts(clients: list[Clients]) -> dict[str, int]:
    lost: dict[str, int] = {}
    for each in clients:
        for reason, count in each.lost.items():
            lost[reason] = lost.get(reason, 0) + count
    return lost


def _folder(directory: Path, name: str) -> Path:
    made = directory / name
    made.mkdir()
    return made
