"""Real clients in a queue that lasts longer than they would wait in silence: Claude Code and the SDKs.

Claude Code drops a stream after 300 s without a byte. `CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS` shortens that to 10 s, its
minimum, so the queue lasts 25 s here, and comments come as much sooner.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

from support.claude_code_program import blocks, claude
from support.sdks import do_steps, typescript
from support.service_process import running

pytestmark = pytest.mark.clients

STALL_MS = "10000"
WAIT_SECONDS = 25
HEADERS = {"anthropic-version": "2023-06-01", "x-api-key": "any-key"}
POOLS = "\n".join(
    f'[[pools]]\nname = "{name}"\nrequests_per_minute = {60 / WAIT_SECONDS}\nburst_seconds = {WAIT_SECONDS}'
    for name in ("opus-5-5", "sonnet-5-5", "haiku-5-5")
)


ASK = {"max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}
ANSWER = "This is a simulated answer, no model was asked."
MODEL = "claude-sonnet-5-5"
Serve = Callable[[float, str], str]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a service whose pools grant one request at once, which is taken for a model, and then one in 25 s."""
    (tmp_path / "tidegate.toml").write_text(POOLS)
    with ExitStack() as stack:

        def start(comment_seconds: float, model: str) -> str:
            seconds = {"TIDEGATE_STREAM_COMMENT_SECONDS": f"{comment_seconds}"}
            service = stack.enter_context(running(tmp_path, "serve", "--upstream", "simulator", **seconds))
            first = httpx2.post(f"{service.url}/v1/messages", headers=HEADERS, json={"model": model, **ASK})
            assert first.status_code == 200
            return service.url

        yield start


def run_claude(tmp_path: Path, url: str, *arguments: str) -> list[dict[str, Any]]:
    home = tmp_path / "home"
    home.mkdir()
    variables = {"ANTHROPIC_API_KEY": "any-key", "CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS": STALL_MS}
    return claude(home, url, *arguments, "--model", "opus", **variables)


def abandoned(url: str) -> bool:
    """Whether a client has left before its answer."""
    return 'outcome="abandoned"' in httpx2.get(f"{url}/metrics").text


def test_claude_code_waits_for_its_stream_and_its_tool_loop(serve: Serve, tmp_path: Path) -> None:
    url = serve(4, "claude-opus-5-5")
    messages = run_claude(tmp_path, url, "echo Bash works", "--allowedTools", "Bash")
    result = messages[-1]
    assert (result["is_error"], result["num_turns"], abandoned(url)) == (False, 2, False)
    assert [block["content"] for block in blocks(messages, "tool_result")] == ["Bash works"]
    # The first call waits for what its start has left of 25 s, the second for all of it.
    assert result["duration_api_ms"] > 1_000 * WAIT_SECONDS + int(STALL_MS), "both have waited"


def test_claude_code_gives_up_a_stream_whose_comments_are_rarer_than_its_limit(serve: Serve, tmp_path: Path) -> None:
    """The control of the test above: its limit holds, and only comments keep the stream."""
    url = serve(12, "claude-opus-5-5")
    run_claude(tmp_path, url, "Say hello")
    assert abandoned(url)


@pytest.mark.parametrize("streams", [True, False])
def test_the_python_sdk_waits_for_its_answer(serve: Serve, *, streams: bool) -> None:
    client = anthropic.Anthropic(base_url=serve(4, MODEL), api_key="any-key", max_retries=0)
    ask: Any = {"model": MODEL, **ASK}
    if streams:
        with client.messages.stream(**ask) as stream:
            assert ANSWER in stream.get_final_text()
            assert 0 < int(stream.response.headers["x-tidegate-predicted-wait-seconds"]) <= WAIT_SECONDS
    else:
        assert ANSWER in str(client.messages.create(**ask))


@pytest.mark.parametrize("method", ["messages.stream", "messages.create"])
def test_the_typescript_sdk_waits_for_its_answer(serve: Serve, method: str) -> None:
    steps = [{"method": method, "body": {"model": MODEL, **ASK}}]
    (seen,) = do_steps(typescript(), serve(4, MODEL), steps)["seen"]
    assert [exchange["status"] for exchange in seen["exchanges"]] == [200]
    assert ANSWER in str(seen["outcome"])
