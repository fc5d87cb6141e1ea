"""`tidegate usage` and `tidegate ledger backup`: what they print of a database, and what they refuse."""

import importlib.util
import json
import stat
from pathlib import Path

import pytest
from msgspec import structs

from support.command_line import run
from support.ledgers import NIGHTLY, WEB, answered, ended, everything, hear
from tidegate.cli.composition.ledger import check_ledger, open_ledger
from tidegate.core.domain.errors import ConfigurationError, MissingExtra
from tidegate.core.domain.usage import Usage
from tidegate.core.pricing.price_list import PriceList
from tidegate.engine.clock import SystemClock
from tidegate.ledger.database import Database
from tidegate.ledger.usage.recorder import UsageRecorder
from tidegate.ledger.usage.writer import UsageWriter
from tidegate.settings import Settings, load_settings

POSTGRESQL = "postgresql://u:secret@db:5432/tidegate"


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("STATE_DIRECTORY", "TIDEGATE_STATE_DIR", "TIDEGATE_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder whose ledger has the usage of two callers."""
    folder = tmp_path / "state"
    folder.mkdir()
    monkeypatch.setenv("TIDEGATE_STATE_DIR", str(folder))
    database, clock = Database.in_folder(folder), SystemClock()
    recorder = UsageRecorder(clock, PriceList.bundled())
    usage = Usage(3_000_000), Usage(1_000_000, cache_read_tokens=1_000_000)
    in_session = structs.replace(answered(usage[1], NIGHTLY), session="s-1")
    hear(recorder, ended(WEB), answered(usage[0], WEB), ended(NIGHTLY), in_session)
    assert UsageWriter(database, recorder, clock).write()
    database.close()
    return folder


@pytest.mark.usefixtures("state_dir")
def test_the_most_expensive_sessions_are_listed() -> None:
    (line,) = run("usage", "--sessions").output.splitlines()
    assert [line.split()[index] for index in (0, 2, 3)] == ["$0.5500", "nightly", "s-1"]
    (session,) = json.loads(run("usage", "--sessions", "--format", "json").output)["sessions"]
    assert (session["session"], session["answers"], session["tokens"]["cache_read"]) == ("s-1", 1, 1_000_000)
    assert "table or json, with --sessions" in str(run("usage", "--sessions", "--format", "csv").exception)


@pytest.mark.usefixtures("state_dir")
def test_the_table_has_a_bar_for_the_share_of_each_group() -> None:
    result = run("usage", "--by", "caller", "--since", "1d")
    assert result.exit_code == 0, result.output
    head, *lines = result.output.splitlines()
    assert head.split() == ["caller", "cost", "share", "calls", "refused", "input", "output", "cache", "read", "cached"]
    # $1.50, and $0.50 + $0.05
    assert [line.split() for line in lines] == [
        ["web", "█" * 17 + "▌", "$1.50", "73%", "1", "0", "3,000,000", "0", "0", "0%"],
        ["nightly", "█" * 6 + "▌", "$0.5500", "27%", "1", "0", "1,000,000", "0", "1,000,000", "50%"],
        ["total", "█" * 24, "$2.05", "100%", "2", "0", "4,000,000", "0", "1,000,000", "20%"],
    ]


@pytest.mark.usefixtures("state_dir")
def test_other_forms_are_json_and_csv() -> None:
    assert json.loads(run("usage", "--format", "json").output)["total"]["calls"] == 2
    assert run("usage", "--by", "team,model", "--format", "csv").output.startswith("team,model,calls,")
    assert run("usage", "--since", "2w", "--until", "1w").output == "no usage in this time\n"


@pytest.mark.usefixtures("state_dir")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--since", "1d", "--until", "2d"), "--since: got '1d', allowed is a time before the end"),
        (("--until", "soon"), "--until: got 'soon', allowed is"),
        (("--by", "planet"), "--by: got 'planet', allowed is"),
    ],
)
def test_a_faulty_option_is_named(arguments: tuple[str, ...], told: str) -> None:
    error = run("usage", *arguments).exception
    assert isinstance(error, ConfigurationError)
    assert str(error).startswith(told)


