"""Replays under other settings, with numbers worked out by hand."""

import pytest

from support.recordings import HandMade, limited
from tidegate.core.domain.caller import Caller, CallerLimits, Priority
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.feedback import Failed, RateLimited, Succeeded
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import to_ns, to_seconds
from tidegate.stores.pools import Pools
from tidegate.stores.recording.attempts import Attempt, Attempts
from tidegate.stores.recording.changed_settings import ChangedLimits, ChangedSettings
from tidegate.stores.recording.courses import Courses
from tidegate.stores.recording.original import Stretch, fold_original
from tidegate.stores.recording.recording_file import Recorded
from tidegate.stores.recording.replay import replay
from tidegate.stores.recording.upstream_levels import UpstreamLevels, cost_of
from tidegate.stores.remote.messages import Steps
from tidegate.stores.steps import (
    Batch,
    Configure,
    End,
    Held,
    Learn,
    Leave,
    LimitCallers,
    Rejoin,
    Release,
    Reload,
    Reprice,
    Reserve,
)
from tidegate.stores.valkey.log_fold import Appended, LogFold, decode_state_of_log
from tidegate.stores.valkey.shared_log import EntryId

ONE_PER_SECOND = {"p": limited(60)}


def per_minute(requests: float | None, capacity: float | None = 1, **others: object) -> ChangedSettings:
    burst_seconds = capacity * 60 / requests if requests and capacity else None
    limits = ChangedLimits({Dimension.REQUESTS: requests}, burst_seconds)
    return ChangedSettings({"p": limits}, **others)  # type: ignore[arg-type]


def times(attempts: Attempts, *leases: str) -> list[float | None]:
    """When each was admitted, in seconds."""
    found = [attempts.all[lease].granted_ns for lease in leases]
    return [None if each is None else round(to_seconds(each), 2) for each in found]


def lasted(attempt: Attempt) -> float:
    assert attempt.over_ns is not None
    assert attempt.granted_ns is not None
    return to_seconds(attempt.over_ns - attempt.granted_ns)


def test_twice_the_rate_halves_the_waits_and_responses_take_as_long_as_they_did() -> None:
    log = HandMade(ONE_PER_SECOND)
    leases = [log.ask(0) for _ in range(5)]
    for number, lease in enumerate(leases):
        log.end(number + 2 + number / 10, lease)
    original = log.folded(9)
    assert times(original.attempts, *leases) == [0, 1, 2, 3, 4]
    replayed = replay(original, per_minute(120))
    assert times(replayed, *leases) == [0, 0.5, 1, 1.5, 2]
    for number, lease in enumerate(leases):
        assert lasted(replayed.all[lease]) == pytest.approx(lasted(original.attempts.all[lease]))
        assert lasted(replayed.all[lease]) == pytest.approx(2 + number / 10)
    assert replayed.used == original.attempts.used == {("p", "web"): Cost(5, 50, 25)}


def test_the_same_settings_admit_at_the_same_times() -> None:
    log = HandMade(ONE_PER_SECOND)
    leases = [log.ask(number / 4, f"caller {number % 3}", patience_s=6) for number in range(20)]
    for number, lease in enumerate(leases):
        log.end(number + 1.5, lease)
    original = log.folded(20)
    assert times(replay(original, per_minute(60)), *leases) == times(original.attempts, *leases)


def test_calls_that_were_refused_take_the_mean_time_of_their_caller_and_cost_the_estimate() -> None:
    log = HandMade(ONE_PER_SECOND)
    slow, quick, late = log.ask(0, "slow"), log.ask(0, "web"), log.ask(0, "web", patience_s=0.5)
    log.end(3, slow)
    log.end(1.25, quick)
    original = log.folded(9)
    assert original.attempts.all[late].cause is Cause.DEADLINE
    replayed = replay(original, per_minute(6_000))
    assert lasted(replayed.all[late]) == 0.25
    assert replayed.all[late].cause is None
    assert replayed.used["p", "web"] == Cost(2, 10, 5)


def test_under_a_lower_limit_calls_are_refused_when_their_patience_ends() -> None:
    log = HandMade({"p": limited(6_000)})
    leases = [log.ask(0, patience_s=1.5) for _ in range(4)]
    for lease in leases:
        log.end(0.5, lease)
    original = log.folded(9)
    replayed = replay(original, per_minute(60))
    assert times(replayed, *leases) == [0, 1, None, None]
    assert [replayed.all[lease].cause for lease in leases] == [None, None, Cause.DEADLINE, Cause.DEADLINE]


