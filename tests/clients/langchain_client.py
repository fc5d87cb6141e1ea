"""Uses LangChain's `ChatAnthropic`. Input: `base_url` and `key`, in JSON. Output: the results."""

import asyncio
import json
import sys
from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage

MODEL = "claude-sonnet-5-5"
WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def said(message: Any) -> dict[str, Any]:
    """The parts of a message that do not differ between runs."""
    return {
        "content": message.content,
        "tool_calls": message.tool_calls,
        "usage": message.usage_metadata,
        "stop_reason": message.response_metadata.get("stop_reason"),
    }


def main() -> None:
    told = json.load(sys.stdin)
    options = {"base_url": told["base_url"], "api_key": told["key"], "max_retries": 0, "max_tokens": 500}
    chat = ChatAnthropic(model=MODEL, **options)
    got: dict[str, Any] = {}
    got["invoke"] = said(chat.invoke([SystemMessage("Be brief."), HumanMessage("Hello, ünï 🌊")]))
    got["stream"] = [said(chunk) for chunk in chat.stream("Tell me more")]
    got["async"] = said(asyncio.run(chat.ainvoke("Hello")))

    tools = chat.bind_tools([WEATHER])
    called = tools.invoke("Please get_weather for me")
    answer = ToolMessage("Sunny", tool_call_id=called.tool_calls[0]["id"])
    got["tool"] = [said(called), said(tools.invoke([HumanMessage("Please get_weather"), called, answer]))]
    got["tool stream"] = [said(chunk) for chunk in tools.stream("Please get_weather for me")]

    thinking = ChatAnthropic(model="claude-opus-5-5", thinking={"type": "adaptive"}, **options)
    got["thinking"] = said(thinking.invoke("Think hard"))
    got["tokens"] = chat.get_num_tokens_from_messages([HumanMessage("How many?")])
    try:
        ChatAnthropic(model="claude-novel-9", **options).invoke("Hello")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
        got["error"] = [type(error).__name__, str(error)]
    json.dump(got, sys.stdout)


if __name__ == "__main__":
    main()
