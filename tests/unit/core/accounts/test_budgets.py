"""What budgets allow, count and report."""

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import structs

from tidegate.core.accounts import budget_meter
from tidegate.core.accounts.account_waits import AccountWaits
from tidegate.core.accounts.budgets import Budgets, BudgetsState
from tidegate.core.domain.budget import (
    NOTHING_SPENT,
    BudgetRule,
    BudgetUnit,
    BudgetWindow,
    Each,
    OnExceed,
    Period,
    Spender,
    Spending,
)
from tidegate.core.domain.caller import Caller, Priority
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand, Outcome, Refused
from tidegate.core.domain.dimension import ONE_REQUEST

ANN = Caller("ann", label="ann", team="search")
BOB = Caller("bob", label="bob", team="search")
EVE = Caller("eve", label="eve", team="ads")
RULE = BudgetRule("b", BudgetUnit.USD, 1_000, Period.DAY)


def demand(micro_usd: int, caller: Caller = ANN, session: str = "", tokens: int = 0) -> Demand:
    return Demand("p", caller, ONE_REQUEST, spending=Spending(micro_usd, tokens), session=session)


def made(*rules: BudgetRule, spent: dict[str, int] | None = None) -> Budgets:
    budgets = Budgets({})
    budgets.configure([BudgetWindow(rule, 100, 200, spent) for rule in rules])
    return budgets


def rule(**changes: Any) -> BudgetRule:
    return structs.replace(RULE, **changes)


def spent(budgets: Budgets) -> Mapping[str, tuple[int, int]]:
    return {each.subject: (each.spent, each.reserved) for each in budgets.snapshot()}


@pytest.mark.parametrize("on_exceed", OnExceed)
def test_a_call_that_is_priced_later_needs_something_to_be_left(on_exceed: OnExceed) -> None:
    budgets = made(rule(on_exceed=on_exceed))
    asked = structs.replace(demand(0), is_priced_later=True)
    budgets.spend(asked.spender, Spending(999))
    assert budgets.judge(asked) is asked
    budgets.spend(asked.spender, Spending(1))
    judged = budgets.judge(asked)
    assert isinstance(judged, Refused) == (on_exceed is OnExceed.REFUSE)
    if isinstance(judged, Demand):
        assert judged.caller.priority is (Priority.BATCH if on_exceed is OnExceed.BATCH else Priority.STANDARD)
    budgets.reserve("l", asked)
    assert budgets.reserved() == {}


def test_without_budgets_everything_goes_and_nothing_is_kept() -> None:
    budgets = Budgets({})
    asked = demand(10**12)
    assert budgets.judge(asked) is asked
    assert budgets.fits(asked)
    assert budgets.blocking(asked) is None
    budgets.reserve("l", asked)
    assert budgets.dump() == BudgetsState()
    budgets.grow("l", Spending(5, 5))
    assert budgets.settle("l", asked, Outcome.SETTLED, Spending(7, 7)) == Spending(7, 7)
    assert budgets.dump() == BudgetsState()


def test_a_call_without_cost_is_never_held_back() -> None:
    budgets = made(RULE, spent={"": 5_000})
    free = demand(0)
    assert budgets.judge(free) is free
    assert budgets.fits(free)
    assert budgets.blocking(free) is None
    budgets.reserve("l", free)
    assert spent(budgets) == {"": (5_000, 0)}
    assert budgets.dump().reservations == {}
    budgets.settle("l", free, Outcome.SETTLED, NOTHING_SPENT)
    assert budgets.events == [], "it does not report what was spent before"


