"""What fails, and how it works again."""

import asyncio
import signal
import subprocess
from collections.abc import Mapping
from typing import Final

from chaos.scene import Act, Scene

__all__ = ["CASES", "IN_NAMESPACE", "ON_LINKS", "WITH_SUCCESSOR", "program"]

_SECONDS: Final = 10.0
"""How long a stopped process stays stopped."""
_SHORT_SECONDS: Final = 4.0
_ENDS: Final = ("dport", "sport")


async def leader_killed(on: Scene) -> None:
    """SIGKILL of the leader in the middle of streams."""
    replica = await on.leader()
    on.hurt.add(replica.name)
    replica.send(signal.SIGKILL)


async def follower_killed(on: Scene) -> None:
    """SIGKILL of a follower in the middle of streams."""
    replica = await on.follower()
    on.hurt.add(replica.name)
    replica.send(signal.SIGKILL)


async def leader_stopped(on: Scene) -> None:
    """SIGSTOP of the leader for ten seconds."""
    await _stopped(on, is_leader=True)


async def follower_stopped(on: Scene) -> None:
    """SIGSTOP of a follower for ten seconds."""
    await _stopped(on, is_leader=False)


async def _stopped(on: Scene, *, is_leader: bool) -> None:
    replica = await (on.leader() if is_leader else on.follower())
    on.hurt.add(replica.name)
    replica.send(signal.SIGSTOP)
    await asyncio.sleep(_SECONDS)
    replica.send(signal.SIGCONT)


async def leader_leaves(on: Scene) -> None:
    """SIGTERM of the leader, which ends its calls and leaves."""
    replica = await on.leader()
    on.hurt.add(replica.name)
    replica.send(signal.SIGTERM)


async def store_restarted(on: Scene) -> None:
    """SIGKILL of the store, and a start after two seconds: with its data if it keeps them, and else without."""
    on.store.send(signal.SIGKILL)
    await asyncio.sleep(2)
    await asyncio.to_thread(on.store.start)


async def store_flushed(on: Scene) -> None:
    """FLUSHALL."""
    on.store.client.flushall()
    await asyncio.sleep(0)


async def store_stopped(on: Scene) -> None:
    """SIGSTOP of the store for four seconds."""
    on.store.send(signal.SIGSTOP)
    await asyncio.sleep(_SHORT_SECONDS)
    on.store.send(signal.SIGCONT)


async def store_paused(on: Scene) -> None:
    """CLIENT PAUSE for four seconds."""
    on.store.client.client_pause(round(_SHORT_SECONDS * 1_000), all=True)
    await asyncio.sleep(_SHORT_SECONDS)


async def memory_full(on: Scene) -> None:
    """A `maxmemory` that refuses every write, for four seconds."""
    client = on.store.client
    client.config_set("maxmemory", "1mb")
    await asyncio.sleep(_SHORT_SECONDS)
    client.config_set("maxmemory", "0")


async def leader_cut_off(on: Scene) -> None:
    """A partition of the leader alone from the store, for six seconds."""
    replica = await on.leader()
    on.hurt.add(replica.name)
    assert replica.link is not None
    replica.link.is_cut = True
    await asyncio.sleep(6)
    replica.link.is_cut = False


async def slow_network(on: Scene) -> None:
    """100 ms each way between every replica and the store, for six seconds."""
    await _delayed(on, 0.1)
    await asyncio.sleep(6)
    await _delayed(on, 0)


async def _delayed(on: Scene, seconds: float) -> None:
    for replica in on.replicas:
        assert replica.link is not None
        replica.link.delay_seconds = seconds


async def primary_killed(on: Scene) -> None:
    """SIGKILL of the primary: its replica takes over."""
    on.store.send(signal.SIGKILL)
    await asyncio.sleep(0)


async def lossy_network(on: Scene) -> None:
    """5 % of the packets between the replicas and the store are lost, for ten seconds. In a namespace of its own."""
    rules = (
        "add table inet chaos",
        "add chain inet chaos input { type filter hook input priority 0; }",
        *(f"add rule inet chaos input tcp {end} {on.store.port} numgen random mod 100 < 5 drop" for end in _ENDS),
    )
    for rule in rules:
        await asyncio.to_thread(_filter, rule)
    await asyncio.sleep(_SECONDS)
    await asyncio.to_thread(_filter, "delete table inet chaos")


def _filter(rule: str) -> None:
    subprocess.run(["nft", *rule.split()], check=True)


async def clocks_apart(_on: Scene) -> None:
    """Every second replica's wall clock is an hour ahead, all the while."""
    await asyncio.sleep(_SHORT_SECONDS)


async def nothing(_on: Scene) -> None:
    """Nothing fails."""
    await asyncio.sleep(_SHORT_SECONDS)


CASES: Final[Mapping[str, Act]] = {
    each.__name__.replace("_", "-"): each
    for each in (
        nothing,
        leader_killed,
        follower_killed,
        leader_stopped,
        follower_stopped,
        leader_leaves,
        store_restarted,
        store_flushed,
        store_stopped,
        store_paused,
        memory_full,
        leader_cut_off,
        slow_network,
        primary_killed,
        lossy_network,
        clocks_apart,
    )
}
ON_LINKS: Final = frozenset({"leader-cut-off", "slow-network"})
"""Cases in which each replica has a way of its own to the store."""
WITH_SUCCESSOR: Final = frozenset({"primary-killed"})
"""Cases in which another server takes over, so that one server alone cannot play them."""
IN_NAMESPACE: Final = frozenset({"lossy-network"})
"""Cases that run in a network namespace of their own, for which they need root."""
_AHEAD: Final = """
import time
seconds, nanoseconds = time.time, time.time_ns
time.time = lambda: seconds() + 3_600
time.time_ns = lambda: nanoseconds() + 3_600 * 10**9
from tidegate.cli import main
main()
"""


def program(case: str, number: int) -> tuple[str, ...]:
    """What the interpreter runs as the replica of this number."""
    return ("-c", _AHEAD) if case == "clocks-apart" and number % 2 else ("-m", "tidegate")
