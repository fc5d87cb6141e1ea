"""Uses pydantic-ai. Input: `base_url` and `key`, in JSON. Output: the results."""

import asyncio
import json
import sys
from typing import Any

from anthropic import AsyncAnthropic
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider


class City(BaseModel):
    """A city."""

    name: str
    sights: list[str]


async def main() -> None:
    told = json.load(sys.stdin)
    async with AsyncAnthropic(api_key=told["key"], base_url=told["base_url"], max_retries=0) as client:
        json.dump(await results(AnthropicProvider(anthropic_client=client)), sys.stdout, default=str)


async def results(provider: AnthropicProvider) -> dict[str, Any]:
    model = AnthropicModel("claude-opus-4-8", provider=provider)
    got: dict[str, Any] = {}
    agent: Any = Agent(model, instructions="Be brief.")
    answer = await agent.run("Hello, ünï 🌊")
    got["run"] = [answer.output, vars(answer.usage)]
    async with agent.run_stream("Tell me more") as stream:
        got["stream"] = [text async for text in stream.stream_text(delta=True, debounce_by=None)]

    asked: list[str] = []

    def get_weather(city: str) -> str:
        """The weather in a city."""
        asked.append(city)
        return "Sunny"

    # The simulator calls a tool that the last message names; the tool's result contains no such name.
    with_tool: Any = Agent(model, tools=[get_weather])
    got["tool"] = (await with_tool.run("Please get_weather for me")).output
    got["calls"] = [{"get_weather": city} for city in asked]
    got["structured"] = (await Agent(model, output_type=City).run("Name a city")).output.model_dump()
    try:
        await Agent(AnthropicModel("claude-novel-9", provider=provider)).run("Hello")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
        got["error"] = [type(error).__name__, str(error)]
    return got


if __name__ == "__main__":
    asyncio.run(main())
