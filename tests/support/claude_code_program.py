"""Runs Claude Code, the npm package, and reads what it prints."""

import json
import subprocess
from pathlib import Path
from typing import Any

from support.client_environment import claude_code
from support.service_process import environment

QUIET = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}
"""Disables requests of the program to other hosts."""


def claude(home: Path, url: str, *arguments: str, **variables: str) -> list[dict[str, Any]]:
    """Run the program, and return its messages; the last one is the result."""
    keys = variables or {"ANTHROPIC_API_KEY": "any-key"}
    done = subprocess.run(
        [str(claude_code()), "-p", *arguments, "--output-format", "stream-json", "--verbose"],
        cwd=home,
        env=environment(HOME=str(home), ANTHROPIC_BASE_URL=url, **QUIET, **keys),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert messages, done.stderr
    return messages


def blocks(messages: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The content blocks of one type."""
    contents = [message["message"]["content"] for message in messages if message["type"] in ("assistant", "user")]
    return [block for content in contents if isinstance(content, list) for block in content if block["type"] == kind]
