"""The command line, as far as it starts nothing."""

import hashlib
import json
import re
import socket
import sys
from pathlib import Path

import pytest

from tidegate import __version__
from tidegate.cli import main
from tidegate.identity.identify import Identifier
from tidegate.settings import load_settings

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
    assert sentence.startswith("tidegate: ANTHROPIC_API_KEY is not set; it must be a key of the Claude API")
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


def test_check_names_its_argument(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "check", "nowhere.toml") == 2
    assert capsys.readouterr().err.startswith("tidegate: FILE: got 'nowhere.toml', ")


def test_every_fault_has_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "check", TIDEGATE_PORT="http", TIDEGATE_BURST_LIMIT="0") == 2
    lines = capsys.readouterr().err.splitlines()
    assert {line.split(": got")[0] for line in lines} == {"tidegate: TIDEGATE_PORT", "tidegate: TIDEGATE_BURST_LIMIT"}


def test_check_says_that_a_key_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "check") == 0
    assert "note: ANTHROPIC_API_KEY is not set" in capsys.readouterr().err
    assert run(monkeypatch, "check", ANTHROPIC_API_KEY="sk-secret") == 0
    assert not capsys.readouterr().err


TWO_CALLERS = "".join(
    f'[[callers]]\nname = "{name}"\nkey_sha256 = "{hashlib.sha256(name.encode()).hexdigest()}"\n' for name in ("a", "b")
)


@pytest.mark.parametrize(
    ("callers", "variables", "warns"),
    [
        (TWO_CALLERS, {}, True),
        (TWO_CALLERS, {"TIDEGATE_LEDGER": "off", "TIDEGATE_STATE_DIR": "state"}, True),
        (TWO_CALLERS, {"TIDEGATE_STATE_DIR": "state"}, False),
        (TWO_CALLERS[: len(TWO_CALLERS) // 2], {}, False),
    ],
)
def test_check_warns_that_callers_without_a_ledger_share_all_objects(
    callers: str,
    variables: dict[str, str],
    warns: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "tidegate.toml").write_text(callers, encoding="utf-8")
    assert run(monkeypatch, "check", **variables) == 0
    assert ("each of the 2 callers can list, read and delete" in capsys.readouterr().err) == warns


def test_check_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "check", "--json", TIDEGATE_PORT="9000") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["valid"], found["settings"]["port"]) == (True, {"value": 9000, "origin": "TIDEGATE_PORT"})


@pytest.mark.parametrize(
    ("variables", "fields"),
    [
        ({"TIDEGATE_PORT": "http", "TIDEGATE_BURST_LIMIT": "0"}, {"TIDEGATE_PORT", "TIDEGATE_BURST_LIMIT"}),
        ({"TIDEGATE_HOST": "10.0.0.1"}, {"TIDEGATE_HOST"}),
    ],
)
def test_faults_as_json(
    variables: dict[str, str],
    fields: set[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "check", "--json", **variables) == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["valid"], {each["field"] for each in found["errors"]}) == (False, fields)
    assert all(each["message"].startswith(each["field"]) for each in found["errors"])


def test_a_port_from_kubernetes_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "check", TIDEGATE_PORT="tcp://10.96.0.12:8080", ANTHROPIC_API_KEY="any") == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("tidegate: warning: TIDEGATE_PORT=tcp://10.96.0.12:8080 is ignored")
    assert "port = 8080  (default)" in printed.out


@pytest.mark.parametrize("arguments", [("version",), ("--version",)])
def test_version(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *arguments) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize(
    "arguments", [(), ("serve",), ("check",), ("keys",), ("keys", "create"), ("connect",), ("record",), ("replay",)]
)
def test_help(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for option in ("-h", "--help"):
        assert run(monkeypatch, *arguments, option) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "Usage" in printed[0]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_completes_commands_in_a_shell(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "completion", shell) == 0
    asks = {"COMP_WORDS": "tidegate sim", "COMP_CWORD": "1" if shell != "fish" else "sim"}
    assert f"_TIDEGATE_COMPLETE={shell}_complete" in capsys.readouterr().out
    assert run(monkeypatch, _TIDEGATE_COMPLETE=f"{shell}_complete", **asks) == 0
    assert "simulator" in capsys.readouterr().out


def test_the_example_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "example") == 0
    Path("tidegate.toml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert run(monkeypatch, "check") == 0


class TestKeys:
    def test_the_lines_for_the_file_let_the_key_in(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        keys = []
        for name in ("web", "ci"):
            assert run(monkeypatch, "keys", "create", name, "--toml", *(["--admin"] if name == "ci" else [])) == 0
            printed = capsys.readouterr()
            with Path("tidegate.toml").open("a", encoding="utf-8") as file:
                file.write(printed.out)
            keys += re.findall(r"tg_[\w-]{43}", printed.err)
            assert keys[-1] not in printed.out
        callers = load_settings({}).settings.callers
        assert [(caller.name, caller.admin) for caller in callers] == [("web", False), ("ci", True)]
        identifier = Identifier(callers)
        assert [identifier.identify({b"x-api-key": key.encode()}).label for key in keys] == ["web", "ci"]

    def test_a_key_and_its_hash(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(monkeypatch, "keys", "create", "web") == 0
        found = dict(line.split() for line in capsys.readouterr().out.splitlines())
        assert found["key_sha256"] == hashlib.sha256(found["key"].encode()).hexdigest()

    def test_a_name_that_is_none(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(monkeypatch, "keys", "create", "a b") == 2
        assert capsys.readouterr().err.startswith("tidegate: NAME: got 'a b', allowed is letters")


class TestConnect:
    @pytest.mark.parametrize("client", ["claude-code", "python", "typescript", "curl"])
    @pytest.mark.parametrize(
        ("arguments", "variables", "url"),
        [
            ((), {}, "http://127.0.0.1:8080"),
            ((), {"TIDEGATE_HOST": "::1", "TIDEGATE_PORT": "9000"}, "http://[::1]:9000"),
            (("--url", "https://claude.example/"), {}, "https://claude.example"),
        ],
    )
    def test_the_url_and_the_key(
        self,
        client: str,
        arguments: tuple[str, ...],
        variables: dict[str, str],
        url: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert run(monkeypatch, "connect", client, *arguments, **variables) == 0
        printed = capsys.readouterr()
        assert re.search(re.escape(url) + r"(?![/:\w])|" + re.escape(f"{url}/v1/messages "), printed.out)
        assert "any-key" in printed.out
        assert not printed.err

    def test_callers_need_a_key_of_their_own(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("tidegate.toml").write_text(f"[[callers]]\nname='a'\nkey_sha256='{'0' * 64}'", encoding="utf-8")
        assert run(monkeypatch, "connect", "claude-code") == 0
        printed = capsys.readouterr()
        assert "export ANTHROPIC_AUTH_TOKEN=YOUR_KEY" in printed.out
        assert "tidegate keys create" in printed.err

    def test_the_snippet_for_python_is_python(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(monkeypatch, "connect", "python") == 0
        compile(capsys.readouterr().out, "snippet", "exec")
