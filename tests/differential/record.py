"""`python -m differential.record`: records the traffic between HTTP clients and the simulator, to be mutated."""

import subprocess
import tempfile
from pathlib import Path

from differential.streams import RECORDINGS
from support.project import ROOT
from support.recording_relay import RecordingRelay, recording_relay
from support.service_process import environment, running

_CLIENTS = ROOT / "tests/clients"
_JSON = '{"model": "claude-haiku-5-5", "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]%s}'
_ASK, _STREAM = _JSON % "", _JSON % ', "stream": true'
_CURL = ("curl", "--silent", "--output", "/dev/null", "-H", "x-api-key: k", "-H", "anthropic-version: 2026-10-21")
_POST = ("-H", "content-type: application/json", "-d", _ASK)
_CALLS = {
    "java": ("java", str(_CLIENTS / "HttpClientCalls.java"), "URL", "k", _ASK, _STREAM),
    "go": ("go", "run", str(_CLIENTS / "http_calls.go"), "URL", "k", _ASK, _STREAM),
    "node": ("node", str(_CLIENTS / "fetch-calls.mjs"), "URL", "k", _ASK, _STREAM),
    "curl-post": (*_CURL, *_POST, "URL/v1/messages", "URL/v1/messages"),
    "curl-chunked": (*_CURL, *_POST, "-H", "transfer-encoding: chunked", "URL/v1/messages"),
    "curl-expect": (*_CURL, *_POST, "-H", "expect: 100-continue", "URL/v1/messages"),
    "curl-1.0": (*_CURL, *_POST, "-0", "URL/v1/messages"),
    "curl-h2c": (*_CURL, *_POST, "--http2", "URL/v1/messages"),
    "curl-get": (*_CURL, "URL/v1/models?limit=2", "URL/v1/models/none", "-I", "URL/v1/files"),
}
_MOST_BYTES = 4_000
"""The rest of a connection is mostly a long body, where mutations have no effect."""
_MOST_CONNECTIONS = 2


def main() -> None:
    """Replace the recordings."""
    for kind in ("requests", "answers"):
        for file in (RECORDINGS / kind).glob("*.http"):
            file.unlink()
        (RECORDINGS / kind).mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as directory,
        running(Path(directory), "simulator", "--clock-stands-at=1e9") as to,
    ):
        for name, command in _CALLS.items():
            with recording_relay(to.url) as wire:
                arguments = [argument.replace("URL", wire.url) for argument in command]
                subprocess.run(arguments, env=environment(), stdout=subprocess.DEVNULL, timeout=100, check=True)
            _keep(name, wire)


def _keep(name: str, wire: RecordingRelay) -> None:
    for kind, streams in (("requests", wire.sent), ("answers", wire.received)):
        longest = sorted(streams, key=len, reverse=True)[:_MOST_CONNECTIONS]
        for number, stream in enumerate(longest):
            (RECORDINGS / kind / f"{name}-{number}.http").write_bytes(stream[:_MOST_BYTES])


if __name__ == "__main__":
    main()
