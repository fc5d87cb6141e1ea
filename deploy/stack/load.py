#!/usr/bin/env python3
"""Load generator for Tidegate in front of a simulator. It alternates normal use with faults.

    python deploy/stack/load.py --service http://127.0.0.1:8080 --simulator http://127.0.0.1:8090 --phase-seconds 120

The callers are those of `tidegate.toml` in this folder. It ends after `--rounds` rounds of all phases; 0 never ends.
"""

import argparse
import asyncio
import contextlib
import json
import random
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

_MAX_IN_FLIGHT: Final = 200
"""Further calls are skipped, so that the load does not overload the machine."""
_BATCHES: Final = "/v1/messages/batches"
_BATCH_SECONDS: Final = 2.0
"""The simulator's batches take one second."""
_PREAMBLE: Final = "You answer questions about orders, stock and deliveries, briefly and politely. " * 100
"""A system prompt of about 2,000 tokens. The prompt cache needs at least 512."""


@dataclass(frozen=True, slots=True)
class _Program:
    """A caller's behaviour. `output_tokens` is the mean length of responses."""

    key: str
    model: str
    calls_per_second: float
    output_tokens: int
    streams: bool
    timeout_seconds: float


_PROGRAMS: Final = (
    _Program("web-key", "claude-sonnet-5-5", 0.5, 150, streams=True, timeout_seconds=20),
    _Program("search-key", "claude-haiku-5-5", 0.6, 60, streams=False, timeout_seconds=30),
    _Program("search-key", "claude-sonnet-5-5", 0.2, 120, streams=True, timeout_seconds=30),
    _Program("nightly-key", "claude-sonnet-5-5", 0.25, 300, streams=False, timeout_seconds=60),
)


@dataclass(frozen=True, slots=True)
class _Phase:
    """A phase of the load: faults of the simulator, and factors of the callers' rates."""

    name: str
    faults: tuple[Mapping[str, Any], ...] = ()
    rates: Mapping[str, float] = field(default_factory=dict)


_NORMAL: Final = _Phase("normal use")
_PHASES: Final = (
    _NORMAL,
    _Phase("429 spike", ({"kind": "rate_limited", "probability": 0.25, "retry_after_seconds": 2},)),
    _NORMAL,
    _Phase("529 outage", ({"kind": "overloaded", "probability": 0.7}, {"kind": "internal_error", "probability": 0.2})),
    _NORMAL,
    _Phase("flood by one caller", rates={"nightly-key": 16}),
    _Phase("frozen pool", ({"kind": "rate_limited", "count": 1, "retry_after_seconds": 60},)),
    _NORMAL,
)


