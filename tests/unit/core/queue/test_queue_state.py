"""A queue continues from the dump of its waiters, each in its place, under a clock that starts elsewhere."""

from msgspec import structs

from support.dumps import round_trip
from support.queues import ANN, BEN, COST, MS, never, order, pop, queue_of, rates, waiter
from tidegate.core.accounts.accounts import Account, Accounts
from tidegate.core.domain.caller import Caller, CallerLimits, Priority
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.core.queue.fair_queue import FairQueue
from tidegate.core.queue.flow import Flow
from tidegate.core.queue.queue_state import dump_queue, restore_queue
from tidegate.core.queue.waiter import Waiter

NOW_NS, LATER_NS = 5_000 * MS, 90_000 * MS
NIGHT = Caller("night", priority=Priority.BATCH)
ZOE = Caller("zoe", limits=CallerLimits(max_concurrent=1))
ACCOUNT = Account(Accounts(), CallerLimits(max_concurrent=1), 0)


def of_session(lease_id: str, session: str, agent: str = "", *, front: bool = False) -> Waiter:
    return Waiter(lease_id, Demand("pool", ANN, COST, session=session, agent=agent, session_front=front))


def account_of(name: str) -> Account:
    assert name == "zoe"
    return ACCOUNT


def continued(queue: FairQueue) -> FairQueue:
    copy = FairQueue.restore(queue.dump(NOW_NS), LATER_NS, rates, never)
    restore_queue(copy, round_trip(dump_queue(queue, NOW_NS)), LATER_NS, account_of)
    return copy


def busy_queue() -> FairQueue:
    """Sessions and agents, weights, callers in debt, one that is held back, and requests that return."""
    queue = FairQueue(rates, never)
    heavy = Caller("heavy", weight=3.0)
    for one in (
        *(of_session(f"main-{number}", "s") for number in range(3)),
        *(of_session(f"{agent}-{number}", "s", agent) for number in range(2) for agent in ("x", "y")),
        of_session("t", "t"),
        *(waiter(f"heavy-{number}", heavy, 70) for number in range(6)),
        *(waiter(f"ben-{number}", BEN, 50) for number in range(2)),
        *(waiter(f"once-{number}", Caller(f"once-{number}"), 900 + number) for number in range(3)),
        *(waiter(f"night-{number}", NIGHT) for number in range(2)),
        Waiter("zoe-0", Demand("pool", ZOE, COST), account=ACCOUNT),
        Waiter("zoe-1", Demand("pool", ZOE, COST), account=ACCOUNT),
        waiter("front", BEN, front=True),
        Waiter("retry", structs.replace(Demand("pool", BEN, Cost(1, 40, 2)), retry=True)),
    ):
        queue.push(one)
    queue.skip(queue.waiting["zoe-0"])
    for _ in range(9):
        pop(queue)
    queue.push(waiter("once again", Caller("once-1")))
    queue.remove("once again")
    queue.push(of_session("t-front", "t", front=True))
    return queue


def remembered(flow: Flow) -> list[tuple[float, str]]:
    """The callers without requests that had more than their share, with their finish tags."""
    return [
        (finish_ns, child._path[0])
        for finish_ns, _, child in flow._idle
        if not child.waiting and child._finish_ns == finish_ns and (flow.children or {}).get(child._path[0]) is child
    ]


def test_the_order_goes_on() -> None:
    queue = busy_queue()
    copy = continued(queue)
    assert dump_queue(copy, LATER_NS) == dump_queue(queue, NOW_NS)
    assert (copy.tokens, copy.load_of(ANN), copy.load_of(ZOE)) == (queue.tokens, queue.load_of(ANN), queue.load_of(ZOE))
    assert [each.head(0) is None for each in (queue, copy)] == [False, False]
    for each in (queue, copy):
        each.readmit(each.waiting["zoe-0"])
        each.push(waiter("once once more", Caller("once-1")))
        each.push(waiter("new", Caller("new")))
        each.remove("retry")
    assert order(copy) == order(queue)


def test_flows_continue_with_the_same_tags_counts_and_memory() -> None:
    queue = busy_queue()
    flows, copied = (each._classes[1].flows for each in (queue, continued(queue)))
    assert (copied.waiting, copied.load, copied.active) == (flows.waiting, flows.load, flows.active)
    assert copied._detached == flows._detached
    assert sorted(remembered(copied)) == sorted(set(remembered(flows))) != []
    assert len(copied._idle) == len(remembered(copied)), "entries without effect are left out"
    assert next(copied._numbers) >= max(len(copied._heap), len(copied._idle))
    for name, flow in flows.callers():
        copy = (copied.children or {})[name]
        assert (copy.parent, copy.depth, copy.weight, copy._own) == (copied, flow.depth, flow.weight, flow._own)
        assert (copy.waiting, copy.load, copy.active) == (flow.waiting, flow.load, flow.active)


def test_a_waiter_keeps_its_ages_predictions_and_account() -> None:
    queue = FairQueue(rates, never)
    original = Waiter("z", Demand("pool", ZOE, COST, price=lambda _now_ns: COST), NOW_NS - 300 * MS, ACCOUNT)
    original.priced_ns = NOW_NS - 100 * MS
    original.formula_ns, original.alone_ns, original.basis = 7 * MS, 5 * MS, 3
    queue.push(original)
    queue.push(Waiter("b", Demand("pool", BEN, COST)))
    queue.skip(original)
    copy = continued(queue)
    restored = copy.waiting["z"]
    assert (restored.since_ns, restored.priced_ns) == (LATER_NS - 300 * MS, LATER_NS - 100 * MS)
    assert (restored.formula_ns, restored.alone_ns, restored.basis) == (7 * MS, 5 * MS, 3)
    assert (restored.account, restored.skipped, copy.skipped) == (ACCOUNT, True, {"z": restored})
    assert (restored.demand.price, restored.number) == (None, original.number)
    assert copy.waiting["b"].account is None
    copy.remove("z")
    copy.push(waiter("zoe", Caller("zoe")))
    assert order(copy) == ["b", "zoe"], "nothing holds its caller back any more"


def test_all_callers_that_are_held_back_stay_so() -> None:
    queue = queue_of([waiter("a"), waiter("b", BEN), waiter("c", Caller("carl"))])
    for lease_id in "ab":
        queue.skip(queue.waiting[lease_id])
    copy = continued(queue)
    assert copy._classes[1].flows._detached == 2
    assert pop(copy) == "c"
    assert copy.head(0) is None


def test_a_held_head_keeps_its_place() -> None:
    queue = FairQueue(rates, never)
    for number in range(2):
        queue.push(waiter(f"{number}", NIGHT))
    head = queue.head(0)
    assert head is not None
    queue.hold(head)
    queue.push(waiter("ann"))
    assert order(continued(queue)) == ["0", "ann", "1"]
    queue.remove("0")
    assert continued(queue)._held is None
