"""`/api/system/budgets`: what is left of each budget, for admins and for callers."""

import asyncio
from typing import Any

import pytest

from support.api_services import app_of, make_services
from support.asgi_client import call
from tidegate.api.services import Services
from tidegate.core.domain.budget import BudgetRule, BudgetUnit, BudgetWindow, Each, Period, Spender, Spending
from tidegate.identity.identify import Identifier, key_hash
from tidegate.settings import CallerSettings, Settings

BUDGETS, STATUS = "/api/system/budgets", "/api/system/rate-limiting/status"
RULES = (
    BudgetRule("all", BudgetUnit.USD, 2_000_000, Period.DAY, contact="ops@example.com"),
    BudgetRule("each", BudgetUnit.TOKENS, 100, each=Each.CALLER),
    BudgetRule("team", BudgetUnit.TOKENS, 100, each=Each.TEAM),
    BudgetRule("session", BudgetUnit.USD, 1_000, each=Each.SESSION),
    BudgetRule("nightly", BudgetUnit.USD, 1_000, caller="nightly"),
)


@pytest.fixture
def services() -> Services:
    callers = tuple(
        CallerSettings(name=name, team=team, key_sha256=key_hash(f"{name}-key"))
        for name, team in {"web": "shop", "nightly": "data"}.items()
    )
    settings = Settings(admin_key="root-key", callers=callers)
    made = make_services(settings, identifier=Identifier(settings.callers))
    made.store.set_budgets(tuple(BudgetWindow(rule, 0, 1_800_000_000) for rule in RULES))
    made.store.spend(Spender("web", "shop", "s"), Spending(500_000, 40))
    made.store.spend(Spender("nightly", "data"), Spending(0, 10))
    return made


def ask(services: Services, path: str = BUDGETS, key: str = "root-key") -> list[dict[str, Any]]:
    answer = asyncio.run(call(app_of(services), "GET", path, headers={"x-api-key": key}))
    assert answer.status == 200
    found: list[dict[str, Any]] = answer.json().get("budgets", [])
    return found


def test_an_admin_sees_all_budgets_those_with_the_least_left_first(services: Services) -> None:
    found = ask(services)
    assert [(each["name"], each["subject"]) for each in found] == [
        ("session", "web/s"),
        ("each", "web"),
        ("team", "shop"),
        ("all", None),
        ("each", "nightly"),
        ("team", "data"),
        ("nightly", None),
    ]
    assert found[3] == {
        "name": "all",
        "subject": None,
        "unit": "usd",
        "limit": 2.0,
        "spent": 0.5,
        "reserved": 0.0,
        "remaining": 1.5,
        "remaining_ratio": 0.75,
        "per": "day",
        "time_zone": "UTC",
        "opens_at": "2027-01-15T08:00:00+00:00",
        "on_exceed": "refuse",
        "caller": None,
        "team": None,
        "contact": "ops@example.com",
    }
    assert (found[1]["limit"], found[1]["spent"]) == (100, 40)
    assert ask(services, STATUS) == found


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("web-key", [("session", "web/s"), ("each", "web"), ("team", "shop"), ("all", None)]),
        ("nightly-key", [("all", None), ("each", "nightly"), ("team", "data"), ("nightly", None)]),
    ],
)
def test_a_caller_sees_the_budgets_of_its_own_calls(key: str, names: list[tuple[str, Any]], services: Services) -> None:
    for path in (BUDGETS, STATUS):
        assert [(each["name"], each["subject"]) for each in ask(services, path, key)] == names


def test_without_budgets_there_are_none() -> None:
    services = make_services()
    assert ask(services) == []
    answer = asyncio.run(call(app_of(services), "GET", STATUS))
    assert "budgets" not in answer.json()