class Load:
    """Runs phases of load against a service.

    Args:
        session: sends the requests.
        service: base URL of Tidegate.
        simulator: base URL of the simulator.
        rng: source of arrival times and lengths.
    """

    def __init__(self, session: aiohttp.ClientSession, service: str, simulator: str, rng: random.Random) -> None:
        self._session = session
        self._service = service
        self._simulator = simulator
        self._rng = rng
        self._calls: set[asyncio.Task[object]] = set()

    async def run(self, phase: _Phase, seconds: float) -> None:
        """Runs one phase. Its calls may continue after it."""
        await self._set_faults(phase)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as programs:
                for program in _PROGRAMS:
                    programs.create_task(self._run_program(program, phase.rates.get(program.key, 1.0)))
                programs.create_task(self._rare_calls())

    async def _set_faults(self, phase: _Phase) -> None:
        await (await self._session.delete(f"{self._simulator}/simulator/faults")).read()
        for fault in phase.faults:
            await (await self._session.post(f"{self._simulator}/simulator/faults", json=fault)).read()

    async def _run_program(self, program: _Program, multiplier: float) -> None:
        while True:
            await asyncio.sleep(self._rng.expovariate(program.calls_per_second * multiplier))
            self._start(self._post("/v1/messages", self._message(program), program.key, self._headers(program)))

    async def _rare_calls(self) -> None:
        """Makes rare calls: workflows, token counts, batches, an unknown key, a very short timeout."""
        question = {"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": "How many are left?"}]}
        asked = question | {"max_tokens": 50}
        while True:
            await asyncio.sleep(self._rng.expovariate(0.2))
            path, body, key, seconds = self._rng.choice(
                (
                    ("/api/workflows/generate", {"prompt": "When an order arrives, check stock"}, "web-key", 60),
                    ("/v1/messages/count_tokens", question, "search-key", 20),
                    (_BATCHES, {"requests": [{"custom_id": "stock", "params": asked}]}, "nightly-key", 60),
                    ("/v1/messages", asked, "unknown-key", 20),
                    ("/v1/messages", asked, "search-key", 0.05),
                )
            )
            call = self._batch if path == _BATCHES else self._post
            self._start(call(path, body, key, {"x-tidegate-timeout-seconds": str(seconds)}))

    def _headers(self, program: _Program) -> dict[str, str]:
        tokens = max(1, round(self._rng.gauss(program.output_tokens, program.output_tokens / 3)))
        return {
            "x-simulator-output-tokens": str(tokens),
            "x-tidegate-timeout-seconds": str(program.timeout_seconds),
        }

    def _message(self, program: _Program) -> dict[str, Any]:
        words = "Where is order " + " ".join(str(self._rng.randrange(10_000)) for _ in range(self._rng.randrange(400)))
        system = {"type": "text", "text": _PREAMBLE, "cache_control": {"type": "ephemeral"}}
        return {
            "model": program.model,
            "max_tokens": 4 * program.output_tokens,
            "stream": program.streams,
            "system": [system],
            "messages": [{"role": "user", "content": words}],
        }

    def _start(self, call: Coroutine[Any, Any, object]) -> None:
        if len(self._calls) >= _MAX_IN_FLIGHT:
            call.close()
            return
        task = asyncio.create_task(call)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _batch(self, path: str, body: Mapping[str, Any], key: str, headers: Mapping[str, str]) -> None:
        """Creates a batch and downloads its results, which makes its cost visible."""
        with contextlib.suppress(ValueError, KeyError):  # the batch was not created
            name = json.loads(await self._post(path, body, key, headers))["id"]
            await asyncio.sleep(_BATCH_SECONDS)
            await self._send("GET", f"{path}/{name}/results", key)

    async def _post(self, path: str, body: Mapping[str, Any], key: str, headers: Mapping[str, str]) -> bytes:
        return await self._send("POST", path, key, json=body, headers=headers)

    async def _send(
        self, method: str, path: str, key: str, *, headers: Mapping[str, str] | None = None, **body: Any
    ) -> bytes:
        """Returns the body of the response; empty if there is none."""
        fields = {"anthropic-version": "2023-06-01", "x-api-key": key, **(headers or {})}
        # Failures are part of the load: the dashboards show them.
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self._session.request(method, self._service + path, headers=fields, **body) as answer:
                return await answer.read()
        return b""


async def _main(arguments: argparse.Namespace) -> None:
    rng = random.Random(arguments.seed)  # noqa: S311 - load, not secrets
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        load = Load(session, arguments.service.rstrip("/"), arguments.simulator.rstrip("/"), rng)
        rounds = 0
        while arguments.rounds == 0 or rounds < arguments.rounds:
            for phase in _PHASES:
                print(phase.name, flush=True)  # noqa: T201 - a command's output
                await load.run(phase, arguments.phase_seconds)
            rounds += 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--service", required=True, help="base URL of Tidegate")
    parser.add_argument("--simulator", required=True, help="base URL of the simulator")
    parser.add_argument("--phase-seconds", type=float, default=120, help="duration of each phase")
    parser.add_argument("--rounds", type=int, default=0, help="number of rounds of all phases; 0: until stopped")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random load")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(parser.parse_args()))
