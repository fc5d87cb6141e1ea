"""The command line, as far as it starts nothing."""

import socket
import sys
from pathlib import Path

import pytest

from tidegate import __version__
from tidegate.cli import main

SIMULATED = ("serve", "--upstream", "simulator")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, **variables: str) -> int:
    """Runs the command; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["tidegate", *arguments])
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIDEGATE_PORT", "70000"),
        ("TIDEGATE_REQUESTS_PER_MINUTE", "nan"),
        ("TIDEGATE_HOST", "0.0.0.0"),  # noqa: S104 - refused
        ("MAX_RATE_LIMIT_DELAY", "soon"),
        ("TIDEGATE_CONFIG", "nowhere.toml"),
    ],
)
def test_a_wrong_variable_is_one_sentence_and_exit_code_2(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *SIMULATED, **{name: value}) == 2
    sentence = capsys.readouterr().err
    assert sentence.startswith(f"tidegate: {name}: got ")
    assert value in sentence
    assert len(sentence.splitlines()) == 1


def test_no_key_and_no_simulator(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "serve", ANTHROPIC_API_KYE="sk-secret") == 2
    sentence = capsys.readouterr().err
    assert "ANTHROPIC_API_KEY" in sentence
    assert "--upstream simulator" in sentence


@pytest.mark.parametrize("variable", ["TIDEGATE_PORT", "TIDEGATE_METRICS_PORT"])
def test_a_port_in_use(variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert run(monkeypatch, *SIMULATED, **{"TIDEGATE_PORT": "0", variable: port}) == 2
    assert capsys.readouterr().err.startswith(f"tidegate: {variable}: got {port}, allowed is a port that is free")


def test_the_simulators_port_in_use(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert run(monkeypatch, "simulator", "--port", port) == 2
    assert capsys.readouterr().err.startswith(f"tidegate: --port: got {port}, ")


def test_an_address_that_is_not_this_machines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "simulator", "--host", "no-such-host.invalid") == 2
    assert capsys.readouterr().err.startswith("tidegate: --host: got 'no-such-host.invalid', ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--upstream", "gpt"),
        ("serve", "--port", "70000"),
        ("simulator", "--fault", "meteor"),
        ("simulator", "--fault", "overloaded:probability=2"),
        ("simulator", "--fault", "overloaded:sometimes=x"),
        ("simulator", "--fault", "overloaded:count=many"),
        ("simulator", "--first-token-seconds", "nan"),
        ("check", "a", "b"),
        ("fly",),
    ],
)
def test_wrong_options_are_usage_errors(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *arguments) == 2
    assert "Usage" in capsys.readouterr().err


def test_check_prints_the_effective_configuration_with_origins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("tidegate.toml").write_text("burst_limit = 7\n", encoding="utf-8")
    assert run(monkeypatch, "check", ANTHROPIC_API_KEY="sk-secret", TIDEGATE_PORT="9000") == 0
    printed = capsys.readouterr().out
    assert "burst_limit = 7  (tidegate.toml)" in printed
    assert "port = 9000  (TIDEGATE_PORT)" in printed
    assert "model = 'claude-sonnet-5-5'  (default)" in printed
    assert "sk-secret" not in printed


def test_check_refuses_a_wrong_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("other.toml").write_text("burst = 7\n", encoding="utf-8")
    assert run(monkeypatch, "check", "other.toml") == 2
    assert capsys.readouterr().err.startswith("tidegate: other.toml: got 'burst', ")


def test_check_refuses_an_open_service_on_other_addresses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "check", TIDEGATE_HOST="10.0.0.1") == 2
    assert capsys.readouterr().err.startswith("tidegate: TIDEGATE_HOST: got '10.0.0.1', ")


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "version") == 0
    assert capsys.readouterr().out == f"{__version__}\n"
