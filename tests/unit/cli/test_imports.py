"""Modules that a start must not import: they take long, and a relay does not need them."""

import sys

import pytest

from support.programs import output_of

_START = """
import asyncio, sys
import tidegate.cli.serve
from tidegate.cli.composition.services import services
from tidegate.api.app import create_app
from tidegate.settings import Settings

async def start():
    async with services(Settings(anthropic_api_key="sk-fake"), "claude") as parts:
        create_app(parts)

asyncio.run(start())
print(*sys.modules, sep="\\n")
"""


@pytest.fixture(scope="module")
def imported() -> set[str]:
    return set(output_of(sys.executable, "-c", _START).split())


@pytest.mark.parametrize(
    "module",
    [
        "anthropic",
        "httpx",
        "httpx2",
        "aiohttp",
        "grpc",
        "opentelemetry.sdk",
        "opentelemetry.exporter",
        "opentelemetry.instrumentation.fastapi",
        "requests",
        "claude_simulator",
    ],
)
def test_a_start_does_not_import(module: str, imported: set[str]) -> None:
    assert "tidegate.gateway.app" in imported
    assert module not in imported
