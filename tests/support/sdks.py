"""Anthropic's SDKs as programs that run the steps in `sdk_calls.py` and report the results."""

import json
import sys
from typing import Any

from support.client_environment import python_of
from support.conformance import CALLER_KEY
from support.programs import output_of
from support.project import ROOT

_PYTHON_CLIENT = str(ROOT / "tests/clients/anthropic_client.py")


def newest_python() -> list[str]:
    return [sys.executable, _PYTHON_CLIENT]


def older_python() -> list[str]:
    return [str(python_of("anthropic-0.121")), _PYTHON_CLIENT]


def typescript() -> list[str]:
    return ["node", str(ROOT / "tests/node/anthropic-client.mjs")]


def do_steps(
    command: list[str], url: str, steps: list[dict[str, Any]], *, mode: str = "sync", max_retries: int = 0
) -> Any:
    """Run the steps with a client, and return its report."""
    told = {"base_url": url, "key": CALLER_KEY, "mode": mode, "max_retries": max_retries, "steps": steps}
    return json.loads(output_of(*command, input=json.dumps(told), timeout=100))
