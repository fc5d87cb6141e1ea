"""Entries of `[[budgets]]`, which only the file can hold."""

from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field

from tidegate.core.domain.budget import BudgetRule, BudgetUnit, Each, OnExceed, Period
from tidegate.core.domain.pool_settings import LEAST_UNITS
from tidegate.core.pricing.price_list import MICRO_USD
from tidegate.settings.fields.field_docs import FieldDoc, SettingsModel
from tidegate.settings.fields.field_types import CallerName, Text, number

__all__ = ["SESSION_BUDGET", "BudgetSettings", "session_budget"]

SESSION_BUDGET = "session"
"""The name of the budget that TIDEGATE_MAX_USD_PER_SESSION sets."""
_MAX_LIMIT = 10**12
_UTC = "UTC"
_NAME_TEXT = "letters, digits, dot, dash or underscore, at most 63"


def _time_zone(name: str) -> str:
    try:
        if name != _UTC:  # which needs no data of the system
            ZoneInfo(name)
    except (OSError, KeyError, ValueError):
        raise ValueError("an unknown time zone") from None
    return name


class BudgetSettings(SettingsModel):
    """One `[[budgets]]` entry: how much may be spent in a period, by whom."""

    name: Annotated[CallerName, FieldDoc(None, f"{_NAME_TEXT}, unique", "metric label")]
    limit: Annotated[
        Annotated[float, Field(ge=LEAST_UNITS, le=_MAX_LIMIT), BeforeValidator(number)],
        FieldDoc(None, f"a number, {LEAST_UNITS} to {_MAX_LIMIT:,}; whole for tokens", "how much may be spent"),
    ]
    unit: Annotated[
        BudgetUnit, FieldDoc(None, ", ".join(BudgetUnit), "US dollars, or tokens, also those read from the cache")
    ] = BudgetUnit.USD
    per: Annotated[Period, FieldDoc(None, ", ".join(Period), "period after which the budget begins anew")] = (
        Period.MONTH
    )
    time_zone: Annotated[
        Text,
        AfterValidator(_time_zone),
        FieldDoc(None, "a name of the IANA database, such as Europe/Berlin", "zone in which days and months begin"),
    ] = _UTC
    caller: Annotated[
        CallerName | None, FieldDoc(None, f"{_NAME_TEXT}; absent: every caller", "only caller that it is for")
    ] = None
    team: Annotated[
        CallerName | None, FieldDoc(None, f"{_NAME_TEXT}; absent: every team", "only team that it is for")
    ] = None
    each: Annotated[
        Each | None,
        FieldDoc(
            None,
            f"{', '.join(Each)}; absent: all share one amount",
            "whether each caller, team or session has the whole amount",
        ),
    ] = None
    on_exceed: Annotated[
        OnExceed,
        FieldDoc(None, ", ".join(OnExceed), "beyond the limit, refuse calls, only warn, or lower them to class batch"),
    ] = OnExceed.REFUSE
    contact: Annotated[Text | None, FieldDoc(None, "any text", "who can raise it; refused callers read it")] = None

    def rule(self) -> BudgetRule:
        """The budget that the entry describes."""
        return BudgetRule(
            self.name,
            self.unit,
            _micro(self.limit) if self.unit is BudgetUnit.USD else int(self.limit),
            self.per,
            self.time_zone,
            self.on_exceed,
            self.caller,
            self.team,
            self.each,
            self.contact or "",
        )


def session_budget(usd: float) -> BudgetRule:
    """The budget that every session has in total."""
    return BudgetRule(SESSION_BUDGET, BudgetUnit.USD, _micro(usd), each=Each.SESSION)


def _micro(usd: float) -> int:
    return round(usd * MICRO_USD)