def test_a_demand_fits_up_to_the_limit_and_waits_for_reservations() -> None:
    budgets = made(RULE, spent={"": 300})
    budgets.reserve("l", demand(400))
    assert budgets.fits(demand(300))
    assert not budgets.fits(demand(301))
    blocking = budgets.blocking(demand(301))
    assert blocking is not None
    assert blocking.snapshot().remaining == 300
    assert budgets.judge(demand(700)) == demand(700)
    refused = budgets.judge(demand(701))
    assert isinstance(refused, Refused)
    assert refused.cause is Cause.BUDGET
    assert refused.budget is not None
    assert (refused.budget.spent, refused.budget.reserved, refused.budget.ends) == (300, 400, 200)
    assert budgets.blocking(demand(701)) is None  # it does not wait


@pytest.mark.parametrize("ends", [[200, 900, 500], [200, None, 900]])
def test_of_several_budgets_that_refuse_a_call_the_one_that_opens_last_is_the_reason(ends: list[int | None]) -> None:
    budgets = Budgets({})
    names = ["first", "last", "middle"]
    budgets.configure(
        [BudgetWindow(rule(name=name), 100, end, {"": 1_000}) for name, end in zip(names, ends, strict=True)]
    )
    refused = budgets.judge(demand(1))
    assert isinstance(refused, Refused)
    assert refused.budget is not None
    assert (refused.budget.rule.name, refused.budget.ends) == ("last", ends[1])


@pytest.mark.parametrize(
    ("outcome", "known", "counted"),
    [
        (Outcome.SETTLED, Spending(650, 9), Spending(650, 9)),
        (Outcome.SETTLED, None, Spending(400, 50)),
        (Outcome.ABANDONED, None, Spending(400, 50)),
        (Outcome.OVERLOADED, NOTHING_SPENT, NOTHING_SPENT),
        (Outcome.RELEASED, None, NOTHING_SPENT),
        (Outcome.THROTTLED, Spending(1, 1), NOTHING_SPENT),
    ],
)
def test_a_lease_settles_what_it_spent(outcome: Outcome, known: Spending | None, counted: Spending) -> None:
    budgets = made(RULE)
    asked = demand(400, tokens=50)
    budgets.reserve("l", asked)
    assert budgets.settle("l", asked, outcome, known) == counted
    assert spent(budgets) == {"": (counted.micro_usd, 0)}


def test_a_reservation_grows_with_what_is_known_and_never_shrinks() -> None:
    budgets = made(RULE)
    asked = demand(400, tokens=10)
    budgets.reserve("l", asked)
    budgets.grow("l", Spending(300, 10))
    assert spent(budgets) == {"": (0, 400)}
    budgets.grow("l", Spending(500, 20))
    assert spent(budgets) == {"": (0, 500)}
    assert budgets.reserved() == {asked.spender: Spending(500, 20)}
    assert budgets.settle("l", asked, Outcome.ABANDONED, None) == Spending(500, 20)


def test_what_calls_have_reserved_is_added_up_by_spender() -> None:
    budgets = made(RULE)
    for lease_id, asked in {"1": demand(1, tokens=2), "2": demand(3, tokens=4), "3": demand(5, BOB)}.items():
        budgets.reserve(lease_id, asked)
    assert budgets.reserved() == {Spender("ann", "search"): Spending(4, 6), Spender("bob", "search"): Spending(5)}


@pytest.mark.parametrize(
    ("changes", "subjects"),
    [
        ({}, {""}),
        ({"caller": "ann"}, {""}),
        ({"caller": "eve"}, {""}),
        ({"team": "search"}, {""}),
        ({"each": Each.CALLER}, {"ann", "bob", "eve"}),
        ({"each": Each.TEAM}, {"search", "ads"}),
        ({"each": Each.CALLER, "team": "search"}, {"ann", "bob"}),
        ({"each": Each.SESSION}, {"ann/s", "eve/s"}),
        ({"each": Each.SESSION, "caller": "eve"}, {"eve/s"}),
    ],
)
def test_a_budget_counts_those_that_it_is_for(changes: dict[str, Any], subjects: set[str]) -> None:
    budgets = made(rule(**changes))
    calls = {"ann": demand(1, ANN, "s"), "bob": demand(10, BOB), "eve": demand(100, EVE, "s")}
    for lease_id, asked in calls.items():
        budgets.reserve(lease_id, asked)
        budgets.settle(lease_id, asked, Outcome.SETTLED, asked.spending)
    assert set(spent(budgets)) == subjects
    for asked in calls.values():
        own = budgets.snapshot(asked.spender)
        assert all(each.is_of(asked.spender) for each in own)
        assert len(own) == sum(each.is_of(asked.spender) for each in budgets.snapshot())


