"""Names that a recording must not have are replaced, and equal ones stay equal."""

import msgspec

from tidegate.core.accounts.budget_meter import BudgetState, MeterState
from tidegate.core.accounts.budgets import BudgetsState
from tidegate.core.domain.budget import BudgetRule, BudgetUnit, BudgetWindow, Each, Spender, Spending
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.stores.recording.pseudonyms import Pseudonyms
from tidegate.stores.steps import SetBudgets, Spend

RULE = BudgetRule("own", BudgetUnit.TOKENS, 9, each=Each.SESSION, contact="ann@example.org")
SPENDER = Spender("web", "team", "secret-session")


def test_sessions_of_budgets_have_the_names_of_those_of_demands() -> None:
    names = Pseudonyms(b"any")
    session = names.hide(Demand("p", Caller("web"), Cost(1), session="secret-session")).session
    assert session not in {"secret-session", ""}
    assert names.hide(Spend(SPENDER, Spending(1, 2))).spender == Spender("web", "team", session)
    window = BudgetWindow(RULE, spent={"web/secret-session": 4})
    (hidden,) = names.hide(SetBudgets((window,))).windows
    assert hidden.spent == {f"web/{session}": 4}
    state = BudgetsState(
        (MeterState(window, (BudgetState("web/secret-session", 4, 0, ()),)),), {"r-1": (SPENDER, Spending(1, 2))}
    )
    kept = names.hide(state)
    assert kept.meters[0].budgets[0].subject == f"web/{session}"
    assert kept.reservations["r-1"] == (Spender("web", "team", session), Spending(1, 2))
    encoded = msgspec.msgpack.encode((kept, hidden))
    assert b"secret" not in encoded
    assert b"ann@" not in encoded


def test_subjects_of_other_budgets_stay() -> None:
    window = BudgetWindow(BudgetRule("all", BudgetUnit.USD, 9, each=Each.CALLER), spent={"web": 4})
    state = MeterState(window, (BudgetState("web", 4, 0, ()),))
    assert Pseudonyms(b"any").hide(state) == state


def test_another_key_gives_other_names() -> None:
    caller = Caller("key-0123456789ab")
    found = {Pseudonyms(key).hide(Demand("p", caller, Cost(1))).caller.name for key in (b"a", b"a", b"b")}
    assert len(found) == 2
    assert caller.name not in found
