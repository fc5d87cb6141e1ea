"""`/api/system/keys`, with a ledger in SQLite."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.api_services import app_of, make_services
from support.asgi_client import Answer, call
from tidegate.api.app import create_app
from tidegate.api.services import Services
from tidegate.identity.access import AccessRules
from tidegate.identity.identify import Identifier, key_hash, new_key
from tidegate.ledger.access.key_administration import Keys
from tidegate.ledger.access.key_cache import KeyCache
from tidegate.ledger.database import Database
from tidegate.settings import CallerSettings, Settings

KEYS = "/api/system/keys"
NOW = 1_795_000_000


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    database = Database.in_folder(tmp_path)
    store = KeyCache(database, lambda: NOW)
    store.refresh()
    settings = Settings(admin_key="root-key", callers=(CallerSettings(name="old", key_sha256=key_hash("old-key")),))
    yield make_services(
        settings,
        identifier=Identifier(settings.callers, store),
        access=AccessRules.of(settings, key_store=store),
        key_store=store,
        keys=Keys(database, new_key, store.refresh, lambda: NOW),
    )
    database.close()


def ask(services: Services, method: str, path: str = KEYS, body: Any = None, key: str = "root-key") -> Answer:
    return asyncio.run(call(app_of(services), method, path, body=body, headers={"x-api-key": key}))


def create(services: Services, **body: Any) -> dict[str, Any]:
    answer = ask(services, "POST", body={"name": "web", **body})
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.json()
    return made


def test_a_created_key_works_at_once_and_is_never_shown_again(services: Services) -> None:
    made = create(services, team="shop", expires="30d", models=["claude-haiku-5-5"])
    assert made["expires_at"] == NOW + 30 * 86_400
    assert ask(services, "GET", "/api/system/queue", key=made["key"]).status == 200
    listed = ask(services, "GET")
    assert made["key"] not in listed.body.decode()
    assert key_hash(made["key"]) not in listed.body.decode()
    assert listed.json()["keys"] == [
        {
            "id": made["id"],
            "caller": "web",
            "team": "shop",
            "role": "caller",
            "state": "valid",
            "created_at": NOW,
            "created_by": "the admin key",
            "expires_at": NOW + 30 * 86_400,
            "revoked_at": None,
        }
    ]


def test_rotation_revocation_and_expiry(services: Services) -> None:
    old = create(services)
    new = ask(services, "POST", f"{KEYS}/web/rotate", {"grace": "1h"}).json()
    assert (new["old_key"], new["old_valid_until"]) == (old["id"], NOW + 3_600)
    assert [ask(services, "GET", "/api/system/queue", key=each["key"]).status for each in (old, new)] == [200, 200]
    assert ask(services, "POST", f"{KEYS}/{new['id']}/expire", {"at": "2d"}).json()["expires_at"] == NOW + 2 * 86_400
    ended = ask(services, "DELETE", f"{KEYS}/{old['id']}").json()["keys"]
    assert [(each["id"], each["state"]) for each in ended] == [(old["id"], "revoked")]
    assert ask(services, "GET", "/api/system/queue", key=old["key"]).status == 401


def test_the_usual_grace_of_a_rotation_is_a_week(services: Services) -> None:
    create(services)
    assert ask(services, "POST", f"{KEYS}/web/rotate").json()["old_valid_until"] == NOW + 7 * 86_400


def test_an_admin_of_the_ledger_administers_and_is_named_as_the_author(services: Services) -> None:
    boss = create(services, name="boss", role="admin")
    assert ask(services, "POST", body={"name": "nightly"}, key=boss["key"]).status == 201
    authors = {each["caller"]: each["created_by"] for each in ask(services, "GET").json()["keys"]}
    assert authors == {"boss": "the admin key", "nightly": "boss"}


@pytest.mark.parametrize("role", ["caller", "viewer"])
def test_nobody_else_administers_keys(role: str, services: Services) -> None:
    key = create(services, role=role)["key"]
    assert [ask(services, "GET", key=each).status for each in (key, "old-key", "x")] == [403, 403, 403]
    assert ask(services, "DELETE", f"{KEYS}/web", key=key).status == 403


def test_a_viewer_reads_the_state_but_generates_nothing(services: Services) -> None:
    key = create(services, role="viewer")["key"]
    assert ask(services, "GET", "/api/system/rate-limiting/status", key=key).status == 200
    answer = ask(services, "POST", "/api/workflows/generate", {"prompt": "x"}, key=key)
    assert (answer.status, answer.headers["x-tidegate-cause"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "no spaces"}, "name"),
        ({"name": "old"}, "name"),
        ({"name": "web", "role": "king"}, "role"),
        ({"name": "web", "weight": 0}, "weight"),
        ({"name": "web", "expires": "yesterday"}, "expires"),
        ({"name": "web", "expires": "2020-01-01"}, "expires"),
        ({"name": "web", "colour": "red"}, "colour"),
        ({"name": "web\n"}, "name"),
        ({"name": "web", "models": ["m", "m"]}, "models"),
    ],
)
def test_a_faulty_value_is_refused_with_its_field(body: dict[str, Any], field: str, services: Services) -> None:
    answer = ask(services, "POST", body=body)
    assert (answer.status, answer.json()["errors"][0]["field"]) == (422, field)
    assert ask(services, "GET").json()["keys"] == []


def test_an_unknown_key_or_caller_is_refused(services: Services) -> None:
    assert ask(services, "DELETE", f"{KEYS}/nobody").status == 422
    assert ask(services, "POST", f"{KEYS}/nobody/rotate", {}).status == 422


def test_without_a_ledger_the_answer_says_how_to_get_one() -> None:
    answer = asyncio.run(call(create_app(make_services()), "GET", KEYS))
    assert (answer.status, answer.json()["detail"].count("TIDEGATE_STATE_DIR")) == (501, 1)