def test_tokens_and_money_are_counted_apart() -> None:
    budgets = made(rule(unit=BudgetUnit.TOKENS, limit=100), rule(name="usd"))
    assert budgets.fits(demand(1_000, tokens=100))
    assert not budgets.fits(demand(1, tokens=101))
    assert not budgets.fits(demand(1_001, tokens=1))
    budgets.spend(Spender("ann", "search"), Spending(7, 9))
    assert [each.spent for each in budgets.snapshot()] == [9, 7]


def test_a_budget_that_only_warns_lets_everything_go() -> None:
    budgets = made(rule(on_exceed=OnExceed.WARN), spent={"": 2_000})
    assert budgets.judge(demand(5)) == demand(5)
    assert budgets.fits(demand(5))
    assert budgets.blocking(demand(5)) is None


def test_a_budget_lowers_the_class_beyond_its_limit() -> None:
    budgets = made(rule(on_exceed=OnExceed.BATCH))
    assert budgets.judge(demand(1_000)) == demand(1_000)
    budgets.reserve("l", demand(1_000))
    lowered = budgets.judge(demand(1))
    assert isinstance(lowered, Demand)
    assert lowered.caller.priority is Priority.BATCH
    assert lowered.spender == demand(1).spender


def test_thresholds_are_reported_once_per_period() -> None:
    budgets = made(RULE)
    ann = Spender("ann", "search")
    for amount in (799, 1, 50, 150, 1):
        budgets.spend(ann, Spending(amount))
    assert [(each.percent, each.budget.spent) for each in budgets.events] == [(80, 800), (100, 1_000)]
    assert isinstance(budgets.judge(demand(1)), Refused)
    assert len(budgets.events) == 2
    budgets.events.clear()
    budgets.begin({"day UTC": (200, 300)})
    budgets.spend(ann, Spending(2_000))
    assert [each.percent for each in budgets.events] == [100]


def test_a_call_counts_in_all_its_budgets_also_after_one_reports_a_threshold() -> None:
    budgets = made(RULE, rule(name="c"))
    budgets.spend(Spender("ann", "search"), Spending(900))
    assert [(each.rule.name, each.spent) for each in budgets.snapshot()] == [("b", 900), ("c", 900)]
    assert len(budgets.events) == 2


def test_a_window_that_is_configured_begins_and_ends_when_it_says() -> None:
    budgets = made(RULE)
    budgets.configure([BudgetWindow(RULE, 200, 300)])
    assert budgets.snapshot()[0].ends == 300


def test_a_refusal_is_reported_like_the_limit_and_the_first_threshold_still_follows() -> None:
    budgets = made(RULE)
    for _ in range(2):
        assert isinstance(budgets.judge(demand(1_001)), Refused)
    budgets.spend(Spender("ann", "search"), Spending(900))
    budgets.spend(Spender("ann", "search"), Spending(100))
    assert [(each.percent, each.budget.spent) for each in budgets.events] == [(100, 0), (80, 900), (100, 1_000)]