def throttled() -> tuple[HandMade, str, str, str]:
    """A 429, its retry, and a call of another caller."""
    log = HandMade({"p": limited(600, 10)})
    first, other = log.ask(0), log.ask(0, "other")
    log.end(3.5, other)
    log.step(0.5, Learn("p", RateLimited(to_ns(2), 0, lease_id=first)))
    log.end(0.5, first, Outcome.THROTTLED, ())
    again = log.ask(0.5, front=True)
    log.end(4.5, again)
    return log, first, other, again


def test_429s_of_the_recording_are_left_out_and_the_response_of_the_retry_comes_at_once() -> None:
    log, first, other, again = throttled()
    original = log.folded(9)
    assert original.attempts.all[first].outcome is Outcome.THROTTLED
    assert times(original.attempts, again) == [2.5]
    replayed = replay(original, per_minute(60))
    assert again not in replayed.all
    assert replayed.all[first].outcome is Outcome.SETTLED
    assert lasted(replayed.all[first]) == 2
    assert times(replayed, first, other) == [0, 1]


def test_429s_may_be_kept() -> None:
    log, first, _, again = throttled()
    replayed = replay(log.folded(9), per_minute(600), keep_429s=True)
    assert replayed.all[first].outcome is Outcome.THROTTLED
    assert times(replayed, again) == [2.5]


def test_a_429_that_was_not_retried_gets_a_response_of_mean_length() -> None:
    log = HandMade({"p": limited(600, 10)})
    first, last = log.ask(0), log.ask(0)
    log.end(1.5, first)
    log.step(0.5, Learn("p", RateLimited(to_ns(1), 0, lease_id=last)))
    log.step(0.5, Learn("p", RateLimited(to_ns(1), 0)))  # for an older limiter
    replayed = replay(log.folded(9), per_minute(600))
    assert lasted(replayed.all[last]) == 1.5


def test_retries_after_other_failures_come_after_the_same_pause() -> None:
    log = HandMade(ONE_PER_SECOND)
    others = [log.ask(0), log.ask(0)]
    failed = log.ask(0)
    for number, lease in enumerate(others):
        log.end(number + 0.5, lease)
    log.step(2.5, Learn("p", Failed(to_ns(0.5))))
    log.end(2.5, failed, Outcome.OVERLOADED, ())
    again = log.ask(3.1, retry=True)
    log.end(5, again)
    original = log.folded(9)
    assert times(original.attempts, failed, again) == [2, 3.1]
    replayed = replay(original, per_minute(120))
    assert times(replayed, failed) == [1]
    assert to_seconds(replayed.all[again].asked_ns) == pytest.approx(1 + 0.5 + 0.6)


def test_a_call_of_a_session_comes_as_long_after_the_one_before_it() -> None:
    log = HandMade(ONE_PER_SECOND)
    flood = [log.ask(0, "flood") for _ in range(3)]
    first, later = log.ask(0, session="s"), log.ask(4, session="s")
    alone = log.ask(4.1)
    for number, lease in enumerate(flood):
        log.end(number + 0.5, lease)
    log.end(2.5, first)
    log.end(5, later)
    original = log.folded(9)
    (before,) = times(original.attempts, first)
    replayed = replay(original, per_minute(6_000))
    (began,) = times(replayed, first)
    assert before is not None
    assert began is not None
    assert before - began > 1
    assert to_seconds(replayed.all[later].asked_ns) == pytest.approx(4 - (before - began), abs=0.01)
    assert to_seconds(replayed.all[alone].asked_ns) == pytest.approx(4.1)


def test_after_a_call_that_is_refused_its_session_goes_on_without_its_retry() -> None:
    log = HandMade({"p": limited(6_000, 100)})
    busy = [log.ask(0, "flood") for _ in range(3)]
    failed = log.ask(0, session="s", patience_s=1)
    for lease in busy:
        log.end(0.2, lease)
    log.end(0.5, failed, Outcome.RELEASED, ())
    again = log.ask(0.7, retry=True, session="s")
    log.end(1, again)
    later = log.ask(2, session="s")
    log.end(3, later)
    replayed = replay(log.folded(9), per_minute(60))
    assert replayed.all[failed].cause is Cause.DEADLINE
    assert again not in replayed.all
    assert to_seconds(replayed.all[later].asked_ns) == pytest.approx(1)


