"""Whatever the upstream does, a pool admits again, counts what is unanswered, and keeps to its budget for retries."""

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import structs

from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import Demand, Granted, Outcome, Refused
from tidegate.core.domain.dimension import ONE_REQUEST
from tidegate.core.domain.feedback import Failed, RateLimited, SpendCapped
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.pool.pool import Pool

ONE = Demand("p", DEFAULT_CALLER, ONE_REQUEST)
PLENTY = LimitReport(DimensionReport(10**9, 10**9))
WINDOW = 300 * S


class HealthMachine(RuleBasedStateMachine):
    """A pool with plenty of quota: only failures limit it."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 10**12
        self.pool = Pool("p", PoolSettings(), self.now_ns)
        self.sent: dict[str, int] = {}
        self.answered: set[str] = set()
        self.waiting: set[str] = set()
        self.retries: set[str] = set()
        self.successes: list[int] = []
        self.retried: list[int] = []
        self.probes = 0
        self.numbers = 0

    @initialize()
    def begin(self) -> None:
        self.pool.learn(PLENTY, self.now_ns)
        self.successes.append(self.now_ns)

    def granted(self, lease_id: str) -> None:
        self.waiting.discard(lease_id)
        self.sent[lease_id] = self.now_ns
        if lease_id in self.retries:
            self.retried.append(self.now_ns)

    def step(self) -> None:
        change = self.pool.take_changes()
        for lease_id, _ in change.refused if change else ():
            self.waiting.remove(lease_id)
        for lease_id in self.pool.advance(self.now_ns):
            self.granted(lease_id)

    @rule(retry=st.booleans())
    def reserve(self, retry: bool) -> None:  # noqa: FBT001 - drawn
        self.numbers += 1
        lease_id = f"{self.numbers}"
        if retry:
            self.retries.add(lease_id)
        result = self.pool.reserve(lease_id, structs.replace(ONE, retry=retry), self.now_ns)
        if isinstance(result, Granted):
            self.granted(lease_id)
        elif not isinstance(result, Refused):
            self.waiting.add(lease_id)
        self.step()

    @precondition(lambda self: self.sent.keys() - self.answered)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        lease_id = data.draw(st.sampled_from(sorted(self.sent.keys() - self.answered)))
        self.answered.add(lease_id)
        self.successes.append(self.now_ns)
        report = structs.replace(PLENTY, lease_id=lease_id, sent_ago_ns=self.now_ns - self.sent[lease_id])
        self.pool.learn(report, self.now_ns)
        self.step()

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def end(self, data: st.DataObject, outcome: Outcome) -> None:
        lease_id = data.draw(st.sampled_from(sorted(self.sent)))
        assert self.pool.end(lease_id, outcome, None, self.now_ns)
        assert not self.pool.end(lease_id, outcome, None, self.now_ns), "once"
        self.forget(lease_id)

    @precondition(lambda self: self.sent.keys() - self.answered)
    @rule(data=st.data(), how=st.sampled_from(["failed", "throttled", "capped", "capped for an hour"]))
    def fail(self, data: st.DataObject, how: str) -> None:
        lease_id = data.draw(st.sampled_from(sorted(self.sent.keys() - self.answered)))
        sent_ago_ns = self.now_ns - self.sent[lease_id]
        if how == "failed":
            self.pool.learn(Failed(sent_ago_ns), self.now_ns)
        elif how == "throttled":
            self.pool.learn(RateLimited(S, sent_ago_ns), self.now_ns)
        else:
            self.pool.learn(SpendCapped(None if how == "capped" else 3_600 * S), self.now_ns)
        self.pool.end(lease_id, Outcome.OVERLOADED, None, self.now_ns)
        self.forget(lease_id)

    def forget(self, lease_id: str) -> None:
        del self.sent[lease_id]
        self.answered.discard(lease_id)
        self.step()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        lease_id = data.draw(st.sampled_from(sorted(self.waiting)))
        assert self.pool.withdraw(lease_id, self.now_ns) is not None
        self.waiting.remove(lease_id)
        self.step()

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0, 60.0, 400.0]))
    def pass_time(self, seconds: float) -> None:
        self.now_ns += round(seconds * S)
        self.step()

    @invariant()
    def what_is_unanswered_is_counted(self) -> None:
        snapshot = self.pool.snapshot(self.now_ns)
        assert snapshot.unanswered == len(self.sent.keys() - self.answered)
        assert snapshot.waiting == len(self.waiting)

    @invariant()
    def retries_keep_to_their_budget(self) -> None:
        """A tenth of the successes and ten, in each window; besides, probes: in outages, and one every five seconds."""
        snapshot = self.pool.snapshot(self.now_ns)
        if snapshot.open_circuits:
            self.probes = len(self.retried)  # outages have probes of their own
        since_ns = self.now_ns - WINDOW
        successes = sum(at > since_ns for at in self.successes)
        retried = sum(at > since_ns for at in self.retried[self.probes :])
        assert retried <= 0.1 * successes + 10 + WINDOW / (5 * S) + 1

    @invariant()
    def whoever_waits_will_be_looked_at_again(self) -> None:
        next_in_ns = self.pool.next_in_ns(self.now_ns)
        assert (next_in_ns is None) == (not self.waiting)

    def teardown(self) -> None:
        """Everything that is under way ends; then whatever was wrong is over for the next requests within an hour."""
        for lease_id in list(self.sent):
            self.pool.end(lease_id, Outcome.ABANDONED, None, self.now_ns)
        self.sent.clear()
        self.answered.clear()
        for _ in range(400):
            self.now_ns += 10 * S
            self.step()
            for lease_id in list(self.sent):
                self.pool.learn(structs.replace(PLENTY, lease_id=lease_id), self.now_ns)
                self.pool.end(lease_id, Outcome.SETTLED, None, self.now_ns)
                del self.sent[lease_id]
            if not self.waiting:
                break
        assert not self.waiting
        self.now_ns += 3_700 * S
        assert isinstance(self.pool.reserve("last", ONE, self.now_ns), Granted)
        self.pool.learn(structs.replace(PLENTY, lease_id="last"), self.now_ns)
        assert self.pool.snapshot(self.now_ns).open_circuits == {}


TestHealth = HealthMachine.TestCase
