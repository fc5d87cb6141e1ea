"""The simulator as an ASGI application, on virtual time."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from claude_simulator import Fault, FaultKind, Latency, PoolLimits, SimulatorOptions, create_app
from support.virtual_time import VirtualClock, run_virtual

MakeClient = Callable[..., Any]
MESSAGE_2_REQUESTS = (
    "This request would exceed your organization's rate limit of 2 requests per minute (model: claude-sonnet-4-5)"
)
TIGHT = PoolLimits(requests_per_minute=2, input_tokens_per_minute=600, output_tokens_per_minute=600)


def test_a_response_carries_ids_limits_and_x_simulated(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        answer = await make_client().ask()

        assert answer.status == 200
        assert answer.headers["x-simulated"] == "true"
        assert answer.headers["request-id"].startswith("req_")
        assert answer.headers["anthropic-organization-id"]
        assert answer.headers["content-length"] == str(len(answer.body))
        assert answer.headers["anthropic-ratelimit-requests-remaining"] == "999"
        assert sum(name.startswith("anthropic-ratelimit-") for name in answer.headers) == 12

    run_virtual(main(), clock)


def test_the_same_seed_gives_the_same_ids(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        first, again, other = [await make_client(seed=seed).ask() for seed in (1, 1, 2)]

        assert first.body == again.body != other.body

    run_virtual(main(), clock)


def test_a_429_has_retry_after(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        client = make_client(limits=TIGHT)
        await client.ask()
        await client.ask()
        clock.advance(0.5)
        refused = await client.ask()

        assert refused.error() == (
            429,
            "rate_limit_error",
            MESSAGE_2_REQUESTS,
        )
        assert refused.json()["request_id"] == refused.headers["request-id"]
        assert refused.headers["retry-after"] == "30"
        assert refused.headers["x-should-retry"] == "true"
        assert refused.headers["anthropic-ratelimit-requests-remaining"] == "0"
        clock.advance(29.5)
        assert (await client.ask()).status == 200
        other_family = await client.ask(model="claude-haiku-4-5")
        assert other_family.status == 200

    run_virtual(main(), clock)


def test_the_estimate_is_corrected_by_the_models_own_count(make_client: MakeClient, clock: VirtualClock) -> None:
    """3,100 characters are 1,000 tokens of this model; the estimate is 4 characters per token."""

    async def main() -> None:
        client = make_client(latency=Latency(first_token_seconds=2, per_token_seconds=0))
        prompt = [{"role": "user", "content": "a" * 3_100}]
        await client.ask(model="claude-sonnet-5-5", messages=prompt, leave_after_seconds=1)
        assert (await client.state())["pools"]["claude-sonnet-5-5"]["input_tokens"] == 779

        answer = await client.ask(model="claude-sonnet-5-5", messages=prompt)
        assert answer.json()["usage"]["input_tokens"] == 1_004
        assert (await client.state())["pools"]["claude-sonnet-5-5"]["input_tokens"] == 779 + 1_004

    run_virtual(main(), clock)


def test_cache_reads_are_not_charged(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        client = make_client()
        system = [{"type": "text", "text": "a" * 8_000, "cache_control": {"type": "ephemeral"}}]
        first, second = [(await client.ask(system=system)).json()["usage"] for _ in range(2)]

        assert (first["cache_creation_input_tokens"], first["cache_read_input_tokens"]) == (2_000, 0)
        assert (second["cache_creation_input_tokens"], second["cache_read_input_tokens"]) == (0, 2_000)
        charged = 2_000 + first["input_tokens"] + second["input_tokens"]
        assert (await client.state())["pools"]["claude-sonnet-4"]["input_tokens"] == charged
        assert (await client.state())["cached_prefixes"] == 1

    run_virtual(main(), clock)


def test_streamed_output_is_charged_as_it_is_produced(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        client = make_client(latency=Latency(first_token_seconds=1, per_token_seconds=0.25))
        answer = await client.ask(stream=True, headers={"x-simulator-output-tokens": "12"})

        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        deltas = [at for at, part in client.sent if b"text_delta" in part]
        assert (client.sent[0][0], deltas) == (1.0, [2.0, 3.0, 4.0])
        assert answer.event_names()[-2:] == ["message_delta", "message_stop"]
        assert answer.complete

    run_virtual(main(), clock)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_disconnects_is_charged_for_what_was_produced(
    make_client: MakeClient, clock: VirtualClock, *, stream: bool
) -> None:
    async def main() -> None:
        client = make_client(latency=Latency(first_token_seconds=1, per_token_seconds=0.25))
        asked = {"stream": stream, "headers": {"x-simulator-output-tokens": "400"}}
        answer = await client.ask(**asked, leave_after_seconds=3.5)

        assert clock.elapsed_s == 3.5
        assert not answer.complete
        state = await client.state()
        assert state["pools"]["claude-sonnet-4"]["output_tokens"] == 8
        assert state["in_flight"] == 0

    run_virtual(main(), clock)


def test_a_client_that_disconnects_within_its_request_gets_no_response(clock: VirtualClock) -> None:
    async def main() -> None:
        sent: list[Any] = []
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/messages",
            "query_string": b"",
            "headers": [(b"x-api-key", b"k"), (b"anthropic-version", b"2026-10-21")],
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await create_app()(scope, receive, send)
        assert sent == []

    run_virtual(main(), clock)


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        (
            {"x-api-key": ""},
            (401, "authentication_error", "x-api-key or authorization: Bearer header is required"),
        ),
        (
            {"x-api-key": "", "authorization": "Basic abc"},
            (401, "authentication_error", "x-api-key or authorization: Bearer header is required"),
        ),
        ({"x-api-key": "invalid-key"}, (401, "authentication_error", "invalid x-api-key")),
        (
            {"x-api-key": "", "authorization": "Bearer invalid-key"},
            (401, "authentication_error", "invalid x-api-key"),
        ),
        ({"anthropic-version": ""}, (400, "invalid_request_error", "anthropic-version: header is required")),
        (
            {"anthropic-version": "2020-01-01"},
            (
                400,
                "invalid_request_error",
                "anthropic-version: '2020-01-01' was given; 2023-06-01 or 2026-10-21 is allowed",
            ),
        ),
        (
            {"x-simulator-output-tokens": "many"},
            (
                400,
                "invalid_request_error",
                "x-simulator-output-tokens: 'many' was given; a whole number from 1 is allowed",
            ),
        ),
    ],
)
def test_invalid_headers_are_refused(
    make_client: MakeClient, clock: VirtualClock, headers: dict[str, str], error: tuple[int, str, str]
) -> None:
    async def main() -> None:
        assert (await make_client().ask(headers=headers)).error() == error

    run_virtual(main(), clock)


def test_only_accepted_keys_are_accepted(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        client = make_client(accepted_keys=frozenset({"mine"}))

        assert (await client.ask()).status == 401
        assert (await client.ask(headers={"x-api-key": "mine"})).status == 200
        assert (await client.ask(headers={"x-api-key": "", "authorization": "bearer mine"})).status == 200

    run_virtual(main(), clock)


@pytest.mark.parametrize("path", ["/", "/v1/nothing", "/v1/messages/batches/x/y", "/simulator/nothing"])
def test_other_paths_are_not_found(make_client: MakeClient, clock: VirtualClock, path: str) -> None:
    async def main() -> None:
        assert (await make_client().send("GET", path)).error() == (404, "not_found_error", f"Not found: {path}")

    run_virtual(main(), clock)


def test_other_methods_are_not_allowed(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        answer = await make_client().send("GET", "/v1/messages")

        assert answer.error() == (405, "invalid_request_error", "Method GET is not allowed; POST is")

    run_virtual(main(), clock)


@pytest.mark.parametrize("announced", ["", "1001"])
def test_a_body_over_the_limit_is_refused(make_client: MakeClient, clock: VirtualClock, announced: str) -> None:
    async def main() -> None:
        client = make_client(max_body_bytes=1_000)
        headers = {"content-length": announced}
        answer = await client.send("POST", "/v1/messages", b"x" * 1_001, headers=headers)

        assert answer.error() == (413, "request_too_large", "Request exceeds the maximum size of 1000 bytes")

    run_virtual(main(), clock)


def test_a_deeply_nested_body_is_refused(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        # As text: encoding it here would recurse as deeply.
        schema = '{"items":' * 1_000 + "{}" + "}" * 1_000
        rest = '{"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]'
        body = f'{rest}, "tools": [{{"name": "t", "input_schema": {schema}}}]}}'.encode()
        answer = await make_client().send("POST", "/v1/messages", body)

        assert answer.error() == (400, "invalid_request_error", "The request is nested too deeply")

    run_virtual(main(), clock)


def test_count_tokens_matches_messages_and_has_its_own_limit(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        client = make_client(limits=TIGHT, count_tokens_requests_per_minute=1)
        body = {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "Hello"}]}
        counted = await client.send("POST", "/v1/messages/count_tokens", body)

        assert counted.json() == {"input_tokens": (await client.ask()).json()["usage"]["input_tokens"]}
        assert sum(name.startswith("anthropic-ratelimit-") for name in counted.headers) == 3
        refused = await client.send("POST", "/v1/messages/count_tokens", body)
        assert (refused.status, refused.headers["retry-after"]) == (429, "60")
        assert (await client.ask()).status == 200

    run_virtual(main(), clock)


def test_models_are_listed_and_shown(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        client = make_client()
        page = (await client.send("GET", "/v1/models?limit=2")).json()

        assert ([model["id"] for model in page["data"]], page["has_more"]) == (
            ["claude-fable-5-2", "claude-mythos-5-2"],
            True,
        )
        after = (await client.send("GET", "/v1/models?limit=1&after_id=claude-mythos-5-2")).json()
        assert after["first_id"] == "claude-haiku-5-5"
        assert (await client.send("GET", "/v1/models/claude-opus-5")).json()["line"] == "opus"
        assert (await client.send("GET", "/v1/models/gpt")).status == 404
        assert (await client.send("GET", f"/v1/models?limit={'1' * 5_000}")).status == 400
        bad = await client.send("GET", "/v1/models?limit=0")
        assert bad.error()[2] == "limit: '0' was given; a whole number from 1 to 1000 is allowed"

    run_virtual(main(), clock)


def test_lifespan_and_websocket(clock: VirtualClock) -> None:
    async def main() -> None:
        sent: list[str] = []
        messages = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive() -> dict[str, Any]:
            return {"type": next(messages)}

        async def send(message: Any) -> None:
            sent.append(message["type"])

        app = create_app()
        await app({"type": "lifespan"}, receive, send)
        await app({"type": "websocket"}, receive, send)
        assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]

    run_virtual(main(), clock)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("count_tokens_requests_per_minute", 0, "a whole number from 1 is allowed"),
        ("cached_prefixes", 0, "a whole number from 1 is allowed"),
        ("max_body_bytes", -1, "a whole number from 1 is allowed"),
        ("limits_by_family", {"claude-2": TIGHT}, "allowed are claude-fable-5, "),
    ],
)
def test_invalid_options_are_named(field: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=rf"^{field}: .* was given; {allowed}"):
        SimulatorOptions(**{field: value})


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_an_invalid_latency_is_named(value: float) -> None:
    with pytest.raises(ValueError, match=r"^first_token_seconds: .* was given; a finite number from 0 is allowed"):
        Latency(first_token_seconds=value)


def test_options_never_show_keys() -> None:
    shown = repr(SimulatorOptions(accepted_keys=frozenset({"secret-1"}), rejected_keys=frozenset({"secret-2"})))

    assert "secret" not in shown


def test_faults_in_the_options_affect_requests(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        client = make_client(faults=(Fault(kind=FaultKind.OVERLOADED, count=1),))

        assert [(await client.ask()).status for _ in range(2)] == [529, 200]
        assert json.loads((await client.ask()).body)["type"] == "message"

    run_virtual(main(), clock)


def test_a_prompt_longer_than_the_context_is_refused(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        client = make_client(batch_seconds=0)
        params = {
            "model": "claude-haiku-4-5",
            "max_tokens": 10,
            "messages": [{"role": "user", "content": "x" * 800_000}],
        }
        refused = await client.send("POST", "/v1/messages", params)
        assert refused.error() == (
            400,
            "invalid_request_error",
            "prompt is too long: 200004 tokens > 200000 maximum",
        )
        body = {"requests": [{"custom_id": "a", "params": params}]}
        batch = (await client.send("POST", "/v1/messages/batches", body)).json()
        results = await client.send("GET", f"/v1/messages/batches/{batch['id']}/results")
        assert "prompt is too long" in results.json()["result"]["error"]["error"]["message"]

    run_virtual(main(), clock)


def test_tool_calls_have_different_ids(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        client = make_client()
        tool = {"name": "get", "input_schema": {"type": "object"}}
        asked = {"messages": [{"role": "user", "content": "get"}], "tools": [tool]}
        whole = [(await client.ask(**asked)).json()["content"][0]["id"] for _ in range(2)]
        events = (await client.ask(**asked, stream=True)).events()
        streamed = [data["content_block"]["id"] for name, data in events if name == "content_block_start"]
        assert len({*whole, *streamed}) == 3
        assert all(each.startswith("toolu_") for each in (*whole, *streamed))

    run_virtual(main(), clock)
