"""`/api/system/pauses` and `/api/system/audit`, with a ledger in SQLite."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.api_services import app_of, make_services
from support.asgi_client import Answer, call
from tidegate.api.services import Services
from tidegate.identity.identify import Identifier, key_hash
from tidegate.ledger.access.pauses import LedgerPauses
from tidegate.ledger.audit import Audit
from tidegate.ledger.database import Database
from tidegate.settings import CallerSettings, Settings
from tidegate.settings.known_names import is_configured

PAUSES, AUDIT = "/api/system/pauses", "/api/system/audit"


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    database = Database.in_folder(tmp_path)
    caller = CallerSettings(name="web", team="shop", key_sha256=key_hash("web-key"))
    settings = Settings(admin_key="root-key", callers=(caller,))
    made = make_services(settings, identifier=Identifier(settings.callers))
    made.pauses = LedgerPauses(
        database, lambda kind, name: is_configured(settings, kind, name), wall_seconds=made.clock.wall_seconds
    )
    made.audit = Audit(database, made.clock.wall_seconds)
    yield made
    database.close()


def ask(services: Services, method: str, path: str = PAUSES, body: Any = None, key: str = "root-key") -> Answer:
    return asyncio.run(call(app_of(services), method, path, body=body, headers={"x-api-key": key}))


def test_a_pause_is_made_listed_ended_and_recorded(services: Services) -> None:
    made = ask(services, "POST", body={"kind": "caller", "name": "web", "reason": " runs away "})
    assert made.status == 201
    expected = {"kind": "caller", "name": "web", "by": "the admin key", "reason": "runs away"}
    assert made.json().items() >= expected.items()
    assert ask(services, "GET").json() == {"pauses": [made.json()]}
    assert ask(services, "DELETE", f"{PAUSES}/caller/web").json() == made.json()
    assert ask(services, "GET").json() == {"pauses": []}
    changes = ask(services, "GET", f"{AUDIT}?since=1d").json()["changes"]
    assert {(each["who"], each["action"], each["target"]) for each in changes} == {
        ("the admin key", "resume", "caller web"),
        ("the admin key", "pause", "caller web"),
    }


@pytest.mark.parametrize("name", ["sonnet-5-5", "models"])
def test_pools_and_teams_of_the_configuration_can_be_paused_before_they_have_usage(
    name: str, services: Services
) -> None:
    assert ask(services, "POST", body={"kind": "pool", "name": name}).status == 201
    assert ask(services, "POST", body={"kind": "team", "name": "shop"}).status == 201


@pytest.mark.parametrize("name", ["ann@example.com", "main/fix-1"])
def test_a_session_is_paused_by_the_name_that_the_queue_gives_it(name: str, services: Services) -> None:
    made = ask(services, "POST", body={"kind": "session", "name": name}).json()
    assert len(made["name"]) == 32
    assert ask(services, "DELETE", f"{PAUSES}/session/{name}").json() == made


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "caller", "name": "wep"}, "name"),
        ({"kind": "galaxy", "name": "web"}, "kind"),
        ({"kind": "caller", "name": ""}, "name"),
        ({"kind": "caller", "name": "web", "reason": "x" * 501}, "reason"),
        ({"kind": "caller", "name": "web", "reason": "a\nresumed caller web"}, "reason"),
        ({"kind": "caller", "name": "web", "reason": "\x1b[2J"}, "reason"),
        ({"kind": "caller", "name": "web", "until": "noon"}, "until"),
    ],
)
def test_a_faulty_value_is_refused_with_its_field(body: dict[str, Any], field: str, services: Services) -> None:
    answer = ask(services, "POST", body=body)
    assert (answer.status, answer.json()["errors"][0]["field"]) == (422, field)


def test_changes_of_a_time_that_ends_before_it_begins_are_refused(services: Services) -> None:
    answer = ask(services, "GET", f"{AUDIT}?since=1d&until=2d")
    assert (answer.status, answer.json()["errors"][0]["field"]) == (422, "since")


def test_only_admins_pause_and_read_what_was_changed(services: Services) -> None:
    for method, path in (("GET", PAUSES), ("POST", PAUSES), ("DELETE", f"{PAUSES}/caller/web"), ("GET", AUDIT)):
        assert ask(services, method, path, key="web-key").status == 403
    services.pauses = services.audit = None
    for method, path in (("GET", PAUSES), ("DELETE", f"{PAUSES}/caller/web"), ("GET", AUDIT)):
        answer = ask(services, method, path)
        assert answer.status == 501
        assert "TIDEGATE_STATE_DIR" in answer.json()["detail"]


def test_a_changed_limit_is_recorded_with_its_values_before_and_after(services: Services) -> None:
    configure = "/api/system/rate-limiting/configure"
    assert ask(services, "POST", configure, {"requests_per_minute": 15}).status == 200
    assert ask(services, "POST", configure, {"requests_per_minute": 15}).status == 200  # changes nothing
    assert ask(services, "POST", configure, {"pool": "sonnet-5-5", "requests_per_minute": 100}).status == 200
    assert isinstance(services.audit, Audit)
    services.audit.write()
    changes = ask(services, "GET", f"{AUDIT}?limit=5").json()["changes"]
    assert {(each["target"], str(each["before"]), str(each["after"])) for each in changes} == {
        ("pool default", "{'requests_per_minute': 20}", "{'requests_per_minute': 15}"),
        ("pool sonnet-5-5", "{'requests_per_minute': None}", "{'requests_per_minute': 100}"),
    }
