"""The Anthropic Python SDK with the simulator on a real server."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.types import TextBlock, ToolUseBlock

from claude_simulator import NO_LATENCY, Latency, SimulatorOptions, create_app
from support.servers import serve
from tidegate.generation.dsl.check import check_document

MODEL = "claude-sonnet-5-5"
HELLO: Any = [{"role": "user", "content": "Hello"}]
ORDER: Any = [
    {
        "role": "user",
        "content": "When an order arrives, check stock, charge the card, retry twice, then notify the warehouse",
    }
]
ENVELOPE: Any = {
    "type": "json_schema",
    "schema": {
        "type": "object",
        "properties": {"workflow": {"type": "string"}, "notes": {"type": "array", "items": {"type": "string"}}},
        "required": ["workflow", "notes"],
        "additionalProperties": False,
    },
}


def with_client(
    work: Callable[[anthropic.AsyncAnthropic], Awaitable[None]], *, key: str = "any", **options: Any
) -> None:
    """Run a simulator without latency, and a coroutine with a client of it."""

    async def main() -> None:
        async with (
            serve(create_app(SimulatorOptions(**{"latency": NO_LATENCY, **options}))) as url,
            anthropic.AsyncAnthropic(
                api_key=key, base_url=url, max_retries=0, open_telemetry=False, timeout=20
            ) as client,
        ):
            await work(client)

    asyncio.run(main())


def test_create_and_its_headers() -> None:
    async def work(client: anthropic.AsyncAnthropic) -> None:
        raw = await client.messages.with_raw_response.create(model=MODEL, max_tokens=100, messages=HELLO)
        message = await raw.parse()

        assert isinstance(message.content[0], TextBlock)
        assert message.content[0].text.endswith("You said: Hello")
        assert message.usage.output_tokens > 0
        assert raw.headers["anthropic-ratelimit-input-tokens-limit"] == "2000000"
        assert raw.request_id == raw.headers["request-id"]

    with_client(work)


def test_a_streamed_answer_is_a_valid_workflow() -> None:
    async def work(client: anthropic.AsyncAnthropic) -> None:
        async with client.messages.stream(
            model=MODEL,
            max_tokens=4_000,
            messages=ORDER,
            thinking={"type": "adaptive"},
            output_config={"format": ENVELOPE},
        ) as stream:
            kinds = [event.type async for event in stream]
            message = await stream.get_final_message()

        assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
        assert [block.type for block in message.content] == ["thinking", "text"]
        assert isinstance(message.content[1], TextBlock)
        assert check_document(json.loads(json.loads(message.content[1].text)["workflow"])) == ()
        assert message.usage.output_tokens_details is not None
        assert message.usage.output_tokens_details.thinking_tokens > 0

    with_client(work)


def test_count_tokens_and_models() -> None:
    async def work(client: anthropic.AsyncAnthropic) -> None:
        assert (await client.messages.count_tokens(model=MODEL, messages=HELLO)).input_tokens == 6
        models = [model async for model in client.models.list(limit=5)]
        assert len(models) == 22
        newer = await client.models.list(limit=2, before_id=models[4].id)
        assert [model.id for model in newer.data] == [model.id for model in models[2:4]]
        assert (await client.models.retrieve(MODEL)).max_tokens == 128_000

    with_client(work)


def test_tools() -> None:
    tool: Any = {
        "name": "get_weather",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }

    async def work(client: anthropic.AsyncAnthropic) -> None:
        async with client.messages.stream(
            model="claude-opus-4-8", max_tokens=400, tools=[tool], tool_choice={"type": "any"}, messages=HELLO
        ) as stream:
            message = await stream.get_final_message()

        assert message.stop_reason == "tool_use"
        assert isinstance(message.content[0], ToolUseBlock)
        assert message.content[0].input == {"city": "Hello"}

    with_client(work)


def test_older_clients_send_the_older_version_and_sampling() -> None:
    async def work(client: anthropic.AsyncAnthropic) -> None:
        message = await client.messages.create(
            model="claude-sonnet-4-5-20250929",
            max_tokens=10,
            messages=HELLO,
            extra_headers={"anthropic-version": "2023-06-01"},
            extra_body={"temperature": 0.2},
        )
        assert message.stop_reason == "max_tokens"

    with pytest.warns(DeprecationWarning, match="claude-sonnet-4-5-20250929"):
        with_client(work)


@pytest.mark.parametrize(
    ("kind", "error", "code"),
    [
        ("rate_limited", anthropic.RateLimitError, None),
        ("ramp_limited", anthropic.RampLimitExceededError, "ramp_limit_exceeded"),
        ("spend_cap", anthropic.EnforcedSpendLimitReachedError, "enforced_spend_limit_reached"),
        ("spend_limit", anthropic.BadRequestError, None),
        ("not_found", anthropic.NotFoundError, None),
        ("overloaded", anthropic.OverloadedError, None),
        ("internal_error", anthropic.InternalServerError, None),
        ("bad_gateway", anthropic.InternalServerError, None),
        ("gateway_timeout", anthropic.GatewayTimeoutError, None),
        ("cut", anthropic.APIConnectionError, None),
    ],
)
def test_faults_raise_the_errors_of_the_sdk(kind: str, error: type[anthropic.APIError], code: str | None) -> None:
    async def work(client: anthropic.AsyncAnthropic) -> None:
        with pytest.raises(error) as caught:
            await client.messages.create(
                model=MODEL, max_tokens=100, messages=HELLO, extra_headers={"x-simulator-fault": kind}
            )
        assert getattr(caught.value, "error_code", None) == code

    with_client(work)


def test_an_error_inside_a_stream_has_status_200() -> None:
    async def work(client: anthropic.AsyncAnthropic) -> None:
        stream = await client.messages.create(
            model=MODEL,
            max_tokens=100,
            messages=HELLO,
            stream=True,
            extra_headers={"x-simulator-fault": "stream_error"},
        )
        with pytest.raises(anthropic.APIStatusError) as caught:
            [event async for event in stream]
        await stream.close()
        assert (caught.value.status_code, caught.value.type) == (200, "overloaded_error")

    with_client(work)


def test_a_cut_stream_breaks_the_connection() -> None:
    async def work(client: anthropic.AsyncAnthropic) -> None:
        stream = await client.messages.create(
            model=MODEL, max_tokens=100, messages=HELLO, stream=True, extra_headers={"x-simulator-fault": "cut"}
        )
        with pytest.raises(httpx2.RemoteProtocolError):
            [event async for event in stream]
        await stream.close()

    with_client(work)


def test_a_client_that_disconnects_ends_the_work_on_its_stream() -> None:
    """On a raw connection, which closes at a defined time."""

    async def work(client: anthropic.AsyncAnthropic) -> None:
        async def state() -> Any:
            return await client.get("/simulator/state", cast_to=object)

        body = json.dumps({"model": MODEL, "max_tokens": 10_000, "messages": HELLO, "stream": True})
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        head = "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: any\r\nanthropic-version: 2026-10-21\r\n"
        length = f"x-simulator-output-tokens: 10000\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(f"{head}{length}{body}".encode())
        await reader.readuntil(b"text_delta")
        assert (await state())["in_flight"] == 1

        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(10):
            while (after := await state())["in_flight"]:  # noqa: ASYNC110  # polling is the only way
                await asyncio.sleep(0.01)
        assert after["pools"][MODEL]["output_tokens"] < 1_000

    with_client(work, latency=Latency(first_token_seconds=0, per_token_seconds=0.02))
