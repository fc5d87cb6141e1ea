"""`/usage`: who sees what, what the page shows, and what it says if there is nothing to show."""

import asyncio
import base64
import re
from datetime import date
from html.parser import HTMLParser
from typing import Any

import pytest

from support.api_services import app_of, make_services
from support.asgi_client import Answer, call
from support.key_stores import FakeKeyStore
from support.usage_pages import DAY, NOW, PageLedger, group
from tidegate.api.services import Services
from tidegate.core.domain.budget import BudgetRule, BudgetSnapshot, BudgetUnit, Each, Period
from tidegate.core.domain.errors import LedgerUnavailable
from tidegate.core.domain.pause import Pause, PauseKind
from tidegate.core.ports.usage_sink import SessionUsage, UsageQuery
from tidegate.identity.identify import Identifier, key_hash
from tidegate.settings import CallerSettings, Settings

CALLERS = (
    CallerSettings(name="web", team="shop", key_sha256=key_hash("web-key")),
    CallerSettings(name="boss", key_sha256=key_hash("boss-key"), admin=True),
)
NAMES = ("team", "caller", "model")
WEB = group(1_500_000, team="shop", caller="web", model="claude-haiku-5-5")
NIGHTLY = group(4_500_000, team="data", caller="nightly", model="claude-opus-5-5", refused=5)
NAMELESS = group(team="data", caller="nightly", model="", calls=1, waits=(0, 0, 0, 0, 0, 0))
SESSION = SessionUsage("data", "nightly", "s-1", NOW - 90, NOW - 60, 7, 1, 2, 3, 4, 3_000_000)
VOID = {"meta", "link", "input"}


class FakePauses:
    def all_pauses(self) -> list[Pause]:
        return [Pause(PauseKind.CALLER, "nightly", "ann", NOW - 60, "runs <away>")]


