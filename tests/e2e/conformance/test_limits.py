"""The one difference that a client should notice: fewer 429s."""

import asyncio
from collections import Counter
from pathlib import Path

import anthropic

from support.service_process import running

from .calls import HELLO, SONNET

CALLS = 40
SHORT_WINDOW = """
[limits]
requests_per_minute = 600
input_tokens_per_minute = 1_000_000
output_tokens_per_minute = 1_000_000
enforcement_seconds = 1
"""


async def burst(url: str) -> Counter[str]:
    """Make many concurrent calls with an SDK without retries, and count the results."""

    async def ask() -> str:
        try:
            await client.messages.create(model=SONNET, max_tokens=20, messages=HELLO)  # type: ignore[arg-type]
        except anthropic.APIStatusError as error:
            return type(error).__name__
        return "answered"

    async with anthropic.AsyncAnthropic(api_key="any", base_url=url, max_retries=0) as client:
        return Counter(await asyncio.gather(*(ask() for _ in range(CALLS))))


def test_a_burst_above_the_limit_is_answered_completely(tmp_path: Path) -> None:
    (tmp_path / "scenario.toml").write_text(SHORT_WINDOW)
    for name in ("simulator", "service"):
        (tmp_path / name).mkdir()
    with running(tmp_path / "simulator", "simulator", f"--scenario={tmp_path}/scenario.toml") as simulator:
        directly = asyncio.run(burst(simulator.url))
        assert directly["RateLimitError"] > CALLS / 2
        with running(
            tmp_path / "service", "serve", ANTHROPIC_API_KEY="any", TIDEGATE_UPSTREAM_URL=simulator.url
        ) as service:
            assert asyncio.run(burst(service.url)) == {"answered": CALLS}
