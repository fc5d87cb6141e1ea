"""`/api/system/usage`: who may ask what, and the forms of the answer."""

import asyncio
import csv
import io
import threading

import pytest

from support.api_services import app_of, make_services
from support.asgi_client import Answer, call
from tidegate.api.routes import ledger_calls
from tidegate.api.routes.ledger_calls import LedgerCalls
from tidegate.api.services import Services
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import LedgerUnavailable, Refusal
from tidegate.core.ports.usage_sink import SinkStatus, UsageGroup, UsageQuery, UsageReport
from tidegate.core.pricing.price_list import PriceList
from tidegate.identity.identify import key_hash
from tidegate.settings import CallerSettings, Settings

NOW = 1_795_000_000
CALLERS = (
    CallerSettings(name="web", key_sha256=key_hash("web-key")),
    CallerSettings(name="boss", key_sha256=key_hash("boss-key"), admin=True),
)
WEB = UsageGroup({"caller": "web"}, 5, 2, 1, 100, 20, 300, 0, 1_500_000, 7, (3, 0, 0, 1, 0, 0), {"deadline": 2})
FORMULA = UsageGroup({"caller": "=1+1"}, 1, 0, 0, 1, 1, 0, 0, 25, 0, (1, 0, 0, 0, 0, 0), {})
TOTAL = UsageGroup({}, 6, 2, 1, 101, 21, 300, 0, 1_500_025, 7, (4, 0, 0, 1, 0, 0), {"deadline": 2})


class FakeLedger:
    """Answers with two groups, or raises an error."""

    handlers = ()

    def __init__(self) -> None:
        self.queries: list[UsageQuery] = []
        self.error: Exception | None = None

    def status(self) -> SinkStatus:
        return SinkStatus(up=True, unwritten_seconds=0, failures=0, lost=0)

    def check(self) -> None:
        raise Refusal(Cause.LEDGER_UNAVAILABLE, "the ledger cannot record usage now")

    def report(self, query: UsageQuery) -> UsageReport:
        self.queries.append(query)
        if self.error is not None:
            raise self.error
        return UsageReport((WEB, FORMULA), TOTAL)


@pytest.fixture
def ledger() -> FakeLedger:
    return FakeLedger()


@pytest.fixture
def services(ledger: FakeLedger) -> Services:
    return make_services(Settings(callers=CALLERS), ledger=ledger, price_sources=PriceList.bundled().sources)


def ask(services: Services, query: str = "", key: str = "boss-key", **headers: str) -> Answer:
    path = f"/api/system/usage{query}"
    return asyncio.run(call(app_of(services), "GET", path, headers={"x-api-key": key, **headers}))


def test_the_answer_has_sums_by_group_their_total_and_where_prices_are_from(
    services: Services, ledger: FakeLedger
) -> None:
    answer = ask(services)
    assert answer.status == 200
    body = answer.json()
    assert ledger.queries == [UsageQuery(NOW - 7 * 86_400, NOW + 1, ("caller",))]
    assert (body["since"], body["by"]) == ("2026-11-11T11:06:40+00:00", ["caller"])
    assert body["groups"][0] == {
        "caller": "web",
        "calls": 5,
        "refused": 2,
        "failed": 1,
        "tokens": {"input": 100, "output": 20, "cache_read": 300, "cache_creation": 0},
        "cost_usd": 1.5,
        "unpriced_tokens": 7,
        "cache_share": 0.75,
        "waits": {"0.1": 3, "1": 0, "10": 0, "60": 1, "600": 0, "longer": 0},
        "refusals": {"deadline": 2},
    }
    assert (body["total"]["calls"], body["total"]["cost_usd"]) == (6, 1.500025)
    assert body["prices"][0]["read_on"] == PriceList.bundled().sources[0][1].isoformat()


@pytest.mark.parametrize(("query", "headers"), [("?format=csv", {}), ("", {"accept": "text/csv"})])
def test_the_table_has_a_line_for_each_group_and_no_formula(
    query: str, headers: dict[str, str], services: Services
) -> None:
    answer = ask(services, query, **headers)
    assert answer.headers["content-type"].startswith("text/csv")
    for shown in (answer, ask(services)):
        assert shown.headers["x-content-type-options"] == "nosniff"
        assert shown.headers["cross-origin-resource-policy"] == "same-origin"
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [row["caller"] for row in rows] == ["web", "'=1+1"]
    assert (rows[0]["cost_usd"], rows[0]["waited_60"], rows[0]["refused_deadline"]) == ("1.500000", "1", "2")
    assert (rows[1]["cost_usd"], rows[1]["refused_deadline"]) == ("0.000025", "0")


def test_the_key_of_a_caller_sees_this_caller_only(services: Services, ledger: FakeLedger) -> None:
    assert ask(services, "?by=hour,model&since=2026-11-01&until=1d", key="web-key").status == 200
    assert ledger.queries == [UsageQuery(1_793_491_200, NOW - 86_400, ("hour", "model"), "web")]


def test_without_a_key_nothing_is_shown(services: Services, ledger: FakeLedger) -> None:
    assert ask(services, key="").status == 401
    assert ledger.queries == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?by=secret", "by"),
        ("?by=caller,caller", "by"),
        ("?by=caller,team,model,pool", "by"),
        ("?since=tomorrow", "since"),
        ("?until=0h", "until"),
        ("?since=1d&until=2d", "since"),
        ("?format=xml", "format"),
    ],
)
def test_a_faulty_question_is_refused_with_the_field(query: str, field: str, services: Services) -> None:
    answer = ask(services, query)
    assert (answer.status, answer.json()["errors"][0]["field"]) == (422, field)


def test_without_a_ledger_the_answer_says_how_to_get_one() -> None:
    answer = ask(make_services(), key="")
    assert (answer.status, answer.json()["detail"].count("TIDEGATE_STATE_DIR")) == (501, 1)


def test_while_the_database_fails_the_answer_is_an_error_that_may_be_retried(
    services: Services, ledger: FakeLedger
) -> None:
    ledger.error = LedgerUnavailable("database is locked")
    answer = ask(services)
    assert (answer.status, answer.headers["x-tidegate-cause"]) == (503, "ledger_unavailable")
    assert (answer.headers["retry-after"], answer.json()["detail"]) == ("5", "database is locked")


def test_generations_need_the_ledger_as_well(services: Services) -> None:
    path = "/api/workflows/generate"
    answer = asyncio.run(call(app_of(services), "POST", path, body={"prompt": "x"}, headers={"x-api-key": "web-key"}))
    assert (answer.status, answer.headers["x-tidegate-cause"]) == (503, "ledger_unavailable")


def test_a_database_that_hangs_holds_up_few_threads_and_no_call_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_calls, "_SECONDS", 0.05)
    answers = threading.Event()

    async def work() -> None:
        calls = LedgerCalls()
        hanging = await asyncio.gather(*(calls.run(answers.wait) for _ in range(5)), return_exceptions=True)
        assert [str(each) for each in hanging] == [
            *["the database of the ledger does not answer in time"] * 4,
            "too many requests to the ledger wait for its database",
        ]
        answers.set()
        while True:
            try:
                assert await calls.run(lambda: 3) == 3
                break
            except LedgerUnavailable:
                await asyncio.sleep(0.01)

    asyncio.run(work())
