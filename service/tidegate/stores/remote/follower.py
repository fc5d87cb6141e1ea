"""The store of a process that sends its steps to a leader."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from msgspec import Struct, structs

from tidegate.core.domain.budget import BudgetWindow, Spender, Spending
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import GRANTED, Demand, Granted, Outcome, Refused, Wait
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.feedback import Feedback
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.domain.snapshots import PoolSnapshot, QueueSnapshot, WaitLeft
from tidegate.core.ports.store import Change
from tidegate.stores.remote.held_work import HeldWork
from tidegate.stores.remote.messages import Ask, Channel, Message, Report, Results, Told
from tidegate.stores.remote.reported_pools import ReportedPools
from tidegate.stores.remote.step_sender import StepSender
from tidegate.stores.steps import (
    Answer,
    Charge,
    Configure,
    End,
    Learn,
    Leave,
    Rejoin,
    Release,
    Reserve,
    SetBudgets,
    Spend,
    Step,
    TurnBudgets,
    Withdraw,
    lasting_part,
)

__all__ = ["Follower", "Handed"]

_RESEND_SECONDS: Final = 1.0
"""A leader answers within milliseconds. Steps that are sent again do no harm."""
_REPLY_SECONDS: Final = 1.0
"""For the reply to a question, which a channel may lose."""
_LOST: Final = Refused(Cause.STORE_UNAVAILABLE)

Result = Granted | Wait | Refused


class Handed(Struct, frozen=True):
    """The state with which a follower continues the store that it replaces.

    Attributes:
        waiting: the pool of each waiting request, by its lease id.
        leases: the ids of the open leases.
        pools: the last snapshots.
        queues: the last queues.
        last_step: the number of the last step that this replica has sent before.
    """

    waiting: Mapping[str, str] = {}
    leases: frozenset[str] = frozenset()
    pools: tuple[PoolSnapshot, ...] = ()
    queues: tuple[QueueSnapshot, ...] = ()
    last_step: int = 0


class Follower(ReportedPools):
    """A `Store` that sends its steps to a leader, and passes on the leader's grants, refusals and changes.

    It decides nothing: `try_admit` always returns False, `advance` does nothing, and the settings of pools and callers
    are the leader's. Snapshots are those of the leader's last report, about a second old. `charge`, `end`, `release`
    and `learn` do not wait for the leader. The order of all steps is kept.

    Once the leader is lost, each request that waits, or comes, is refused as `STORE_UNAVAILABLE`. Leases end without
    effect: the leader ends them.

    All methods belong to the event loop that it was made in.

    Args:
        replica: name of this process; all its lease ids begin with it.
        channel: to the leader.
        settings_of: returns the settings of a pool.
        handed: what it continues with.
        resend_seconds: after which time without an answer steps are sent again.

    Attributes:
        replica: as above.
        is_lost: whether the leader is lost.
        refuses: whether all requests are refused.
    """

    def __init__(
        self,
        replica: str,
        channel: Channel,
        settings_of: Callable[[str], PoolSettings],
        handed: Handed | None = None,
        *,
        resend_seconds: float = _RESEND_SECONDS,
    ) -> None:
        handed = handed or Handed()
        super().__init__(settings_of, handed.pools, handed.queues)
        self.replica = replica
        self.is_lost = self.refuses = False
        self._channel = channel
        self._work = HeldWork(handed.waiting, handed.leases)
        self._sender = StepSender(replica, channel, resend_seconds, handed.last_step)
        self._withdrawals: dict[int, tuple[Withdraw, asyncio.Future[Refused | None]]] = {}  # by number
        self._admissions: dict[str, asyncio.Future[Result]] = {}  # by lease id
        self._numbers: dict[int, str] = {}  # of reservations that await an answer: their lease ids
        self._replies: dict[str, asyncio.Future[WaitLeft | None]] = {}  # by lease id
        self._serial = 0

    @property
    def last_step(self) -> int:
        """The number of the last step."""
        return self._sender.last

    @property
    def folded(self) -> int:
        """All steps up to this number are folded, as far as it is known."""
        return self._sender.folded

    def send(self, step: Step) -> int:
        """Sends a step that has no answer. Returns its number."""
        return self._sender.send(step)

    # What the channel brings.

    def receive(self, message: Message) -> None:
        """Takes in a message of the leader."""
        if self.is_lost:
            return
        if isinstance(message, Results):
            self._sender.settle(message.number, [answer.number for answer in message.answers])
            for answer in message.answers:
                self._take_answer(answer)
            for change in message.changes:
                self._apply(change)
            self._notice_gap(message.serial - 1)
            self._serial = max(self._serial, message.serial)
        elif isinstance(message, Report):
            self._take_report(message)
        elif isinstance(message, Told) and (reply := self._replies.pop(message.lease_id, None)) is not None:
            reply.set_result(message.left)

    def lost(self) -> None:
        """Refuses all requests that wait, because no message arrives any more."""
        if self.is_lost:
            return
        self.is_lost = True
        self._sender.close()
        for admission in self._admissions.values():
            _set(admission, _LOST)
        for _, answer in self._withdrawals.values():
            _set(answer, _LOST)
        for reply in self._replies.values():
            _set(reply, None)
        for pool, lease_ids in self._work.leave_all().items():
            self.notify(Change(pool, refused=tuple((lease_id, _LOST) for lease_id in lease_ids)))

    def follow(self, channel: Channel, before: Rejoin) -> None:
        """Continues with another leader, and admits again after `refuse`.

        Args:
            channel: to that leader.
            before: what that leader may have to know beside the waits and leases of this process.
        """
        self.refuses = False
        self._channel = channel
        self._serial = before.serial
        missing, used = lasting_part(self._sender.restart(self._sender.folded, channel))
        known = set(map(id, before.steps))  # the same objects: equal steps may be two
        steps = tuple(step for step in missing if id(step) not in known)
        alone = before.alone if used is None else _most(used, before.alone or {})
        self._state(structs.replace(before, steps=(*before.steps, *steps), alone=alone))

    def refuse(self) -> None:
        """Refuses all requests that wait, or come, until `follow`."""
        self.refuses = True
        for pool, lease_ids in self._work.leave_all().items():
            for lease_id in lease_ids:
                self._settle_admission(lease_id, _LOST)
                self._sender.send(Release(pool, lease_id))
            self.notify(Change(pool, refused=tuple((lease_id, _LOST) for lease_id in lease_ids)))

    def position(self) -> Rejoin:
        """The position of this process in the exchange with its leader: a `Rejoin` without waits and leases."""
        return Rejoin(incarnation=self.incarnation, folded=self._sender.folded, serial=self._serial)

    def rejoin(self) -> None:
        """The leader lacks steps that it has had: tells it all that this process has."""
        position = self.position()
        steps, alone = lasting_part(self._sender.restart(position.folded))
        self._state(structs.replace(position, steps=steps, alone=alone))

    def _state(self, rejoin: Rejoin) -> None:
        waiting = [(number, _patient(step)) for number, step in self._work.reserved()]
        self._sender.send(structs.replace(rejoin, waiting=tuple(waiting), leases=tuple(self._work.held())))
        self._numbers = {number: step.lease_id for number, step in waiting}
        withdrawals, self._withdrawals = self._withdrawals, {}
        for step, answer in withdrawals.values():
            self._withdrawals[self._sender.send(step, awaits_answer=True)] = step, answer

    def flush(self) -> None:
        """Sends all steps now, and not at the end of this turn of the event loop."""
        self._sender.flush()

    def leave(self, replica: str) -> None:
        """Ends the waits and leases of a replica that has gone, or of this one."""
        self._sender.send(Leave(replica))

    def _take_answer(self, given: Answer) -> None:
        result = given.result
        lease_id = self._numbers.pop(given.number, None)
        if lease_id is not None and isinstance(result, Granted | Wait | Refused):
            self._reserved(lease_id, result)
        withdrawal = self._withdrawals.pop(given.number, None)
        if withdrawal is not None and (result is None or isinstance(result, Refused)):
            _set(withdrawal[1], result)

    def _reserved(self, lease_id: str, result: Result) -> None:
        """Takes in the answer to a reservation: the first one, or one that was asked for again."""
        admission, pool = self._admissions.pop(lease_id, None), None
        if not isinstance(result, Wait):
            pool = self._work.leave_queue(lease_id, is_granted=isinstance(result, Granted))
        if admission is not None:
            _set(admission, result)
        elif pool is not None:
            refused = ((lease_id, result),) if isinstance(result, Refused) else ()
            self.notify(Change(pool, () if refused else (lease_id,), refused=refused))

    def _apply(self, change: Change) -> None:
        """Passes on what a change says of requests that wait here, and its events."""
        leave = self._work.leave_queue
        granted = tuple(each for each in change.granted if leave(each, is_granted=True))
        refused = tuple(each for each in change.refused if leave(each[0], is_granted=False))
        if granted or refused or change.events:
            self.notify(Change(change.pool, granted, change.events, refused=refused))
        for lease_id in granted:
            self._settle_admission(lease_id, GRANTED)
        for lease_id, refusal in refused:
            self._settle_admission(lease_id, refusal)

    def _take_report(self, report: Report) -> None:
        if not self.take(report):
            return
        if report.log is not None and report.number < self._sender.folded:
            self.rejoin()
        self._notice_gap(report.serial)

    def _settle_admission(self, lease_id: str, result: Result) -> None:
        """A change has come before the answer, which was lost."""
        if (admission := self._admissions.pop(lease_id, None)) is not None:
            _set(admission, result)

    def _notice_gap(self, serial: int) -> None:
        """Asks again for all requests that wait, if results up to this serial are missing: grants may be among them."""
        if serial <= self._serial:
            return
        self._serial = serial
        again = self._work.reserved()
        self._numbers.update((number, step.lease_id) for number, step in again)
        self._sender.repeat(again)

    # The steps.

    async def reserve(self, lease_id: str, demand: Demand) -> Result:
        """As `Store.reserve`."""
        if self.is_lost or self.refuses:
            return _LOST
        step = Reserve(lease_id, structs.replace(demand, price=None))
        number = self._sender.send(step, awaits_answer=True)
        self._work.ask(number, step, demand.price)
        self._numbers[number] = lease_id
        admission: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._admissions[lease_id] = admission
        return await admission

    async def withdraw(self, pool: str, lease_id: str) -> Refused | None:
        """As `Store.withdraw`."""
        if self.is_lost:
            return _LOST
        step = Withdraw(pool, lease_id)
        answer: asyncio.Future[Refused | None] = asyncio.get_running_loop().create_future()
        self._withdrawals[self._sender.send(step, awaits_answer=True)] = step, answer
        refused = await answer
        self._work.leave_queue(lease_id, is_granted=refused is None)
        return refused

    async def charge(self, pool: str, lease_id: str, known: Cost, spent: Spending | None = None) -> None:
        """As `Store.charge`, without waiting for the leader."""
        self._sender.send(Charge(pool, lease_id, known, spent))
        self._work.charge(lease_id, known)

    async def end(
        self,
        pool: str,
        lease_id: str,
        outcome: Outcome,
        used: Cost | None = None,
        feedback: tuple[Feedback, ...] = (),
        spent: Spending | None = None,
    ) -> bool:
        """As `Store.end`, without waiting for the leader. False if this process has ended the lease before."""
        self._sender.send(End(pool, lease_id, outcome, used, feedback, spent))
        return self._work.end(lease_id)

    def release(self, pool: str, lease_id: str) -> None:
        """As `Store.release`."""
        self._work.leave_queue(lease_id, is_granted=False)
        self._work.end(lease_id)
        self._admissions.pop(lease_id, None)
        self._sender.send(Release(pool, lease_id))

    async def learn(self, pool: str, feedback: Feedback) -> None:
        """As `Store.learn`, without waiting for the leader."""
        self.learn_now(pool, feedback)

    def learn_now(self, pool: str, feedback: Feedback) -> None:
        """As `learn`. `snapshot_now` counts it at once."""
        self.note_learned(self._sender.send(Learn(pool, feedback)), pool, feedback)

    def reprice(self, now_ns: int) -> None:
        """Sends the new costs of the requests that may go next, if they have changed."""
        for step in self._work.reprice(now_ns):
            self._sender.send(step)

    async def configure(self, pool: str, settings: PoolSettings, by: str | None = None) -> None:
        """As `Store.configure`, without waiting for the leader. `by` is not recorded."""
        self.configure_now(pool, settings, by)

    def configure_now(self, pool: str, settings: PoolSettings, by: str | None = None) -> None:  # noqa: ARG002
        """As `configure`."""
        self._sender.send(Configure(pool, settings))

    def set_budgets(self, windows: tuple[BudgetWindow, ...]) -> None:
        """As `Store.set_budgets`, without waiting for the leader."""
        self._sender.send(SetBudgets(windows))

    def turn_budgets(self, periods: Mapping[str, tuple[int, int | None]]) -> None:
        """As `Store.turn_budgets`, without waiting for the leader."""
        self._sender.send(TurnBudgets(dict(periods)))

    def spend(self, spender: Spender, spending: Spending) -> None:
        """As `Store.spend`, without waiting for the leader."""
        self._sender.send(Spend(spender, spending))

    def try_admit(self, lease_id: str, demand: Demand) -> bool:  # noqa: ARG002 - as `Store.try_admit`
        """False: every admission takes a round trip."""
        return False

    async def wait_left(self, pool: str, lease_id: str) -> WaitLeft | None:
        """As `Store.wait_left`. None also if the leader does not reply within a second."""
        if not self._work.waits(lease_id):
            return None
        reply = self._replies.get(lease_id)
        if reply is None:
            reply = self._replies[lease_id] = asyncio.get_running_loop().create_future()
            self._channel.send(Ask(self.replica, pool, lease_id))
        await asyncio.wait([reply], timeout=_REPLY_SECONDS)
        if not reply.done():
            self._replies.pop(lease_id, None)
            return None
        return reply.result()


def _most(used: Mapping[str, Cost], later: Mapping[str, Cost]) -> dict[str, Cost]:
    """The use without a leader in two times.

    The later figures include the earlier ones, unless that time was too short.
    """
    pairs = {name: (used.get(name, Cost()), later.get(name, Cost())) for name in {**used, **later}}
    return {name: Cost(*map(max, *pair)) for name, pair in pairs.items()}


def _patient(step: Reserve) -> Reserve:
    """The step of a request that waits already, so that it is not refused because of its wait."""
    return Reserve(step.lease_id, structs.replace(step.demand, patience_ns=None))


T = TypeVar("T")


def _set(future: "asyncio.Future[T]", result: T) -> None:
    if not future.done():  # whoever waited may have been cancelled
        future.set_result(result)