def test_a_backup_is_a_complete_ledger_of_its_own(state_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    assert run("ledger", "backup", str(copy)).output == f"{copy}\n"
    database = Database(f"sqlite:///{copy}")
    assert everything(database).total.calls == 2
    database.close()
    again = run("ledger", "backup", str(copy))
    assert isinstance(again.exception, ConfigurationError)
    assert "does not exist yet" in str(again.exception)
    assert (state_dir / "ledger.sqlite").exists()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_nothing_is_backed_up_where_there_is_no_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_STATE_DIR", str(tmp_path))
    result = run("ledger", "backup", str(tmp_path / "copy.sqlite"))
    assert f"{tmp_path}/ledger.sqlite does not exist" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_postgresql_has_its_own_program_for_backups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_DATABASE_URL", POSTGRESQL)
    result = run("ledger", "backup", "copy.sqlite")
    assert "pg_dump" in str(result.exception)


def test_without_a_ledger_the_commands_say_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "TIDEGATE_STATE_DIR" in str(run("usage").exception)
    monkeypatch.setenv("TIDEGATE_LEDGER", "off")
    assert "TIDEGATE_LEDGER: got 'off'" in str(run("usage").exception)


def settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"TIDEGATE_{name}", value)
    return load_settings().settings


def opened(settings: Settings) -> bool:
    return open_ledger(settings, SystemClock(), PriceList.bundled()) is not None


def test_there_is_a_ledger_if_there_is_a_place_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not opened(settings(monkeypatch))
    assert opened(settings(monkeypatch, STATE_DIR="state"))
    assert not opened(settings(monkeypatch, LEDGER="off"))
    monkeypatch.delenv("TIDEGATE_STATE_DIR")
    assert opened(settings(monkeypatch, LEDGER="auto", DATABASE_URL=POSTGRESQL))


def test_a_ledger_that_is_required_needs_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="TIDEGATE_DATABASE_URL is not set"):
        check_ledger(settings(monkeypatch, LEDGER="required"))


@pytest.mark.parametrize(("name", "value"), [("STATE_DIR", "state"), ("LEDGER", "required")])
def test_replicas_do_not_start_with_a_ledger_each(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = settings(monkeypatch, STORE_URL="valkey://localhost", **{name: value})
    with pytest.raises(ConfigurationError, match="TIDEGATE_DATABASE_URL is not set"):
        check_ledger(shared)
    check_ledger(settings(monkeypatch, DATABASE_URL=POSTGRESQL))


def test_without_the_packages_the_service_runs_without_a_ledger_unless_it_is_required(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert not opened(settings(monkeypatch, STATE_DIR="state"))
    assert "pip install 'tidegate[ledger]'" in caplog.text
    with_database = settings(monkeypatch, STATE_DIR=str(tmp_path))
    (tmp_path / "ledger.sqlite").touch()  # it may have keys
    with pytest.raises(MissingExtra, match=r"tidegate\[ledger\]"):
        check_ledger(with_database)
    with pytest.raises(MissingExtra, match=r"tidegate\[ledger\]"):
        check_ledger(settings(monkeypatch, LEDGER="required"))
    with pytest.raises(MissingExtra, match=r"tidegate\[postgresql\]") as raised:
        check_ledger(settings(monkeypatch, DATABASE_URL=POSTGRESQL))
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("url", ["mysql://db/x", "postgresql://db", "postgresql:///x", "postgresql://db:99999/x", "db"])
def test_another_url_is_refused_without_its_password(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="TIDEGATE_DATABASE_URL"):
        settings(monkeypatch, DATABASE_URL=url)


def test_the_url_is_shown_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    url = settings(monkeypatch, DATABASE_URL=f"{POSTGRESQL}?password=secret").database_url
    assert str(url) == "postgresql://(hidden)@db:5432/tidegate"