def test_a_client_that_left_while_it_waited_leaves_after_the_same_time() -> None:
    log = HandMade(ONE_PER_SECOND)
    first, left = log.ask(0), log.ask(0)
    log.step(0.3, Reprice("p", left, Cost(1, 7)))
    log.step(0.7, Release("p", left))
    log.end(0.4, first)
    original = log.folded(4)
    waits = replay(original, per_minute(61))
    assert (waits.all[left].granted_ns, waits.all[left].cause) == (None, None)
    assert to_seconds(waits.all[left].over_ns or 0) == 0.7
    admitted = replay(original, per_minute(600))
    assert times(admitted, left) == [0.1]
    assert admitted.all[left].outcome is Outcome.SETTLED, "the mean response takes 0.4 s"
    slow = replay(original, per_minute(100))
    assert times(slow, left) == [0.6]
    assert slow.all[left].outcome is Outcome.ABANDONED


def test_changed_limits_weight_and_class_of_a_caller_apply() -> None:
    log = HandMade({"p": limited(6_000, 100)}, {"web": CallerLimits(requests_per_minute=6_000)})
    leases = [log.ask(0) for _ in range(3)]
    for lease in leases:
        log.end(1, lease)
    others = [log.ask(0, "other") for _ in range(2)]
    for lease in others:
        log.end(1, lease)
    original = log.folded(9)
    settings = ChangedSettings(callers={"web": {"max_concurrent": 1}, "other": {"requests_per_minute": 30.0}})
    replayed = replay(original, settings)
    assert times(replayed, *leases) == [0, 1, 2]
    assert times(replayed, *others) == [0, 0]  # a bucket holds what its rate refills in 10 s
    weighted = ChangedSettings(callers={"web": {"weight": 3.0, "priority": Priority.BATCH}}).demand(
        Demand("p", Caller("web", limits=CallerLimits(max_concurrent=2)), Cost(1))
    )
    assert weighted.caller == Caller("web", weight=3.0, priority=Priority.BATCH, limits=CallerLimits(max_concurrent=2))


def test_changes_of_settings_in_the_recording_do_not_undo_those_of_the_replay() -> None:
    log = HandMade(ONE_PER_SECOND, {"web": CallerLimits(max_concurrent=9)})
    log.step(0.1, Configure("p", limited(30)))
    log.step(0.2, Reload({"p": limited(20)}, limited(10)))
    log.step(0.3, LimitCallers({"web": None, "other": CallerLimits(max_concurrent=4)}))
    leases = [log.ask(1) for _ in range(5)]
    original = log.folded(9)
    assert sum(each is not None for each in times(original.attempts, *leases)) == 3
    replayed = replay(original, per_minute(600, callers={"web": {"max_concurrent": 3}}))
    assert times(replayed, *leases)[:3] == [1, 1.1, 1.2]
    assert min(each or 9 for each in times(replayed, *leases)[3:]) > 3, "three are open until then"


def test_limits_of_one_pool_leave_other_pools_unchanged_and_caps_are_for_all() -> None:
    state = HandMade({"q": limited(5)}).folded(1).state
    changed = ChangedSettings(
        {"p": ChangedLimits({Dimension.INPUT_TOKENS: 600.0}, burst_seconds=30)},
        ChangedLimits({Dimension.REQUESTS: 30.0}),
        caps={"requests": 7},
    ).state(state)
    fold = changed.fold
    assert (fold.configured["p"].limits[Dimension.INPUT_TOKENS].capacity, fold.configured["q"].limits) == (
        300,
        limited(5).limits,
    )
    assert fold.otherwise.limits[Dimension.REQUESTS].capacity == 5
    assert {each.caps.requests for each in (*fold.configured.values(), fold.otherwise)} == {7}


def reporting(*remaining: int) -> tuple[HandMade, list[str]]:
    """Ten calls at once, whose answers report a limit of 60 per minute, and what is left of it."""
    log = HandMade({"p": limited(600, 10)})
    leases = [log.ask(0) for _ in range(10)]
    for number, (lease, left) in enumerate(zip(leases, remaining, strict=True)):
        report = LimitReport(DimensionReport(60, left, to_ns(60 - left)), sent_ago_ns=to_ns(1))
        log.end(1 + number / 100, lease, feedback=(Succeeded(0), report))
    return log, leases


def test_what_the_upstream_says_is_left_is_corrected_by_the_difference_in_use() -> None:
    # 50 of 60 are left after ten requests, and one comes per second. Others have used 20 as well.
    log, leases = reporting(*[31] * 10)
    original = log.folded(9)
    for requests, left in ((600, 31), (60, 39)):  # by then two of ten were sent: 8 fewer
        settings = per_minute(requests)
        courses = Courses(original)
        levels = UpstreamLevels(original, courses, ChangedSettings())
        for lease, at_s in zip(leases, times(replay(original, settings), *leases), strict=True):
            if at_s is not None and at_s < 1.5:
                levels.admitted("p", cost_of(courses.by_lease[lease]), to_ns(at_s))
        place, operation = next(each for each in courses.by_lease[leases[0]].operations if each[1].method == "end")
        report = levels.feedback(place, 1, "p", operation.arguments[4][1], to_ns(1))
        assert isinstance(report, LimitReport)
        assert report.requests is not None
        assert report.requests.per_minute == 60
        assert report.requests.remaining == pytest.approx(left, abs=1)
        assert report.requests.full_in_ns == pytest.approx(to_ns(60 - left), abs=to_ns(1))


