"""The snippets of the older module's documentation that use `AIClient`, word for word, as programs of their own."""

import asyncio
import os
import subprocess
import sys
import textwrap
from pathlib import Path

from claude_simulator import NO_LATENCY, Fault, FaultKind, SimulatorOptions, create_app
from support.servers import serve

BASIC_USAGE = """
from services.dsl_generator.ai_client import AIClient

# Create AI client (automatically uses global rate limiter)
client = AIClient(anthropic_api_key="your_api_key")

# Generate workflow (rate limiting is automatic)
try:
    workflow = await client.generate_workflow("Your prompt here")
    print(f"Generated workflow: {workflow}")
except Exception as e:
    print(f"Generation failed: {e}")
"""

FALLBACK_GENERATION = """
# Use fallback generation for better success rate
try:
    workflow = await client.generate_workflow_with_fallback("Your prompt")
except Exception as e:
    print(f"Both attempts failed: {e}")
"""

DEBUG_MODE = """
import logging
logging.getLogger('services.dsl_generator.rate_limiter').setLevel(logging.DEBUG)
logging.getLogger('services.dsl_generator.ai_client').setLevel(logging.DEBUG)
"""


def run_program(snippets: str, workdir: Path, *faults: Fault) -> "subprocess.CompletedProcess[str]":
    """Runs snippets that await, in a process whose upstream is a simulator."""
    program = f"import asyncio\n\nasync def main():\n{textwrap.indent(snippets, '    ')}\nasyncio.run(main())\n"
    options = SimulatorOptions(latency=NO_LATENCY, faults=faults)

    async def run() -> "subprocess.CompletedProcess[str]":
        async with serve(create_app(options)) as url:
            environment = {
                "PATH": os.environ["PATH"],
                "TIDEGATE_UPSTREAM_URL": url,
                "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",  # points elsewhere: must not be read
                "CLAUDE_RATE_LIMIT_DELAY": "0.01",
            }
            return await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-c", program],
                env=environment,
                cwd=workdir,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )

    return asyncio.run(run())


def test_generation_with_and_without_fallback(tmp_path: Path) -> None:
    report = "import yaml; print(type(workflow), yaml.safe_load(yaml.safe_dump(workflow)) == workflow)"
    refused_once = Fault(kind=FaultKind.REFUSAL, skip=1, count=1)
    done = run_program(BASIC_USAGE + FALLBACK_GENERATION + report, tmp_path, refused_once)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Generated workflow: {'document': {'dsl': '1.0.0'"), done.stderr
    assert lines[-1] == "<class 'dict'> True", done.stderr
    assert done.returncode == 0


def test_failures_are_printed_as_the_snippets_do(tmp_path: Path) -> None:
    done = run_program(BASIC_USAGE + FALLBACK_GENERATION, tmp_path, Fault(kind=FaultKind.OVERLOADED))
    for printed, line in zip(("Generation failed", "Both attempts failed"), done.stdout.splitlines(), strict=True):
        assert line.startswith(f"{printed}: gave up after 5 attempts in "), done.stderr
        assert "529 overloaded_error" in line


def test_debug_mode_shows_what_happens(tmp_path: Path) -> None:
    snippets = "import logging; logging.basicConfig()\n" + DEBUG_MODE + BASIC_USAGE
    done = run_program(snippets, tmp_path, Fault(kind=FaultKind.RATE_LIMITED, count=1, retry_after_seconds=1))
    for line in (
        "DEBUG:services.dsl_generator.rate_limiter:acquired a token after 0.000 s",
        "DEBUG:services.dsl_generator.ai_client:attempt 1: asking claude-sonnet-5-5",
        "DEBUG:services.dsl_generator.rate_limiter:frozen for 1.000 s",
        "DEBUG:services.dsl_generator.rate_limiter:rate changed from 20.0 to 18.0 requests/minute: rate_limited",
        "DEBUG:services.dsl_generator.ai_client:attempt 1 failed (rate_limited: 429 rate_limit_error",
        "DEBUG:services.dsl_generator.rate_limiter:rate changed from 18.0 to 18.2 requests/minute: succeeded",
    ):
        assert line in done.stderr
    assert "your_api_key" not in done.stderr
