"""The error of estimated input, compared with the simulated API, which has rules and a parser of its own."""

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from claude_simulator.requests.models import MODELS
from claude_simulator.requests.prompt import prompt_blocks
from support.media import encoded, gif, jpeg, pdf, png, webp
from tidegate.core.domain.usage import Usage
from tidegate.core.pricing.cost_estimator import CostEstimator
from tidegate.core.pricing.message_shape import MessageShape
from tidegate.gateway.receive.request import read_message

pytestmark = pytest.mark.no_cover  # long simulations; other tests reach the same lines

TOOL = {"name": "look_up", "description": "Looks a word up. " * 20, "input_schema": {"type": "object"}}


def sizes(rng: random.Random) -> tuple[int, int]:
    return rng.randint(100, 4_000), rng.randint(100, 4_000)


def text(rng: random.Random) -> dict[str, Any]:
    return {"type": "text", "text": "word " * rng.randint(50, 2_000)}


def image(rng: random.Random) -> dict[str, Any]:
    data = rng.choice([png, gif, webp, jpeg])(*sizes(rng)) + bytes(rng.randint(1, 200_000))
    return {"type": "image", "source": {"type": "base64", "data": encoded(data)}}


def image_elsewhere(_rng: random.Random) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "url", "url": "https://example.com/image.png"}}


def document(rng: random.Random) -> dict[str, Any]:
    pages = ["x" * rng.randint(1_000, 3_500) for _ in range(rng.randint(1, 12))]
    data = encoded(pdf(*pages, compressed=rng.random() < 0.5))
    return {"type": "document", "source": {"type": "base64", "data": data}}


def document_elsewhere(_rng: random.Random) -> dict[str, Any]:
    return {"type": "document", "source": {"type": "file", "file_id": "file_1"}}


KINDS: dict[str, Callable[[random.Random], list[dict[str, Any]]]] = {
    "text": lambda rng: [text(rng)],
    "images": lambda rng: [image(rng) for _ in range(rng.randint(1, 5))] + [text(rng)],
    "images elsewhere": lambda rng: [image_elsewhere(rng), text(rng)],
    "documents": lambda rng: [document(rng), text(rng)],
    "documents elsewhere": lambda rng: [document_elsewhere(rng), text(rng)],
}
ERRORS = {  # of the first 20 calls together, and of the 20 after 40 answers
    "text": (0.3, 0.03),
    "images": (0.1, 0.03),
    "images elsewhere": (2.0, 0.03),
    "documents": (0.25, 0.15),
    "documents elsewhere": (2.0, 0.03),
}


@pytest.mark.parametrize("model", ["claude-sonnet-5-5", "claude-haiku-4-5"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tools", [[], [TOOL]], ids=["", "tools"])
def test_estimates_are_near_at_once_where_rules_are_known_and_soon_where_not(
    kind: str, model: str, tools: list[dict[str, Any]]
) -> None:
    rng, estimator = random.Random(7), CostEstimator()  # noqa: S311  # a workload

    def errors(calls: int) -> float:
        estimated = missed = 0
        for _ in range(calls):
            fields = {"model": model, "messages": [{"role": "user", "content": KINDS[kind](rng)}], "tools": tools}
            truth = sum(block.tokens for block in prompt_blocks(fields, MODELS[model]))
            read = asyncio.run(read_message(json.dumps(fields).encode()))
            shape = MessageShape("team-a", model, read.size)
            missed += abs(estimator.estimate(shape, 0).input_tokens - truth)
            estimated += truth
            if calls > 20:
                estimator.observe(shape, Usage(truth), 0)
        return missed / estimated

    cold, learned = ERRORS[kind]
    assert errors(20) <= cold
    errors(40)
    assert errors(20) <= learned
