"""`tidegate keys` with a ledger: what it stores and prints."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tidegate.cli.commands import commands
from tidegate.cli.composition.ledger import stored_keys
from tidegate.core.domain.caller import Priority, Role
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.ports.key_store import StoredKey
from tidegate.identity.identify import key_hash
from tidegate.settings import load_settings

pytestmark = pytest.mark.usefixtures("_state_dir")


@pytest.fixture
def _state_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIDEGATE_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("TIDEGATE_DATABASE_URL", raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ("keys", *arguments))


def created(*arguments: str) -> tuple[str, str]:
    """Run a command that creates a key; returns the key and its id."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    key, id_ = re.findall(r"^(?:key|id) +(\S+)$", result.output, re.MULTILINE)
    return key, id_


def found(key: str) -> StoredKey | None:
    store = stored_keys(load_settings().settings)
    assert store is not None
    return store.find(key_hash(key))


def test_a_key_is_stored_with_what_was_asked_for() -> None:
    assert stored_keys(load_settings().settings) is None  # there is no database yet, and asking creates none
    key, _ = created("create", "web", "--team", "shop", "--priority", "batch", "--model", " m ", "--weight", "2")
    stored = found(key)
    assert stored is not None
    assert (stored.role, stored.caller.team, stored.caller.priority, stored.caller.models, stored.caller.weight) == (
        *(Role.CALLER, "shop", Priority.BATCH, ("m",), 2.0),
    )


def test_admin_is_a_role() -> None:
    keys = [created("create", "a", "--admin")[0], created("create", "b", "--role", "admin")[0]]
    assert [stored.role for key in keys if (stored := found(key))] == [Role.ADMIN] * 2


def test_the_list_shows_states_and_nothing_secret() -> None:
    key, id_ = created("create", "web", "--expires", "30d")
    run("revoke", id_)
    created("create", "nightly")
    output = run("list").output
    assert key not in output
    assert key_hash(key) not in output
    head, nightly, web = (line.split() for line in output.splitlines())
    assert head == ["id", "caller", "team", "role", "state", "created", "expires", "by"]
    assert nightly[1:5] == ["nightly", "default", "caller", "valid"]
    assert nightly[6] == "never"
    assert [web[0], web[4]] == [id_, "revoked"]


def test_rotate_revoke_and_expire() -> None:
    old, old_id = created("create", "web")
    new, new_id = created("rotate", "web", "--grace", "1h")
    first, second = found(old), found(new)
    assert first is not None
    assert second is not None
    assert (first.caller.name, second.caller.name) == ("web", "web")
    assert run("expire", new_id, "--at", "2099-01-01").output == f"{new_id} of web expires at 2099-01-01T00:00+00:00\n"
    assert run("revoke", old_id).output == f"revoked {old_id} of web\n"
    assert found(old) is None
    assert run("revoke", "web").output == f"revoked {new_id} of web\n"
    assert found(new) is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("create", "no spaces"), "NAME"),
        (("create", "web", "--team", "?"), "--team"),
        (("create", "web", "--weight", "nan"), "--weight"),
        (("create", "web", "--weight", "inf"), "--weight"),
        (("create", "web", "--model", ""), "--model"),
        (("create", "web", "--model", "m", "--model", "m", "--toml"), "--model"),
        (("create", "web\n"), "NAME"),
        (("create", "web", "--team", "shop\n"), "--team"),
        (("create", "web", "--admin", "--role", "viewer"), "--role"),
        (("create", "web", "--expires", "soon"), "--expires"),
        (("create", "web", "--expires", "2020-01-01"), "--expires"),
        (("rotate", "web", "--grace", "2020-01-01"), "--grace"),
        (("expire", "web", "--at", "2020-01-01"), "--at"),
        (("revoke", "\udcff"), "key"),
        (("create", "web", "--toml", "--role", "viewer"), "--role"),
        (("create", "web", "--toml", "--expires", "30d"), "--expires"),
        (("rotate", "nobody"), "name"),
        (("revoke", "nobody"), "key"),
        (("expire", "nobody", "--at", "1d"), "key"),
    ],
)
def test_a_faulty_value_is_named(arguments: tuple[str, ...], told: str) -> None:
    error = run(*arguments).exception
    assert isinstance(error, ConfigurationError)
    assert error.field == told


def test_a_name_of_the_configuration_is_taken(tmp_path: Path) -> None:
    (tmp_path / "tidegate.toml").write_text(f'callers = [{{name = "old", key_sha256 = "{"0" * 64}"}}]')
    assert "no caller of the configuration" in str(run("create", "old").exception)


def test_lines_for_the_file_are_not_stored() -> None:
    assert 'team = "shop"' in run("create", "web", "--toml", "--team", "shop").output
    assert stored_keys(load_settings().settings) is None


def test_lines_for_the_file_have_every_option(tmp_path: Path) -> None:
    options = ("--team", "shop", "--priority", "batch", "--model", "m", "--model", 'n"', "--weight", "2", "--admin")
    (tmp_path / "tidegate.toml").write_text(run("create", "web", "--toml", *options).stdout)
    (caller,) = load_settings({}).settings.callers
    assert (caller.team, caller.priority, caller.models, caller.weight, caller.admin) == (
        *("shop", Priority.BATCH, ("m", 'n"'), 2.0, True),
    )


@pytest.mark.parametrize("option", [("--team", "shop"), ("--model", "m"), ("--role", "admin")])
def test_a_bare_hash_has_no_options(monkeypatch: pytest.MonkeyPatch, option: tuple[str, str]) -> None:
    monkeypatch.delenv("TIDEGATE_STATE_DIR")
    error = run("create", "web", *option).exception
    assert isinstance(error, ConfigurationError)
    assert error.field == "--toml"


def test_a_database_that_cannot_be_read_has_no_keys(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_text("this is no database, but a text that is long enough to be one " * 9)
    assert stored_keys(load_settings().settings) is None
