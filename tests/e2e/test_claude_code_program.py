"""Claude Code, the npm package, with a service without a key, as started by `make run`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.claude_code_program import blocks, claude
from support.service_process import running
from tidegate.identity.identify import key_hash

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("service"), "serve", "--upstream", "simulator") as process:
        yield process.url


@pytest.mark.parametrize("model", [None, "opus", "sonnet", "haiku", "claude-opus-5-5", "claude-haiku-5-5"])
def test_each_of_its_models_answers(service: str, tmp_path: Path, model: str | None) -> None:
    chosen = () if model is None else ("--model", model)
    result = claude(tmp_path, service, "Say hello", *chosen)[-1]
    assert (result["type"], result["is_error"]) == ("result", False)
    assert result["result"] == "This is a simulated answer, no model was asked. You said: Say hello"


def test_it_runs_a_tool_and_sends_the_result(service: str, tmp_path: Path) -> None:
    messages = claude(tmp_path, service, "echo Bash works", "--allowedTools", "Bash")
    (call,) = blocks(messages, "tool_use")
    assert (call["name"], call["input"]["command"]) == ("Bash", "echo Bash works")
    (returned,) = blocks(messages, "tool_result")
    assert (returned["tool_use_id"], returned["content"]) == (call["id"], "Bash works")
    assert (messages[-1]["is_error"], messages[-1]["num_turns"]) == (False, 2)


def test_a_conversation_continues(service: str, tmp_path: Path) -> None:
    claude(tmp_path, service, "Say hello")
    result = claude(tmp_path, service, "Say goodbye", "--continue")[-1]
    assert result["result"].endswith("You said: Say goodbye")


def test_it_counts_its_context(service: str, tmp_path: Path) -> None:
    result = claude(tmp_path, service, "/context")[-1]
    assert not result["is_error"]
    assert "Context Usage" in result["result"]


def test_a_callers_key_may_be_a_bearer_token(tmp_path: Path) -> None:
    (tmp_path / "tidegate.toml").write_text(f'callers = [{{name = "web", key_sha256 = "{key_hash("web-key")}"}}]')
    home = tmp_path / "home"
    home.mkdir()
    with running(tmp_path, "serve", "--upstream", "simulator") as process:
        assert not claude(home, process.url, "Say hello", ANTHROPIC_AUTH_TOKEN="web-key")[-1]["is_error"]
        assert claude(home, process.url, "Say hello", ANTHROPIC_AUTH_TOKEN="wrong")[-1]["is_error"]
