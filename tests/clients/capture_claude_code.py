"""Captures the requests of Claude Code again: `tests/data/claude_code/requests.json`.

Runs the program with a scripted upstream that responds to the first turn with two calls of the tool Agent. Usage, with
the npm package `@anthropic-ai/claude-code` installed in a folder:

    python tests/clients/capture_claude_code.py FOLDER/node_modules/.bin/claude
"""

import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "data/claude_code/requests.json"
HOW = (
    "`claude -p` before a scripted upstream that answers the first turn with two calls of the tool Agent; with hints "
    "means CLAUDE_CODE_GATEWAY_HINT_HEADERS=1. Of the bodies only these fields are kept."
)
HINTS = {"CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1"}
RUNS: list[tuple[str, list[str], dict[str, str], int]] = [
    ("two subagents, with hints", ["-p", "Use two helpers."], HINTS, 4),
    ("/compact, with hints", ["-c", "-p", "/compact"], HINTS, 1),
    ("/context, with hints", ["-c", "-p", "/context"], HINTS, 1),
    ("two subagents, without hints", ["-p", "Use two helpers."], {}, 4),
]
"""Name, arguments, variables, and number of requests to keep."""
KEY = "sk-ant-removed"
REPLACED = {"host": "127.0.0.1:8080"}
KEPT_FIELDS = ("model", "max_tokens", "stream")


class Upstream(BaseHTTPRequestHandler):
    """Responds like the API, and stores requests in `server.requests`."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_args: object) -> None:
        """Log nothing."""

    def do_HEAD(self) -> None:
        """Respond to the reachability check."""
        self._answer("text/plain", b"")

    def do_POST(self) -> None:
        """Respond to a Messages call."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        headers = {name.lower(): value for name, value in self.headers.items() if name.lower() != "content-length"}
        self.server.requests.append(  # type: ignore[attr-defined]
            {
                "method": "POST",
                "target": self.path,
                "headers": {**headers, **REPLACED},
                "body": {name: body[name] for name in KEPT_FIELDS if name in body},
            }
        )
        if "count_tokens" in self.path:
            self._answer("application/json", b'{"input_tokens": 10}')
        else:
            self._answer("text/event-stream", b"".join(events(body, is_subagent="x-claude-code-agent-id" in headers)))

    def _answer(self, media_type: str, content: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", media_type)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def events(body: dict[str, Any], *, is_subagent: bool) -> Iterator[bytes]:
    """A streamed response: two calls of the tool Agent to the first turn, text to any other."""
    starts_helpers = not is_subagent and "Use two helpers" in str(body["messages"])
    starts_helpers = starts_helpers and "tool_result" not in str(body["messages"])
    usage = {"input_tokens": 10, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "content": []}
    yield event("message_start", message={**message, "stop_reason": None, "stop_sequence": None, "usage": usage})
    for index in range(2 if starts_helpers else 1):
        if starts_helpers:
            block = {"type": "tool_use", "id": f"toolu_{index}", "name": "Agent", "input": {}}
            wanted = {"description": "greet", "prompt": "Say hello.", "subagent_type": "general-purpose"}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(wanted)}
        else:
            block, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": "Done."}
        yield event("content_block_start", index=index, content_block=block)
        yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    stop_reason = "tool_use" if starts_helpers else "end_turn"
    yield event("message_delta", delta={"stop_reason": stop_reason, "stop_sequence": None}, usage={"output_tokens": 20})
    yield event("message_stop")


def event(kind: str, **fields: Any) -> bytes:
    """One server-sent event."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


@contextmanager
def upstream() -> Iterator[ThreadingHTTPServer]:
    """Run the upstream on a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    server.requests = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def main(program: str) -> None:
    """Capture all runs."""
    found: dict[str, Any] = {}
    with upstream() as server, tempfile.TemporaryDirectory() as home:
        url = f"http://127.0.0.1:{server.server_port}"
        variables = {"PATH": os.environ["PATH"], "HOME": home, "ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": url}
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, env=variables)
        for name, arguments, hints, kept in RUNS:
            requests: list[Any] = []
            server.requests = requests  # type: ignore[attr-defined]
            subprocess.run([program, *arguments], cwd=home, check=True, env={**variables, **hints}, timeout=120)
            found[name] = sorted(requests[:kept], key=lambda request: "x-claude-code-agent-id" in request["headers"])
    document = {
        "source": "npm @anthropic-ai/claude-code",
        "version": version.stdout.split()[0],
        "captured": dt.datetime.now(dt.UTC).date().isoformat(),
        "how": HOW,
        "runs": found,
    }
    TARGET.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
