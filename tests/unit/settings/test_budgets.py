"""Budgets in the configuration."""

from pathlib import Path
from typing import Any

import pytest

from tidegate.cli.composition.ledger import check_budgets
from tidegate.core.domain.budget import BudgetRule, BudgetUnit, Each, OnExceed, Period
from tidegate.core.domain.errors import ConfigurationError
from tidegate.settings import BudgetSettings, Settings, load_settings
from tidegate.settings.loading.changes import changes_between


def loaded(tmp_path: Path, text: str, **environment: str) -> Settings:
    file = tmp_path / "tidegate.toml"
    file.write_text(text)
    return load_settings(environment, file=file).settings


def test_an_entry_becomes_a_budget(tmp_path: Path) -> None:
    text = """
        [[budgets]]
        name = "search-month"
        limit = 12.5
        per = "month"
        time_zone = "Europe/Berlin"
        team = "search"
        each = "caller"
        on_exceed = "batch"
        contact = "ops@example.com"

        [[budgets]]
        name = "all-tokens"
        limit = 1000000
        unit = "tokens"
        per = "total"
    """
    assert loaded(tmp_path, text, TIDEGATE_MAX_USD_PER_SESSION="0.5").budget_rules() == (
        BudgetRule(
            "search-month",
            BudgetUnit.USD,
            12_500_000,
            Period.MONTH,
            "Europe/Berlin",
            OnExceed.BATCH,
            None,
            "search",
            Each.CALLER,
            "ops@example.com",
        ),
        BudgetRule("all-tokens", BudgetUnit.TOKENS, 1_000_000, Period.TOTAL),
        BudgetRule("session", BudgetUnit.USD, 500_000, each=Each.SESSION),
    )


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('limit = 1\ntime_zone = "Mars/Olympus"', "time_zone: got 'Mars/Olympus', allowed is a name of the IANA"),
        ('limit = 1\ntime_zone = "../etc/passwd"', "time_zone: got"),
        ("limit = 0", "limit: got 0, allowed is a number, 0.001 to"),
        ("limit = true", "limit: got True"),
        ("", "limit is not set; it must be a number"),
        ('limit = 1.5\nunit = "tokens"', "budgets[0].limit: got 1.5, allowed is a whole number of tokens"),
        ('limit = 1\nper = "week"', "per: got 'week', allowed is hour, day, month, total"),
        ('limit = 1\neach = "key"', "each: got 'key', allowed is caller, team, session"),
        ('limit = 1\non_exceed = "stop"', "on_exceed: got 'stop', allowed is"),
        ("limit = 1\nlimits = 2", "limits"),
    ],
)
def test_a_faulty_entry_is_named_with_what_is_allowed(entry: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as found:
        loaded(tmp_path, f'[[budgets]]\nname = "b"\n{entry}\n')
    assert message in str(found.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "a"], "each name once"),
        (["a\\n"], "name: got 'a\\n'"),
        (["session"], "TIDEGATE_MAX_USD_PER_SESSION sets it"),
    ],
)
def test_names_are_distinct(names: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as found:
        loaded(tmp_path, "".join(f'[[budgets]]\nname = "{name}"\nlimit = 1\n' for name in names))
    assert message in str(found.value)


@pytest.mark.parametrize("changes", [{"ledger": "off", "state_dir": "state"}, {}])
def test_budgets_need_a_ledger(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    budgets = (BudgetSettings(name="b", limit=1),)
    with pytest.raises(ConfigurationError, match="budgets: got 'b', allowed is only with a ledger"):
        check_budgets(Settings(budgets=budgets, **changes))
    check_budgets(Settings(**changes))
    check_budgets(Settings(budgets=budgets, state_dir="state"))


def test_budgets_need_the_packages_of_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.cli.composition.ledger._is_installed", lambda _package: False)
    with pytest.raises(ConfigurationError, match=r"pip install 'tidegate\[ledger\]'"):
        check_budgets(Settings(budgets=(BudgetSettings(name="b", limit=1),), state_dir="state"))


def test_a_change_of_a_budget_is_told_by_its_name() -> None:
    before = Settings(budgets=(BudgetSettings(name="b", limit=1),))
    after = Settings(budgets=(BudgetSettings(name="b", limit=2), BudgetSettings(name="c", limit=1)))
    assert [change.text for change in changes_between(before, after)] == [
        "budgets.b.limit 1.0 → 2.0",
        "budgets.c added",
    ]
