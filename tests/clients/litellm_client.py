"""Uses litellm as a client. Input: `base_url` and `key`, in JSON. Output: the results."""

import asyncio
import json
import os
import sys
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it downloads prices

import litellm

MODEL = "anthropic/claude-sonnet-5-5"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def said(response: Any) -> Any:
    """The parts of a response that do not differ between runs."""
    fields = response.model_dump(mode="json")
    return {name: value for name, value in fields.items() if name not in {"created", "id"}}


def main() -> None:
    litellm.suppress_debug_info = True  # it would be printed among the results
    told = json.load(sys.stdin)
    options = {"api_base": told["base_url"], "api_key": told["key"], "num_retries": 0, "max_tokens": 500}

    def ask(content: str, **more: Any) -> Any:
        return litellm.completion(
            **{"model": MODEL, "messages": [{"role": "user", "content": content}], **options, **more}
        )

    got: dict[str, Any] = {}
    got["completion"] = said(ask("Hello, ünï 🌊"))
    got["stream"] = [said(chunk) for chunk in ask("Tell me more", stream=True)]
    got["tool"] = said(ask("Please get_weather for me", tools=[WEATHER]))
    got["tool stream"] = [said(chunk) for chunk in ask("Please get_weather for me", tools=[WEATHER], stream=True)]
    got["async"] = said(asyncio.run(asynchronous(options)))
    try:
        ask("Hello", model="anthropic/claude-novel-9")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
        got["error"] = [type(error).__name__, getattr(error, "status_code", None)]
    json.dump(got, sys.stdout)


async def asynchronous(options: dict[str, Any]) -> Any:
    return await litellm.acompletion(model=MODEL, messages=[{"role": "user", "content": "Hello"}], **options)


if __name__ == "__main__":
    main()