def test_a_limit_that_is_set_counts_in_place_of_what_the_upstream_reported() -> None:
    log, _ = reporting(*range(9, -1, -1))  # nothing is left, so one call goes per second
    later = [log.ask(2) for _ in range(30)]
    original = log.folded(9)
    few = sum(each is not None for each in times(original.attempts, *later))
    assert few < 10
    same = replay(original, ChangedSettings(caps={"requests": 999}))
    assert sum(each is not None for each in times(same, *later)) == pytest.approx(few, abs=1)
    many = replay(original, per_minute(600, 10))
    assert sum(each is not None for each in times(many, *later)) == 30


def test_what_a_replica_had_open_ends_with_it() -> None:
    log = HandMade(ONE_PER_SECOND)
    leases = [log.ask(0) for _ in range(3)]
    finished = log.ask(0, "first")
    log.end(1.5, finished)
    log.step(4.05, Leave("r"))
    original = log.folded(6)
    assert [original.attempts.all[lease].outcome for lease in leases] == [Outcome.ABANDONED] * 3
    replayed = replay(original, per_minute(30))
    assert [replayed.all[lease].outcome for lease in leases[:2]] == [Outcome.ABANDONED] * 2
    assert replayed.all[leases[2]].cause is Cause.STORE_UNAVAILABLE
    assert to_seconds(replayed.all[leases[2]].over_ns or 0) == 4.05


def test_a_lease_that_a_replica_granted_alone_is_added_and_ends_when_it_did() -> None:
    log = HandMade({"p": limited(600, 10)})
    asked = log.ask(0)
    demand = Demand("p", Caller("web"), Cost(1))
    log.step(1, Rejoin((), (Held("r-alone", demand), Held(asked, demand))))
    log.end(2.5, "r-alone")
    log.end(3, asked)
    replayed = replay(log.folded(9), per_minute(60))
    assert [to_seconds(each.over_ns or 0) for each in replayed.all.values()] == [3, 2.5]


def test_what_waits_or_is_open_at_the_beginning_takes_part() -> None:
    fold = LogFold(Pools(ONE_PER_SECOND), "log")
    fold.pools.learn("p", Succeeded(0), 0)
    fold.pools.take_changes()
    demand = Demand("p", Caller("web"), Cost(1), to_ns(2.5))
    steps = Steps(Batch("r", 1, tuple(Reserve(f"r-{number}", demand) for number in range(3))))
    for ms, appended in ((0, Appended("leader", tick=True)), (0, Appended("r", (steps,)))):
        fold.apply_appended(EntryId(1_000, ms), appended)
    entries = [Recorded(1_000 + 100 * tick, 0, Appended("leader", tick=True)) for tick in range(1, 40)]
    ends = Steps(Batch("r", 4, (End("p", "r-0", Outcome.SETTLED), End("p", "r-1", Outcome.SETTLED))))
    entries.insert(20, Recorded(3_000, 1, Appended("r", (ends,))))
    original = fold_original(Stretch(decode_state_of_log(fold.dump()), entries))
    assert times(original.attempts, "r-0", "r-1", "r-2") == [0, 1, 2]
    replayed = replay(original, per_minute(15))
    assert times(replayed, "r-0", "r-1", "r-2") == [0, None, None]
    assert replayed.all["r-2"].cause is Cause.DEADLINE
    assert to_seconds(replayed.all["r-2"].over_ns or 0) == 2.5
    assert to_seconds(replayed.all["r-0"].over_ns or 0) == 2


def test_a_call_that_is_open_at_the_end_stays_open_at_least_as_long() -> None:
    log = HandMade(ONE_PER_SECOND)
    short, long = log.ask(0), log.ask(0)
    log.end(0.5, short)
    original = log.folded(6)
    replayed = replay(original, per_minute(120))
    assert times(replayed, long) == [0.5]
    assert lasted(replayed.all[long]) == 5
    log.step(0.05, Reserve("r-x", Demand("p", Caller("web"), Cost(1), settle_at_once=True)))
    replayed = replay(log.folded(6), per_minute(120))
    assert times(replayed, "r-x") == [1]