@pytest.fixture
def ledger() -> PageLedger:
    times = tuple(group(number * 1_000_000, day=NOW // DAY * DAY - number * DAY) for number in (1, 3))
    return PageLedger((NIGHTLY, WEB, NAMELESS), times, (SESSION,), {"refusals": {"deadline": 3, "budget": 2}})


@pytest.fixture
def services(ledger: PageLedger) -> Services:
    prices = [("the price list", date(2026, 10, 24))]
    return make_services(Settings(callers=CALLERS), ledger=ledger, pauses=FakePauses(), price_sources=prices)


def ask(services: Services, query: str = "", key: str | None = "boss-key", **headers: str) -> Answer:
    """Ask as a browser does: with the key as the password."""
    if key is not None:
        headers["authorization"] = "Basic " + base64.b64encode(f"anyone:{key}".encode()).decode()
    return asyncio.run(call(app_of(services), "GET", f"/usage{query}", headers=headers))


class Reader(HTMLParser):
    """Reads a page: its text, the cells of its tables by their captions, and whether every element ends."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.open: list[str] = []
        self.links: dict[str, str] = {}
        self.rows: dict[str, list[list[str]]] = {}
        self._caption = ""
        self._href: str | None = None
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows[self._caption].append([])
        if tag in {"th", "td"}:
            self.rows[self._caption][-1].append("")
        if tag == "a":
            self._href = dict(attrs)["href"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self.open and self.open[-1] == "caption":
            self._caption = data
            self.rows[data] = []
        elif "tr" in self.open and "title" not in self.open:
            self.rows[self._caption][-1][-1] += data
        if "a" in self.open and self._href is not None:
            self.links[data] = self._href


def read(answer: Answer) -> Reader:
    return Reader(answer.body.decode())


def test_an_admin_sees_the_figures_of_all_and_what_is_paused(services: Services, ledger: PageLedger) -> None:
    answer = ask(services)
    page = read(answer)
    text = "".join(page.text)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert ledger.queries == [UsageQuery(NOW - 7 * DAY, NOW + 1, NAMES)]
    for expected in (
        *("all callers: 11 Nov 2026, 11:06 – 18 Nov 2026, 11:06 UTC", "$6.00", "at list prices", "5", "24 % of calls"),
        *(
            "caller nightly since 18 Nov 2026, 11:05 UTC by ann: runs <away>",
            "Prices: the price list, read on 2026-10-24.",
        ),
    ):
        assert expected in text
    assert page.rows["By team"] == [
        ["Team", "", "Cost", "Share", "Calls", "Refused", "Input", "Cached", "Output"],
        ["data", "", "$4.50", "75 %", "11", "5", "2,000", "10 %", "100"],
        ["shop", "", "$1.50", "25 %", "10", "0", "1,000", "10 %", "50"],
    ]
    assert [row[0] for row in page.rows["By caller"]] == ["Caller", "nightly", "web"]
    assert [row[0] for row in page.rows["By model"]] == ["Model", "claude-opus-5-5", "claude-haiku-5-5", "none"]
    assert page.rows["Calls by their wait for quota"][1] == ["at most 0.1 s", "", "80 %", "16"]
    assert [row[0] for row in page.rows["Calls that Tidegate refused, by cause"]] == [
        *("Cause", "the wait would have been too long", "over budget"),
    ]
    assert page.rows["The most expensive of the last 30 days"][1][:2] == ["s-1", "nightly"]


def test_the_page_needs_nothing_but_its_style_and_allows_nothing_else(services: Services) -> None:
    answer = ask(services)
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == ("no-store", "nosniff")
    page = answer.body.decode()
    assert not re.search(r"<script|<style| style=| on\w+=|//", page.replace("<!doctype", ""))
    assert re.findall(r'<link [^>]*href="([^"]*)"', page) == ["usage/style.css"]
    style = asyncio.run(call(app_of(services), "GET", "/usage/style.css"))
    assert (style.status, style.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert b"url(" not in style.body
    assert b"@import" not in style.body


def test_what_is_left_of_budgets_is_shown_to_those_whom_they_concern(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    month = BudgetRule("monthly", BudgetUnit.USD, 500_000_000, Period.MONTH)
    each = BudgetRule("each", BudgetUnit.TOKENS, 100_000, each=Each.CALLER)
    found = [
        BudgetSnapshot(month, "", 123_000_000, 2_000_000, NOW + DAY),
        BudgetSnapshot(each, "web", 99_000, 6_000, None),
        *(BudgetSnapshot(each, f"c{number}", 0, 0, None) for number in range(20)),
    ]
    monkeypatch.setattr(services.store, "budgets_now", lambda: found)
    rows = read(ask(services)).rows["What is left now, the 20 with the least left of 22"]
    assert rows[:3] == [
        ["Budget", "", "Left", "Of", "Used", "Begins anew (UTC)"],
        ["each: web", "", "0", "100.0 k", "105 %", "never"],
        ["monthly", "", "$375.00", "$500.00", "25 %", "19 Nov 2026, 11:06"],
    ]
    own = read(ask(services, key="web-key")).rows["What is left now"]
    assert [row[0] for row in own] == ["Budget", "each: web", "monthly"]


def test_a_caller_sees_its_own_usage_only_whatever_it_asks_for(services: Services, ledger: PageLedger) -> None:
    page = read(ask(services, "?caller=nightly&team=data", key="web-key"))
    assert (ledger.queries[0].caller, ledger.queries[0].team) == ("web", None)
    assert "nightly" not in " ".join(page.text)
    assert "Paused now" not in page.text
    assert any("caller web:" in text for text in page.text)


@pytest.mark.parametrize("key", [None, "", "wrong", "wéb-key"])
def test_without_a_valid_key_the_browser_asks_for_one(key: str | None, services: Services) -> None:
    answer = ask(services, key=key)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Basic realm="Tidegate usage", charset="UTF-8"'
    assert answer.headers["x-tidegate-cause"] == "unauthenticated"
    assert "A key is needed" in read(answer).text


def test_a_malformed_password_is_no_key(services: Services) -> None:
    assert ask(services, key=None, authorization="Basic !!!").status == 401


def test_while_the_keys_are_not_known_the_page_says_so(services: Services) -> None:
    services.identifier = Identifier((), FakeKeyStore(is_used=None))
    answer = ask(services, key="anything")
    assert (answer.status, answer.headers["x-tidegate-cause"]) == (503, "ledger_unavailable")
    assert "the keys cannot be read from the ledger yet." in read(answer).text


def test_programs_send_the_key_as_to_any_route(services: Services) -> None:
    assert ask(services, key=None, **{"x-api-key": "boss-key"}).status == 200
    assert ask(services, key=None, authorization="Bearer boss-key").status == 200


def test_a_password_is_a_key_only_where_nothing_can_be_changed_or_spent(services: Services) -> None:
    headers = {"authorization": "Basic " + base64.b64encode(b"x:boss-key").decode()}
    app = app_of(services)
    statuses = {
        path: asyncio.run(call(app, method, path, headers=headers, body=body)).status
        for method, path, body in (
            ("GET", "/api/system/usage", None),
            ("GET", "/api/system/pauses", None),
            ("POST", "/api/system/reload", None),
            ("POST", "/api/workflows/generate", {"prompt": "x"}),
        )
    }
    assert list(statuses.values()) == [200, 401, 401, 401]


def test_an_open_service_shows_it_to_this_machine(ledger: PageLedger) -> None:
    assert ask(make_services(ledger=ledger), key=None).status == 200
    assert ask(make_services(ledger=ledger), key=None, host="evil.example").status == 403


def test_filters_and_periods_keep_each_other(services: Services, ledger: PageLedger) -> None:
    page = read(ask(services, "?since=30d&team=data&model="))
    assert ledger.queries == [UsageQuery(NOW - 30 * DAY, NOW + 1, NAMES, team="data")]
    assert page.links["90 days"] == "?since=90d&team=data"
    assert page.links["nightly"] == "?since=30d&team=data&caller=nightly"
    assert page.links["Show all"] == "?since=30d"
    assert {"shop", "web", "claude-haiku-5-5"} <= set(page.text), "the other names can still be chosen"
    assert [row[0] for row in page.rows["By team"]] == ["Team", "data"]


def test_links_keep_a_period_with_a_time_zone(services: Services) -> None:
    since = "2026-10-20T00%3A00%3A00%2B01%3A00"
    links = read(ask(services, f"?since={since}&team=data")).links
    assert links["Show all"] == f"?since={since}"
    assert links["CSV"] == f"api/system/usage?since={since}&by=caller&format=csv"


def test_names_that_clients_choose_cannot_become_markup(services: Services, ledger: PageLedger) -> None:
    evil = '"><script>alert(1)</script>'
    ledger.groups = (group(1, team=evil, caller=evil, model=evil),)
    ledger.expensive = (SessionUsage(evil, evil, evil, NOW, NOW, 1, 1, 1, 1, 1, 1),)
    answer = ask(services, "?since=7d&team=%22%3E%3Cscript%3E")
    assert b"<script" not in answer.body
    assert b"<script" not in ask(services).body
    assert evil in read(ask(services)).text


def test_an_empty_period_says_so(services: Services, ledger: PageLedger) -> None:
    ledger.groups = ()
    assert "No calls in this period" in read(ask(services)).text
    page = read(ask(services, "?model=claude-1"))
    assert "None with this team, caller and model. Choose another period above." in page.text
    assert "claude-1" in page.text


@pytest.mark.parametrize(
    ("changes", "query", "status", "title"),
    [
        ({"ledger": None}, "", 501, "There is no ledger"),
        ({"error": LedgerUnavailable("the disk is full")}, "", 503, "The ledger does not answer"),
        ({}, "?since=soon", 422, "This address is not understood"),
        ({}, "?since=2099-01-01", 422, "This address is not understood"),
    ],
)
def test_the_page_says_why_nothing_is_shown(
    changes: dict[str, Any], query: str, status: int, title: str, services: Services, ledger: PageLedger
) -> None:
    services.ledger = changes.get("ledger", ledger)
    ledger.error = changes.get("error")
    answer = ask(services, query)
    assert answer.status == status
    assert title in read(answer).text
    assert "content-security-policy" in answer.headers
    assert ("x-tidegate-cause" in answer.headers) == (status == 503)


@pytest.mark.parametrize(
    ("period", "unit", "bars"), [("24h", "hour", 25), ("7d", "day", 8), ("90d", "day", 91), ("400d", "week", 58)]
)
def test_bars_are_hours_days_or_weeks_also_without_usage(
    period: str, unit: str, bars: int, services: Services, ledger: PageLedger
) -> None:
    step = 3_600 if unit == "hour" else DAY
    end = NOW // step * step
    backs = range(401 if unit == "week" else bars)
    names: list[dict[str, Any]] = [{"hour" if unit == "hour" else "day": end - back * step} for back in backs]
    ledger.times = tuple(group(1_000_000, calls=2, **each) for each in names)
    page = read(ask(services, f"?since={period}"))
    assert len(page.rows[f"Per {unit}"]) - 1 == bars
    assert {row[1] for row in page.rows[f"Per {unit}"][2:]} == {"$7.00" if unit == "week" else "$1.00"}
    ledger.times = ()
    assert page.rows[f"Per {unit}"][0][0] == unit.title()
    assert len(read(ask(services, f"?since={period}")).rows[f"Per {unit}"]) == 1


def test_only_the_most_expensive_rows_are_shown(services: Services, ledger: PageLedger) -> None:
    ledger.groups = tuple(group(number, team="t", caller=f"c{number:02}", model="m") for number in range(30))
    page = read(ask(services))
    rows = page.rows["By caller, the 20 most expensive of 30"]
    assert (len(rows), rows[1][0], rows[-1][0]) == (21, "c29", "c10")


def test_the_bars_of_centuries_begin_with_the_first_usage(services: Services) -> None:
    page = read(ask(services, "?since=0001-01-01"))
    assert "1 Jan 1, 00:00" in "".join(page.text)
    assert [row[0] for row in page.rows["Per week"][1:]] == ["15 Nov"]


def test_usage_without_a_price_is_shared_by_calls(services: Services, ledger: PageLedger) -> None:
    ledger.groups = tuple(group(0, calls=calls, team=f"t{calls}", caller="c", model="m") for calls in (1, 3))
    ledger.changes = {"unpriced_tokens": 12_345, "waits": (0,) * 6}
    page = read(ask(services))
    assert [row[3] for row in page.rows["By team"][1:]] == ["75 %", "25 %"]
    assert "12.3 k tokens of models without a known price are not in the cost." in page.text
    assert "Waits" not in page.text
    assert "Refusals" not in page.text


def test_sessions_are_listed_for_programs_as_well(services: Services) -> None:
    def sessions(key: str) -> Answer:
        path = "/api/system/usage/sessions?since=7d&limit=5"
        return asyncio.run(call(app_of(services), "GET", path, headers={"x-api-key": key}))

    answer = sessions("boss-key")
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["sessions"] == [
        {
            "session": "s-1",
            "caller": "nightly",
            "team": "data",
            "answers": 7,
            "cost_usd": 3.0,
            "first_at": "2026-11-18T11:05:10+00:00",
            "last_at": "2026-11-18T11:05:40+00:00",
            "tokens": {"input": 1, "output": 2, "cache_read": 3, "cache_creation": 4},
        }
    ]
    assert sessions("web-key").json() == {"sessions": []}
    services.ledger = None
    assert sessions("boss-key").status == 501
