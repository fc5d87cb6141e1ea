"""Reloads: every reloadable setting reaches the running parts, all at once or not at all."""

import asyncio
import contextlib
import io
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.api_services import make_services
from support.asgi_client import call
from tidegate.api.app import create_app
from tidegate.api.services import Services
from tidegate.cli.composition.part_settings import connection_limits
from tidegate.cli.composition.reloading import Reloader
from tidegate.cli.composition.services import services
from tidegate.core.domain.errors import ConfigurationError
from tidegate.identity.identify import key_hash
from tidegate.ledger.audit import Audit
from tidegate.ledger.database import Database
from tidegate.observe.logging.request_log import RequestLog
from tidegate.rate_limiter import RateLimitConfig
from tidegate.settings import Settings, load_settings
from tidegate.settings.loading.changes import NEEDS_RESTART, RELOADABLE

CALLER = {"name": "web", "key_sha256": key_hash("web"), "weight": 3, "priority": "batch", "max_concurrent": 4}
START: dict[str, Any] = {"anthropic_api_key": "sk-first"}
OTHER: dict[str, Any] = {
    "callers": [CALLER],
    "admin_key": "the-admin",
    "trusted_proxies": ["10.0.0.0/8"],
    "open_metrics_and_docs": True,
    "anthropic_api_key": "sk-second",
    "model": "claude-opus-4-8",
    "fallback_model": "claude-opus-5-5",
    "pools": [{"name": "files", "requests_per_minute": 5}],
    "pool_burst_seconds": 7,
    "pool_requests_per_minute": 70,
    "pool_input_tokens_per_minute": 700,
    "pool_output_tokens_per_minute": 77,
    "log_level": "warning",
    "budgets": [{"name": "web-day", "caller": "web", "limit": 3, "per": "day"}],
}
"""Other values; for all other settings, numbers are made."""
READ_WHERE_USED = {"drain_notice_seconds", "drain_seconds", "max_body_bytes"}
"""Settings that no part holds: they are read from `Services.settings` each time."""
NO_ORDER = ("pool_burst_seconds",)
"""Settings that only have an effect together with others, which come first."""


def other(name: str) -> Any:
    if name in OTHER:
        return OTHER[name]
    value = getattr(Settings(), name)
    return 11 if value is None else value + 1


def state_of(parts: Services, log: RequestLog) -> dict[str, Any]:
    """Everything in the parts that depends on reloadable settings."""
    assert isinstance(parts.reloader, Reloader)
    running = parts.reloader._prepare[0].__self__  # type: ignore[attr-defined]
    access = {name: value for name, value in vars(parts.access).items() if name not in {"proxies", "_key_store"}}
    gateway, receiver, transport = running.gateway, running.gateway._receiver, running.transport
    return {
        "read": {name: getattr(parts.settings, name) for name in READ_WHERE_USED},
        "callers": running.identifier._configured,
        "labels": (set(running.metrics._callers.own), running.metrics._models.own, running.metrics._classes),
        "access": (access, parts.access.proxies.trusts("10.1.1.1")),
        "limits": (gateway._limits, gateway._context.limits, gateway._default_timeout_ns, gateway._upstream_key.value),
        "caps": (gateway._caps._max_calls, gateway._caps._max_calls_per_caller),
        "bytes": (gateway._caps._max_bytes, gateway._caps._max_bytes_per_caller),
        "receiver": (receiver._default_timeout_seconds, receiver._comment_seconds, receiver._stream_wait_seconds),
        "transport": (transport._timeouts, transport._max_connections, transport._slots),
        "generation": (running.ai_client.status(), running.ai_client._key),
        "limiter": (running.limiter.config, running.limiter.initial_config),
        "pools": [running.store.settings_now(name) for name in ("default", "files", "count_tokens", "sonnet-5-5")],
        "log": (log.is_enabled, logging.getLogger("tidegate").level),
        "connections": connection_limits(parts.settings),
        "budgets": [each.rule for each in parts.store.budgets_now()],
        "budget rules": running.budgets and running.budgets._rules,
    }


