"""Recordings that are made by hand: each step at a time in seconds."""

import itertools
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from tidegate.core.domain.caller import Caller, CallerLimits
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.feedback import Feedback, Succeeded
from tidegate.core.domain.nanoseconds import to_ns
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.stores.pools import Pools
from tidegate.stores.recording.original import Original, Stretch, fold_original
from tidegate.stores.recording.recording_file import Begin, Recorded, RecordingWriter
from tidegate.stores.recording.recording_file import Steps as RecordedSteps
from tidegate.stores.remote.messages import Steps
from tidegate.stores.steps import Batch, End, Reserve, Step
from tidegate.stores.valkey.log_fold import Appended, LogFold, decode_state_of_log
from tidegate.stores.valkey.shared_log import EntryId

__all__ = ["HandMade", "limited"]

_BEGAN_MS = 1_795_000_000_000
_TICK_MS = 100


def limited(per_minute: float, capacity: float = 1) -> PoolSettings:
    return PoolSettings({Dimension.REQUESTS: LimitSettings(per_minute, capacity)})


class HandMade:
    """A log of one replica, under a leader that ticks ten times per second."""

    def __init__(
        self, configured: Mapping[str, PoolSettings], callers: Mapping[str, CallerLimits] | None = None
    ) -> None:
        pools = Pools(configured)
        pools.limit_callers(callers or {}, 0)
        pools.learn("p", Succeeded(0), 0)  # so that it does not begin with probes
        self._state = decode_state_of_log(LogFold(pools, "log").dump())
        self._steps: defaultdict[int, list[Step]] = defaultdict(list)
        self._numbers = itertools.count()

    def step(self, at_s: float, step: Step) -> None:
        self._steps[round(at_s * 1_000)].append(step)

    def ask(
        self,
        at_s: float,
        caller: str = "web",
        *,
        patience_s: float | None = None,
        front: bool = False,
        retry: bool = False,
        session: str = "",
    ) -> str:
        """Somebody asks for one request of pool `p`. Returns the lease id."""
        lease_id = f"r-{next(self._numbers)}"
        patience_ns = None if patience_s is None else to_ns(patience_s)
        demand = Demand("p", Caller(caller), Cost(1), patience_ns, front=front, retry=retry, session=session)
        self.step(at_s, Reserve(lease_id, demand))
        return lease_id

    def end(
        self,
        at_s: float,
        lease_id: str,
        outcome: Outcome = Outcome.SETTLED,
        feedback: tuple[Feedback, ...] = (Succeeded(0),),
    ) -> None:
        self.step(at_s, End("p", lease_id, outcome, Cost(1, 10, 5), feedback))

    def folded(self, until_s: float) -> Original:
        """What it leads to."""
        return fold_original(self.stretch(until_s))

    def write(self, file: Path, until_s: float) -> None:
        """Writes a recording of it."""
        stretch = self.stretch(until_s)
        with file.open("wb") as opened:
            writer = RecordingWriter(opened)
            writer.write(Begin(stretch.state))
            writer.write(RecordedSteps(tuple(stretch.entries)))

    def stretch(self, until_s: float) -> Stretch:
        """All entries until then."""
        entries, number = list[Recorded](), 1
        for ms in range(round(until_s * 1_000) + 1):
            if ms % _TICK_MS == 0:
                tick = Appended("leader:1", tick=True, report=ms % 1_000 == 0)
                entries.append(_recorded(ms, 0, tick))
            if steps := self._steps.get(ms):
                batch = Batch("r", number, tuple(steps))
                number += len(steps)
                entries.append(_recorded(ms, 1, Appended("r", (Steps(batch),))))
            elif ms % 1_000 == 0:
                entries.append(_recorded(ms, 1, Appended("r")))
        return Stretch(self._state, entries)


def _recorded(ms: int, number: int, appended: Appended) -> Recorded:
    name = EntryId(_BEGAN_MS + ms, number)
    return Recorded(name.unix_ms, name.number, appended)
