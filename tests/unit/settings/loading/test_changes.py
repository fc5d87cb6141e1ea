"""The changes between two configurations, and the part of them that a reload can apply."""

from typing import Any

import pytest

from tidegate.settings import Settings
from tidegate.settings.loading.changes import NEEDS_RESTART, RELOADABLE, Change, changes_between, reloaded

HASHES = {name: f"{number:064x}" for number, name in enumerate(("ann", "ben", "new"))}


def caller(name: str, **values: Any) -> dict[str, Any]:
    return {"name": name, "key_sha256": HASHES[name], **values}


def settings(**values: Any) -> Settings:
    return Settings.model_validate(values)


def test_every_setting_either_reloads_or_is_named_as_needing_a_restart() -> None:
    assert set(Settings.model_fields) == RELOADABLE | NEEDS_RESTART, "a new setting belongs into one of the two sets"
    assert not RELOADABLE & NEEDS_RESTART


def test_equal_settings_have_no_changes() -> None:
    same = {"callers": [caller("ann"), caller("ben")], "admin_key": "secret"}
    swapped = {"callers": [caller("ben"), caller("ann")], "admin_key": "secret"}
    assert changes_between(settings(**same), settings(**swapped)) == []


def test_a_value_is_shown_before_and_after() -> None:
    changes = changes_between(settings(log_level="info"), settings(log_level="debug", max_calls_per_caller=3))
    assert [change.as_json() for change in changes] == [
        {"setting": "log_level", "change": "changed", "before": "info", "after": "debug"},
        {"setting": "max_calls_per_caller", "change": "changed", "before": None, "after": 3},
    ]
    assert [change.text for change in changes] == ["log_level 'info' → 'debug'", "max_calls_per_caller not set → 3"]


@pytest.mark.parametrize(
    ("before", "after", "kind"), [(None, "xqzv", "added"), ("xqzv", None, "removed"), ("xqzv", "xqzv2", "changed")]
)
def test_a_secret_is_never_shown(before: str | None, after: str | None, kind: str) -> None:
    for name in ("admin_key", "anthropic_api_key"):
        (change,) = changes_between(settings(**{name: before}), settings(**{name: after}))
        assert change.as_json() == {"setting": name, "change": kind}
        assert change.text == f"{name} {kind}"
        assert "xqzv" not in repr(change)


def test_callers_are_named_and_their_hashes_are_not_shown() -> None:
    before = settings(callers=[caller("ann", weight=2), caller("ben")])
    after = settings(callers=[caller("new"), {**caller("ann", priority="batch", models=["m"]), "key_sha256": "f" * 64}])
    changes = changes_between(before, after)
    assert [change.as_json() for change in changes] == [
        {"setting": "callers.ann.key_sha256", "change": "changed"},
        {"setting": "callers.ann.weight", "change": "changed", "before": 2.0, "after": 1.0},
        {"setting": "callers.ann.priority", "change": "changed", "before": "standard", "after": "batch"},
        {"setting": "callers.ann.models", "change": "changed", "before": None, "after": ["m"]},
        {"setting": "callers.ben", "change": "removed"},
        {"setting": "callers.new", "change": "added"},
    ]
    assert changes[2].text == "callers.ann.priority 'standard' → 'batch'"
    assert not any("f" * 64 in repr(change) for change in changes)


def test_pools_are_named() -> None:
    before = settings(pools=[{"name": "opus-4", "requests_per_minute": 5}])
    after = settings(pools=[{"name": "opus-4"}, {"name": "files"}])
    assert [change.text for change in changes_between(before, after)] == [
        "pools.files added",
        "pools.opus-4.requests_per_minute 5.0 → auto",
    ]


def test_a_setting_that_needs_a_restart_stays_as_it_is() -> None:
    before = settings(port=1, max_calls=10)
    after = settings(port=2, max_calls=20)
    in_effect = reloaded(before, after)
    assert (in_effect.port, in_effect.max_calls) == (1, 20)
    assert [change.needs_restart for change in changes_between(before, after)] == [True, False]
    (pending,) = changes_between(in_effect, after)
    assert pending == Change("port", "changed", "port 1 → 2", (1, 2), needs_restart=True), "each reload names it"