class Source:
    """The configuration to load."""

    def __init__(self) -> None:
        self.values = dict(START)

    def load(self) -> Settings:
        return Settings.model_validate(self.values)


@contextlib.asynccontextmanager
async def running(source: Source, log: RequestLog) -> AsyncIterator[Services]:
    settings = source.load()
    log.set_level(settings.log_level)
    async with services(settings, "claude", log, load=source.load) as parts:
        yield parts


@pytest.fixture
def log() -> RequestLog:
    return RequestLog(io.StringIO(), str)


def test_every_reloadable_setting_reaches_the_parts_as_if_the_service_was_started_with_it(
    log: RequestLog, tmp_path: Path
) -> None:
    async def main() -> None:
        source = Source()
        source.values["state_dir"] = str(tmp_path)
        async with running(source, log) as parts:
            assert parts.reloader is not None
            before = state_of(parts, log)
            for name in sorted(RELOADABLE, key=lambda name: (name in NO_ORDER, "max_delay" not in name, name)):
                source.values[name] = other(name)
                changes = await parts.reloader.reload("ops")
                assert {change.setting.partition(".")[0] for change in changes} == {name}
                after = state_of(parts, log)
                assert after != before, f"{name} has no effect"
                before = after
        async with running(source, log) as parts:
            fresh = state_of(parts, log)
        names = ("labels",)  # labels are not forgotten
        assert {name: fresh[name] for name in fresh if name not in names} == {
            name: before[name] for name in before if name not in names
        }

    asyncio.run(main())


def test_changes_by_a_reload_are_recorded_with_their_author(log: RequestLog, tmp_path: Path) -> None:
    async def main() -> None:
        source = Source()
        with contextlib.closing(Database.in_folder(tmp_path)) as database:
            async with running(source, log) as parts:
                trail = parts.audit = Audit(database)
                assert parts.reloader is not None
                await parts.reloader.reload("ops")  # changes nothing
                source.values["max_calls"] = other("max_calls")
                await parts.reloader.reload("ops")
                trail.write()
                (entry,) = trail.entries(0, 2**40, 10)
                assert (entry.who, entry.action) == ("ops", "reload")
                changed = [change["setting"] for change in entry.after["changes"]]  # type: ignore[attr-defined]
                assert changed == ["max_calls"]

    asyncio.run(main())