@pytest.mark.parametrize(
    ("spent_before", "asked", "used_up"), [(799, 300, False), (800, 300, True), (800, 200, False), (1_000, 0, True)]
)
def test_a_budget_is_used_up_once_it_is_spent_or_refuses_the_little_that_is_left(
    spent_before: int, asked: int, *, used_up: bool
) -> None:
    budgets = made(RULE)
    budgets.spend(Spender("ann", "search"), Spending(spent_before))
    for _ in range(2):
        budgets.judge(demand(asked))
    assert budgets.snapshot()[0].used_up is used_up
    assert [each.percent for each in budgets.events].count(100) == (used_up or asked == 300)
    restored = Budgets({})
    restored.restore(budgets.dump(), AccountWaits)
    assert restored.snapshot() == budgets.snapshot()
    budgets.begin({"day UTC": (200, 300)})
    assert not budgets.snapshot()[0].used_up


def test_a_budget_that_was_refused_once_reports_again_when_it_is_used_up() -> None:
    budgets = made(RULE)
    budgets.judge(demand(1_001))
    budgets.spend(Spender("ann", "search"), Spending(990))
    budgets.judge(demand(11))
    budgets.spend(Spender("ann", "search"), Spending(1))
    assert [(each.percent, each.budget.spent) for each in budgets.events] == [(100, 0), (80, 990), (100, 990)]


def test_a_new_period_begins_once_and_keeps_reservations() -> None:
    budgets = made(RULE, rule(name="month", period=Period.MONTH), spent={"": 900})
    budgets.reserve("l", demand(50))
    for starts in (200, 200, 150):
        budgets.begin({"day UTC": (starts, starts + 100)})
        if starts == 200:
            budgets.spend(Spender("ann", "search"), Spending(20))
    assert [(each.spent, each.reserved, each.ends) for each in budgets.snapshot()] == [(40, 50, 300), (940, 50, 200)]


def test_a_period_that_is_configured_begins_with_what_was_spent_in_it_before() -> None:
    budgets = made(RULE, spent={"": 900})
    for known in (None, {"": 70}, {"": 80}):
        budgets.configure([BudgetWindow(RULE, 200, 300, known)])
    assert spent(budgets) == {"": (70, 0)}


@pytest.mark.parametrize(
    ("starts", "known", "expected"),
    [(200, {"": 700}, (5, 400)), (199, {"": 700}, (700, 299)), (199, None, (5, 400))],
    ids=["the period before may be late", "an earlier period", "an earlier period without what was spent"],
)
def test_a_budget_goes_back_from_the_far_future_to_what_was_spent(
    starts: int, known: dict[str, int] | None, expected: tuple[int, int]
) -> None:
    budgets = made(RULE)
    budgets.begin({"day UTC": (300, 400)})
    budgets.spend(Spender("ann", "search"), Spending(5))
    budgets.configure([BudgetWindow(RULE, starts, starts + 100, known)])
    assert [(each.spent, each.ends) for each in budgets.snapshot()] == [expected]


def test_what_was_spent_before_is_taken_in_once() -> None:
    budgets = made(rule(each=Each.CALLER))
    budgets.spend(Spender("ann", "search"), Spending(70))
    for known in ({"ann": 60, "bob": 50}, {"ann": 500, "eve": 1}):
        budgets.configure([BudgetWindow(rule(each=Each.CALLER), 100, 200, known)])
    assert spent(budgets) == {"ann": (70, 0), "bob": (50, 0)}


def test_a_share_of_a_budget_leaves_the_rest_to_others_in_each_period() -> None:
    budgets = Budgets({})
    mine = rule(each=Each.CALLER)
    budgets.configure([BudgetWindow(mine, 100, 200, {"ann": 480}, 600)])
    budgets.spend(Spender("bob", "search"), Spending(5))
    assert spent(budgets) == {"ann": (480, 0), "bob": (605, 0)}
    copy = Budgets({})
    copy.restore(budgets.dump(), AccountWaits)
    for each in (budgets, copy):
        each.begin({"day UTC": (200, 300)})
        assert spent(each) == {"ann": (600, 0), "bob": (600, 0)}


