"""`tidegate pause`, `resume`, `paused` and `audit` on a ledger in SQLite."""

import json
from pathlib import Path

import pytest

from support.command_line import run
from tidegate.core.domain.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _state_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("STATE_DIRECTORY", "TIDEGATE_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIDEGATE_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("USER", "ann")
    monkeypatch.setenv("LOGNAME", "ann")


def test_a_pause_is_listed_until_it_ends_and_both_are_audited() -> None:
    assert run("paused").output == "nothing is paused\n"
    assert run("keys", "create", "web", "--team", "shop").exit_code == 0
    assert run("pause", "caller", "web", "--reason", "runs away").output == "paused caller web\n"
    assert run("pause", "session", "ann@example.com").output.startswith("paused session ")
    listed = run("paused").output.splitlines()
    assert any(
        line.startswith("caller web  since 20") and line.endswith("by ann (command line): runs away") for line in listed
    )
    assert run("resume", "caller", "web").output.startswith("resumed caller web, paused since 20")
    assert len(run("paused").output.splitlines()) == 1
    lines = run("audit", "--since", "1d").output.splitlines()
    assert [line for line in lines if "  pause  caller web  " in line and 'reason - → "runs away"' in line]
    assert len(lines) == 4
    first = json.loads(run("audit", "--json").output.splitlines()[0])
    assert set(first) == {"at", "who", "action", "target", "before", "after"}


def test_what_is_not_paused_or_not_known_is_refused() -> None:
    for arguments, message in (
        (("pause", "caller", "wep"), "name: got 'wep', allowed is the name of a caller"),
        (("pause", "session", ""), "name: got '', allowed is the id that a client sends"),
        (("resume", "session", "\udcff"), "name: got"),
        (("resume", "caller", "web"), "name: got 'web', allowed is a paused caller"),
        (("audit", "--since", "soon"), "--since: got 'soon'"),
    ):
        result = run(*arguments)
        assert isinstance(result.exception, ConfigurationError)
        assert message in str(result.exception)


def test_the_name_of_a_user_cannot_change_what_a_terminal_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ev\x1b[31mil")
    assert run("keys", "create", "web").exit_code == 0
    assert "  command line  key.create  caller web" in run("audit").output


def test_without_a_ledger_nothing_can_be_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIDEGATE_STATE_DIR")
    assert "TIDEGATE_STATE_DIR" in str(run("pause", "session", "s").exception)
