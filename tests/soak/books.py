"""Compares the ledger's sums with the metrics, with the simulator's own books, and with the results of batches."""

import asyncio
import json
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from soak.load import CALLERS, MAIN_MODEL, PROBE_MODEL
from support.service_and_simulator import ServiceAndSimulator
from tidegate.core.claude.rate_limit_groups import model_pool

__all__ = ["ADMIN_KEY", "Batches", "differences"]

ADMIN_KEY: Final = "the-admin-of-the-soak"
_KINDS: Final = ("input", "output", "cache_read", "cache_creation")
_LABEL: Final = re.compile(r'(\w+)="(.*?)"')
_BATCHES: Final = "batches"
_WRITTEN_SECONDS: Final = 20
_HEADERS: Final = {"anthropic-version": "2023-06-01", "x-api-key": CALLERS[0]}


@dataclass
class Batches:
    """Makes a batch now and then, and adds up what its results report.

    Attributes:
        url: of the service.
        used: tokens by kind, of all results that were read.
    """

    url: str
    used: Counter[str] = field(default_factory=Counter)

    async def run(self, every_seconds: float) -> None:
        """Makes a batch each time, and reads its results once they are there."""
        async with httpx2.AsyncClient(base_url=self.url, headers=_HEADERS, timeout=60) as http:
            while True:
                await asyncio.sleep(every_seconds)
                batch = asyncio.ensure_future(self._batch(http))
                try:
                    await asyncio.shield(batch)
                except asyncio.CancelledError:
                    await batch  # its results count once they are read
                    raise

    async def _batch(self, http: httpx2.AsyncClient) -> None:
        params = {"model": MAIN_MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]}
        requests = [{"custom_id": f"r{number}", "params": params} for number in range(5)]
        path = "/v1/messages/batches"
        made = (await http.post(path, json={"requests": requests})).raise_for_status().json()
        while (await http.get(f"{path}/{made['id']}")).raise_for_status().json()["processing_status"] != "ended":  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.2)
        results = (await http.get(f"{path}/{made['id']}/results")).raise_for_status()
        for line in results.text.splitlines():
            usage = json.loads(line)["result"]["message"]["usage"]
            self.used.update(input=usage["input_tokens"], output=usage["output_tokens"])


def differences(on: ServiceAndSimulator, batches: Batches) -> dict[str, int]:
    """Tokens and calls by which the ledger differs, once everything is written. All of them should be 0.

    The simulator's books count what it produced, also for responses that broke before they reported their usage.
    """
    pools = _usage(on, "pool")
    counted: dict[str, Counter[str]] = {}
    for labels, tokens in on.metrics("tidegate_tokens_total").items():
        named = dict(_LABEL.findall(labels))
        counted.setdefault(named["pool"], Counter())[named["kind"]] += round(tokens)
    upstream = on.state()["pools"]
    real = {name.removeprefix("claude-"): books for name, books in upstream.items()}
    apart = {_BATCHES, model_pool(PROBE_MODEL)}  # a bare relay sends probes as well
    messages = {name: pool["tokens"] for name, pool in pools.items() if name in real and name not in apart}
    batched = pools.get(_BATCHES, {"tokens": dict.fromkeys(_KINDS, 0)})["tokens"]
    return {
        "tokens, from the metrics": sum(
            abs(pool["tokens"][kind] - counted.get(name, Counter())[kind])
            for name, pool in pools.items()
            for kind in _KINDS
        ),
        "input tokens, from the simulator": sum(
            abs(tokens["input"] + tokens["cache_creation"] - real[name]["input_tokens"])
            for name, tokens in messages.items()
        ),
        "output tokens, from the simulator": sum(
            abs(tokens["output"] - real[name]["output_tokens"]) for name, tokens in messages.items()
        ),
        "tokens of batches, from their results": sum(
            abs(batched[kind] - batches.used[kind]) for kind in ("input", "output")
        ),
    }


def _usage(on: ServiceAndSimulator, by: str) -> dict[str, dict[str, Any]]:
    deadline = time.monotonic() + _WRITTEN_SECONDS
    while any(on.metrics("tidegate_ledger_unwritten_seconds").values()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    answer = httpx2.get(
        f"{on.service.url}/api/system/usage", params={"by": by, "since": "1d"}, headers={"x-api-key": ADMIN_KEY}
    )
    return {group[by]: group for group in answer.raise_for_status().json()["groups"]}