def test_what_was_counted_before_is_not_part_of_a_share() -> None:
    budgets = Budgets({})
    mine = rule(each=Each.CALLER)
    budgets.configure([BudgetWindow(mine, 100, 200, None, 600)])
    budgets.spend(Spender("ann", "search"), Spending(5))
    budgets.configure([BudgetWindow(mine, 100, 200, {"ann": 480}, 600)])
    assert spent(budgets) == {"ann": (485, 0)}


def test_what_was_spent_in_another_period_is_not_taken_in() -> None:
    budgets = made(RULE, spent={"": 5})
    budgets.configure([BudgetWindow(RULE, 50, 100, {"": 700})])
    assert spent(budgets) == {"": (5, 0)}
    assert budgets.snapshot()[0].ends == 200


def test_another_limit_keeps_what_was_spent_and_reports_thresholds_anew() -> None:
    budgets = made(RULE)
    budgets.spend(Spender("ann", "search"), Spending(900))
    budgets.reserve("l", demand(100))
    budgets.configure([BudgetWindow(rule(limit=10_000), 100, 200)])
    assert spent(budgets) == {"": (900, 100)}
    budgets.configure([BudgetWindow(rule(limit=1_100), 100, 200)])
    budgets.configure([BudgetWindow(rule(limit=1_100, contact="ops"), 100, 200)])
    budgets.spend(Spender("ann", "search"), Spending(1))
    assert [(each.percent, each.budget.rule.limit) for each in budgets.events] == [(80, 1_000), (80, 1_100)]


def test_a_budget_that_counts_something_else_begins_with_what_is_known() -> None:
    budgets = made(RULE)
    budgets.reserve("l", demand(100, BOB))
    budgets.spend(Spender("ann", "search"), Spending(900))
    budgets.configure([BudgetWindow(rule(caller="bob"), 100, 200, {"": 30})])
    assert spent(budgets) == {"": (30, 100)}
    budgets.settle("l", demand(100, BOB), Outcome.SETTLED, Spending(90))
    assert spent(budgets) == {"": (120, 0)}
    budgets.configure([])
    assert budgets.snapshot() == ()


@pytest.mark.parametrize("on_exceed", OnExceed)
def test_a_call_that_uses_nothing_of_a_unit_is_not_held_back_by_a_budget_in_it(on_exceed: OnExceed) -> None:
    budgets = made(rule(unit=BudgetUnit.TOKENS, on_exceed=on_exceed), spent={"": 2_000})
    asked = demand(5)
    assert (budgets.judge(asked), budgets.fits(asked), budgets.blocking(asked)) == (asked, True, None)


def test_a_demand_that_waits_meets_the_budgets_that_are_configured_meanwhile() -> None:
    budgets, asked = made(RULE), demand(600)
    assert budgets.fits(asked)
    budgets.configure([BudgetWindow(rule(name="other", limit=500), 100, 200)])
    assert not budgets.fits(asked)


def test_a_call_that_began_before_its_budget_counts_in_it() -> None:
    budgets = Budgets({})
    budgets.reserve("l", demand(100))
    budgets.configure([BudgetWindow(RULE, 100, 200)])
    budgets.settle("l", demand(100), Outcome.SETTLED, Spending(90))
    assert spent(budgets) == {"": (90, 0)}


def test_whoever_waits_is_looked_at_when_a_call_ends_or_a_period_begins_or_budgets_change() -> None:
    freed: dict[str, None] = {}
    budgets = Budgets(freed)
    budgets.configure([BudgetWindow(RULE, 100, 200)])

    def wait() -> AccountWaits:
        freed.clear()
        blocking = budgets.blocking(demand(500))
        assert blocking is not None
        waits = AccountWaits("p")
        blocking.note_skipped(waits)
        assert waits.until_ns is None
        return waits

    budgets.reserve("1", demand(800))
    waits = wait()
    budgets.begin({"day UTC": (200, 300)})
    assert (freed, waits.until_ns) == ({"p": None}, 0)
    waits = wait()
    budgets.configure([BudgetWindow(rule(limit=1_200), 200, 300)])
    assert (freed, waits.until_ns) == ({"p": None}, 0)
    waits = wait()
    budgets.settle("1", demand(800), Outcome.SETTLED, Spending(10))
    assert (freed, waits.until_ns) == ({"p": None}, 0)
    assert budgets.fits(demand(500))


