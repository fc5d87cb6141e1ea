"""`tidegate check` with a shared store: the server is tried, and each fault has its line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from valkey import Valkey

from support.daemon import free_port
from support.valkey_server import valkey_server
from tidegate.cli.commands import commands
from tidegate.core.domain.errors import ConfigurationErrors


def test_a_server_that_can_hold_the_store_passes(tmp_path: Path) -> None:
    with valkey_server(tmp_path) as port:
        url = f"valkey://:hunter2@127.0.0.1:{port}"
        with Valkey(port=port) as client:
            client.config_set("requirepass", "hunter2")
        checked = CliRunner().invoke(commands, ["check"], env={"TIDEGATE_STORE_URL": url})
    assert checked.exit_code == 0, checked.output
    assert f"store_url = 'valkey://(hidden)@127.0.0.1:{port}'  (TIDEGATE_STORE_URL)" in checked.output
    assert "hunter2" not in checked.output


def test_each_fault_of_a_server_is_an_error(tmp_path: Path) -> None:
    with valkey_server(tmp_path, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as port:
        url = f"valkey://127.0.0.1:{port}"
        with Valkey(port=port) as client:
            client.acl_setuser("default", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-xinfo"])
        checked = CliRunner().invoke(commands, ["check", "--json"], env={"TIDEGATE_STORE_URL": url})
    assert checked.exit_code == 2
    messages = [each["message"] for each in json.loads(checked.output)["errors"]]
    assert len(messages) == 2
    assert all(each.startswith(f"TIDEGATE_STORE_URL: got '{url}', allowed is a server that can") for each in messages)
    assert "set it to noeviction" in messages[0]
    assert "may not run xinfo|stream" in messages[1]


def test_a_server_that_is_gone_is_an_error_without_the_password() -> None:
    url = f"valkey://:hunter2@127.0.0.1:{free_port()}"
    checked = CliRunner().invoke(commands, ["check"], env={"TIDEGATE_STORE_URL": url})
    assert isinstance(checked.exception, ConfigurationErrors)
    assert "cannot be reached" in str(checked.exception)
    assert "hunter2" not in str(checked.exception)


def test_without_the_client_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    checked = CliRunner().invoke(commands, ["check"], env={"TIDEGATE_STORE_URL": "valkey://cache"})
    assert "run: pip install 'tidegate[valkey]'" in str(checked.exception)