def test_a_setting_that_needs_a_restart_is_named_at_each_reload_and_has_no_effect(log: RequestLog) -> None:
    async def main() -> None:
        source = Source()
        async with running(source, log) as parts:
            before = state_of(parts, log)
            source.values |= {"port": 1, "upstream_url": "http://127.0.0.1:1", "log_format": "console"}
            assert parts.reloader is not None
            for _ in range(2):
                changes = await parts.reloader.reload("ops")
                assert {change.setting for change in changes} == {"port", "upstream_url", "log_format"} <= NEEDS_RESTART
                assert all(change.needs_restart for change in changes)
            assert state_of(parts, log) == before
            assert parts.settings == Settings.model_validate(START)

    asyncio.run(main())


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_calls": 0},
        {"host": "0.0.0.0"},  # noqa: S104 - refused
        {"metrics_host": "0.0.0.0", "metrics_port": 1},  # noqa: S104 - as above
        {"rate_limit_base_delay_seconds": 20},
        {"prices": "/nowhere"},
        {"ledger": "required"},
    ],
)
def test_nothing_changes_if_any_value_is_wrong(
    wrong: dict[str, Any], log: RequestLog, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        source = Source()
        async with running(source, log) as parts:
            assert isinstance(parts.reloader, Reloader)
            parts.rate_limiter.update_config(RateLimitConfig(max_delay=10), by="ops")
            before = state_of(parts, log)
            source.values |= {"callers": [CALLER], "model": "claude-opus-4-8", **wrong}
            if {"host", "metrics_host"} & set(wrong):
                source.values["callers"] = []
            with pytest.raises(ValueError, match=r"."):
                await parts.reloader.reload("ops")
            await parts.reloader.reload_on_signal()
            assert state_of(parts, log) == before
            assert parts.settings == Settings.model_validate(START)

    with caplog.at_level("ERROR", "tidegate.reload"):
        asyncio.run(main())
    assert [record.getMessage().partition(":")[0] for record in caplog.records][-1] == (
        "reload failed, the old configuration stays"
    )


def test_a_service_that_is_open_to_others_cannot_lose_its_callers(log: RequestLog) -> None:
    async def main() -> None:
        source = Source()
        source.values |= {"host": "0.0.0.0", "callers": [CALLER]}  # noqa: S104 - nothing is bound
        async with running(source, log) as parts:
            assert parts.reloader is not None
            source.values |= {"host": "127.0.0.1", "callers": []}
            with pytest.raises(ConfigurationError, match="TIDEGATE_HOST"):
                await parts.reloader.reload("ops")

    asyncio.run(main())


class TestTheRoute:
    def test_it_names_each_fault_of_a_broken_file(self, tmp_path: Path) -> None:
        file = tmp_path / "tidegate.toml"
        file.write_text("port = -1\nmax_calls = 0", encoding="utf-8")
        parts = make_services()
        parts.reloader = Reloader(lambda: load_settings({}, file).settings, parts)
        answer = asyncio.run(call(create_app(parts), "POST", "/api/system/reload"))
        assert answer.status == 422
        assert {each["field"] for each in answer.json()["errors"]} == {f"{file}: port", f"{file}: max_calls"}

    def test_it_shows_no_secret(self) -> None:
        parts = make_services()
        new = Settings.model_validate({"anthropic_api_key": "xqzv", "max_calls": 3, "port": 9})
        parts.reloader = Reloader(lambda: new, parts)
        answer = asyncio.run(call(create_app(parts), "POST", "/api/system/reload")).json()
        assert answer == {
            "changes": [
                {"setting": "anthropic_api_key", "change": "added"},
                {"setting": "max_calls", "change": "changed", "before": 10_000, "after": 3},
            ],
            "needs_restart": [{"setting": "port", "change": "changed", "before": 8080, "after": 9}],
        }
        assert "xqzv" not in json.dumps(answer)

    def test_it_is_for_admins(self) -> None:
        parts = make_services(Settings.model_validate({"callers": [CALLER], "admin_key": "the-admin"}))
        parts.reloader = Reloader(lambda: parts.settings, parts)
        app = create_app(parts)
        statuses = [
            asyncio.run(call(app, "POST", "/api/system/reload", headers=headers)).status
            for headers in ({}, {"x-api-key": "web"}, {"x-api-key": "the-admin"})
        ]
        assert statuses == [401, 403, 200]

    def test_a_service_without_a_configuration_says_so(self) -> None:
        assert asyncio.run(call(create_app(make_services()), "POST", "/api/system/reload")).status == 501


def test_reloads_at_the_same_time_come_one_after_the_other(log: RequestLog) -> None:
    async def main() -> list[int]:
        source = Source()
        async with running(source, log) as parts:
            assert parts.reloader is not None
            source.values["max_calls"] = 7
            return [len(changes) for changes in await asyncio.gather(*[parts.reloader.reload("ops") for _ in range(3)])]

    assert asyncio.run(main()) == [1, 0, 0]


def test_an_unexpected_error_is_logged_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def load() -> Settings:
        raise RuntimeError("unexpected")

    parts = make_services()

    async def main() -> None:
        await Reloader(load, parts).reload_on_signal()

    asyncio.run(main())
    assert "reload failed, the old configuration stays" in caplog.text
    assert parts.settings == Settings()
