"""The steps of replicas as bytes, and which part of a change concerns a replica."""

import asyncio

import msgspec
import pytest

from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.budget import Spender, Spending
from tidegate.core.domain.caller import Caller, CallerLimits, Priority
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import GRANTED, Demand, Outcome, Refused, Wait
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.events import Anomaly, Frozen, LeaseEnded
from tidegate.core.domain.feedback import Failed, RateLimited, SpendCapped, Succeeded
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings
from tidegate.core.ports.store import Change
from tidegate.stores.remote.follower import Follower
from tidegate.stores.remote.messages import Message, Steps
from tidegate.stores.steps import (
    Advance,
    Answer,
    Batch,
    Charge,
    Configure,
    End,
    Folded,
    Learn,
    Leave,
    LimitCallers,
    Rejoin,
    Release,
    Reload,
    Reprice,
    Reserve,
    Withdraw,
    lasting_part,
    part_of,
    replica_of,
)

CALLER = Caller("night", "night", 2.0, Priority.BATCH, CallerLimits(requests_per_minute=3.0, max_concurrent=4))
SETTINGS = PoolSettings({Dimension.REQUESTS: LimitSettings(60.0, 5.0)}, AdaptiveSettings())
FEEDBACK = (
    Succeeded(3, "a-1"),
    RateLimited(5, 6, acceleration=True),
    Failed(7),
    SpendCapped(),
    LimitReport(DimensionReport(50, 49, 1_000), sent_ago_ns=4, lease_id="a-1"),
)


def test_every_step_survives_encoding() -> None:
    batch = Batch(
        "a",
        7,
        (
            Reserve("a-1", Demand("p", CALLER, Cost(1, 20, 30), patience_ns=9, session="s", agent="t")),
            Withdraw("p", "a-1"),
            Charge("p", "a-1", Cost(1, 2, 3)),
            End("p", "a-1", Outcome.SETTLED, Cost(1, 2, 3), FEEDBACK),
            End("p", "a-1", Outcome.RELEASED),
            End("p", "a-1", Outcome.SETTLED, spent=Spending(5, 6), spender=Spender("ann", "search", "s")),
            Release("p", "a-1"),
            *(Learn("p", feedback) for feedback in FEEDBACK),
            Advance("p"),
            Reprice("p", "a-1", Cost(1, 5, 5)),
            Configure("p", SETTINGS),
            Reload({"p": SETTINGS}, PoolSettings(allow_debt=False)),
            LimitCallers({"night": CALLER.limits, "day": None}),
            Leave("b"),
        ),
    )
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(batch), type=Batch) == batch


def test_results_survive_encoding() -> None:
    folded = Folded(
        11,
        (
            Answer(7, GRANTED),
            Answer(8, Wait(5, "frozen")),
            Answer(9, Refused(Cause.QUEUE_FULL, 4, full="3 requests")),
            Answer(10, None),
            Answer(11, result=False),
        ),
        (Change("p", ("a-1",), (Frozen("p", 5), Anomaly("p", "lease"), LeaseEnded("p", CALLER, "x", Cost(), Cost()))),),
    )
    assert repr(msgspec.msgpack.decode(msgspec.msgpack.encode(folded), type=Folded)) == repr(folded)


@pytest.mark.parametrize(("lease_id", "replica"), [("xy-z-12", "xy-z"), ("a-0", "a"), ("plain", "")])
def test_a_lease_id_begins_with_its_replica(lease_id: str, replica: str) -> None:
    assert replica_of(lease_id) == replica


def test_a_replica_gets_its_part_of_a_change() -> None:
    refused = Refused(Cause.SPEND_CAP)
    change = Change("p", ("a-1", "b-1", "a-2"), (Frozen("p", 5),), None, (("b-2", refused),))
    assert part_of(change, "a") == Change("p", ("a-1", "a-2"))
    assert part_of(change, "b") == Change("p", ("b-1",), refused=(("b-2", refused),))
    assert part_of(change, "c") is None
    assert part_of(Change("p", next_in_ns=3), "c") == Change("p", next_in_ns=3)


def test_lasting_steps_and_the_use_alone_remain_of_steps_that_were_not_folded() -> None:
    released, learned, left = Release("p", "a-1"), Learn("p", Failed(1)), Leave("b")
    assert lasting_part([Advance("p"), released, Withdraw("p", "a-2"), learned]) == ((released, learned), None)
    earlier = Rejoin(steps=(released, learned), alone={"p": Cost(3)})
    assert lasting_part([earlier, left]) == ((released, learned, left), {"p": Cost(3)})
    assert lasting_part([earlier, Rejoin(steps=(left,))]) == ((released, learned, left), {"p": Cost(3)})


def test_what_a_time_alone_has_used_is_passed_on_until_the_log_has_it() -> None:
    clock = VirtualClock()

    async def main() -> tuple[dict[str, Cost] | None, ...]:
        sent: list[Message] = []
        follower = Follower("r", _Channel(sent), lambda _pool: PoolSettings())
        follower.follow(_Channel(sent), Rejoin(alone={"p": Cost(3, 9)}))
        follower.follow(_Channel(sent), Rejoin(alone={"p": Cost(5, 4), "q": Cost(1)}))
        follower.rejoin()
        await asyncio.sleep(0)
        rejoins = [each.batch.steps[0] for each in sent if isinstance(each, Steps)]
        follower.lost()
        return tuple(each.alone for each in rejoins if isinstance(each, Rejoin))

    assert run_virtual(main(), clock) == ({"p": Cost(5, 9), "q": Cost(1)},)


class _Channel:
    def __init__(self, sent: list[Message]) -> None:
        self._sent = sent

    def send(self, message: Message) -> None:
        self._sent.append(message)

    def close(self) -> None: ...