def test_of_many_sessions_the_one_that_has_been_idle_for_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_meter, "_MOST_SUBJECTS", 3)
    budgets = made(rule(each=Each.SESSION))
    busy = demand(1, session="busy")
    budgets.reserve("l", busy)
    for session in ("a", "b", "a", "c"):
        budgets.spend(Spender("ann", "search", session), Spending(5))
    assert spent(budgets) == {"ann/busy": (0, 1), "ann/a": (10, 0), "ann/c": (5, 0)}


def test_a_session_that_has_used_up_its_budget_is_forgotten_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_meter, "_MOST_SUBJECTS", 2)
    budgets = made(rule(each=Each.SESSION))
    for session, amount in (("over", 1_000), ("a", 5), ("b", 5)):
        budgets.spend(Spender("ann", "search", session), Spending(amount))
    assert spent(budgets) == {"ann/over": (1_000, 0), "ann/b": (5, 0)}
    for session in ("b", "c"):
        budgets.spend(Spender("ann", "search", session), Spending(900))
    assert spent(budgets) == {"ann/b": (905, 0), "ann/c": (900, 0)}


def test_no_session_with_a_call_in_progress_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_meter, "_MOST_SUBJECTS", 1)
    budgets = made(rule(each=Each.SESSION))
    for session in "ab":
        budgets.reserve(session, demand(1, session=session))
    assert spent(budgets) == {"ann/a": (0, 1), "ann/b": (0, 1)}


def test_a_caller_that_was_forgotten_and_comes_back_is_counted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_meter, "_MOST_SUBJECTS", 2)
    budgets = made(rule(each=Each.CALLER))
    for name in ("ann", "bob", "eve", "ann"):
        budgets.spend(Spender(name, "search"), Spending(5))
    assert spent(budgets) == {"eve": (5, 0), "ann": (5, 0)}


def test_budgets_are_true_if_there_are_any() -> None:
    assert made(RULE)
    assert not made()


def test_of_many_subjects_those_with_the_least_left_are_shown() -> None:
    budgets = made(rule(each=Each.SESSION))
    for number in range(150):
        budgets.spend(Spender("ann", "search", f"s{number}"), Spending(number))
    shown = budgets.snapshot()
    assert [each.spent for each in shown] == list(range(149, 49, -1))
    assert shown[0].remaining_ratio == 0.851


def test_the_budgets_of_invented_callers_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.core.accounts.budgets._MOST_SPENDERS", 2)
    budgets = made(RULE)
    for number in range(5):
        budgets.spend(Spender(f"c{number}", "t"), Spending(1))
    assert spent(budgets) == {"": (5, 0)}


def test_a_restored_dump_continues_exactly() -> None:
    budgets = made(RULE, rule(name="each", each=Each.CALLER, limit=100), spent={"": 10})
    budgets.configure([*(each.window for each in budgets.dump().meters), BudgetWindow(rule(name="unknown"), 100, 200)])
    budgets.reserve("1", demand(60))
    budgets.spend(Spender("bob", "search"), Spending(95))
    blocking = budgets.blocking(demand(50))
    assert blocking is not None
    blocking.note_skipped(AccountWaits("p"))
    state, freed = budgets.dump(), dict[str, None]()
    copy, waits = Budgets(freed), AccountWaits("p")
    copy.restore(state, lambda _pool: waits)
    assert copy.dump() == state
    for each in (budgets, copy):
        each.events.clear()
        each.settle("1", demand(60), Outcome.SETTLED, Spending(70))
    assert copy.dump() == budgets.dump()
    assert copy.events == budgets.events == []
    assert freed == {"p": None}
    assert waits.until_ns == 0
