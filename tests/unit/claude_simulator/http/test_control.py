"""The control routes, and the responses to each kind of fault."""

from collections.abc import Callable
from typing import Any

import pytest

from claude_simulator.scenarios.faults import FaultKind
from support.virtual_time import VirtualClock, run_virtual

MakeClient = Callable[..., Any]
FAULTS = "/simulator/faults"


def test_a_fault_is_added_listed_and_removed(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        client = make_client()
        told = await client.send("POST", FAULTS, {"kind": "overloaded", "count": 3})
        assert told.json() == {"faults": [{"kind": "overloaded", "probability": 1.0, "affected": 0, "left": 3}]}

        assert (await client.ask()).status == 529
        assert (await client.state())["faults"][0]["left"] == 2
        assert (await client.send("DELETE", FAULTS)).json() == {"faults": []}
        assert (await client.ask()).status == 200

    run_virtual(main(), clock)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Object missing required field `kind`"),
        ({"kind": ["x"]}, "kind: Expected `str`, got `array`"),
        ({"kind": "overload"}, "kind: Invalid enum value 'overload'; allowed are rate_limited, "),
        ({"kind": "cut", "times": 3}, "Object contains unknown field `times`; allowed are kind, probability, "),
        ({"kind": "cut", "count": 1.5}, "count: Expected `int | null`, got `float`"),
        ({"kind": "cut", "count": 0}, "count: 0 was given; null or a whole number from 1 is allowed"),
        ({"kind": "cut", "probability": "1"}, "probability: Expected `float`, got `str`"),
        ({"kind": "cut", "skip": None}, "skip: Expected `int`, got `null`"),
        ({"kind": "cut", "delay_seconds": True}, "delay_seconds: Expected `float`, got `bool`"),
        ([], "body: list was given; a JSON object is allowed"),
        (b"x", "The request body is not valid JSON: "),
    ],
)
def test_an_invalid_fault_is_refused(make_client: MakeClient, clock: VirtualClock, body: Any, message: str) -> None:
    async def main() -> None:
        client = make_client()
        status, error_type, text = (await client.send("POST", FAULTS, body)).error()

        assert (status, error_type) == (400, "invalid_request_error")
        assert text.startswith(message)
        assert (await client.state())["faults"] == []

    run_virtual(main(), clock)


def test_a_null_count_means_no_limit(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        told = await make_client().send("POST", FAULTS, {"kind": "cut", "count": None, "end_seconds": None})

        assert told.json()["faults"][0]["left"] is None

    run_virtual(main(), clock)


def test_at_most_a_hundred_faults_are_active(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        client = make_client()
        for _ in range(100):
            assert (await client.send("POST", FAULTS, {"kind": "cut"})).status == 200

        assert (await client.send("POST", FAULTS, {"kind": "cut"})).status == 400

    run_virtual(main(), clock)


def test_state_shows_usage(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        client = make_client()
        usage = (await client.ask()).json()["usage"]
        await client.ask(stream=True, headers={"x-simulator-fault": "rate_limited"})

        state = await client.state()
        assert state["pools"] == {
            "claude-sonnet-4": {
                "requests": 1,
                "input_tokens": usage["input_tokens"],
                "output_tokens": usage["output_tokens"],
                "rate_limited": 0,
                "in_flight": 0,
                "remaining": {
                    "requests": 999.0,
                    "input-tokens": 2_000_000 - usage["input_tokens"],
                    "output-tokens": 400_000 - usage["output_tokens"],
                },
            }
        }
        assert state["responses_by_status"] == {"200": 1, "429": 1}

    run_virtual(main(), clock)


@pytest.mark.parametrize(
    ("kind", "status", "error_type", "error_code", "retry_after", "should_retry"),
    [
        ("rate_limited", 429, "rate_limit_error", None, "1", "true"),
        ("rate_limited_bare", 429, "rate_limit_error", None, None, None),
        ("ramp_limited", 429, "rate_limit_error", "ramp_limit_exceeded", "1", "true"),
        ("spend_cap", 429, "rate_limit_error", "enforced_spend_limit_reached", None, None),
        ("spend_limit", 400, "invalid_request_error", None, None, None),
        ("unauthenticated", 401, "authentication_error", None, None, None),
        ("forbidden", 403, "permission_error", None, None, None),
        ("too_large", 413, "request_too_large", None, None, None),
        ("overloaded", 529, "overloaded_error", None, None, None),
        ("stream_error", 529, "overloaded_error", None, None, None),
        ("internal_error", 500, "api_error", None, None, None),
        ("gateway_timeout", 504, "timeout_error", None, None, None),
    ],
)
def test_forced_errors(
    make_client: MakeClient,
    clock: VirtualClock,
    kind: str,
    status: int,
    error_type: str,
    error_code: str | None,
    retry_after: str | None,
    should_retry: str | None,
) -> None:
    async def main() -> None:
        answer = await make_client().ask(headers={"x-simulator-fault": kind})

        assert answer.error()[:2] == (status, error_type)
        assert answer.json()["error"].get("details", {}).get("error_code") == error_code
        assert answer.headers.get("retry-after") == retry_after
        assert answer.headers.get("x-should-retry") == should_retry
        assert answer.headers["anthropic-ratelimit-requests-remaining"] == "1000"

    run_virtual(main(), clock)


def test_a_forced_fault_must_exist(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        status, _, message = (await make_client().ask(headers={"x-simulator-fault": "nothing"})).error()

        assert status == 400
        assert message.startswith("x-simulator-fault: kind: 'nothing' was given; allowed are rate_limited, ")

    run_virtual(main(), clock)


@pytest.mark.parametrize(("kind", "status"), [("bad_gateway", 502), ("origin_error", 520)])
def test_a_proxy_answers_html(make_client: MakeClient, clock: VirtualClock, kind: str, status: int) -> None:
    async def main() -> None:
        answer = await make_client().ask(headers={"x-simulator-fault": kind})

        assert (answer.status, answer.headers["content-type"]) == (status, "text/html")
        assert answer.body.startswith(b"<html>")

    run_virtual(main(), clock)


def test_an_error_inside_a_stream(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        client = make_client()
        await client.send("POST", FAULTS, {"kind": "stream_error", "after_events": 2})
        answer = await client.ask(stream=True)

        assert answer.status == 200
        assert answer.event_names() == [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_delta",
            "error",
        ]
        assert b'"overloaded_error"' in answer.body
        assert answer.complete
        assert (await client.state())["pools"]["claude-sonnet-4"]["output_tokens"] == 8
        assert (await client.ask()).status == 529

    run_virtual(main(), clock)


def test_a_short_stream_breaks_before_its_end(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        client = make_client()
        await client.send("POST", FAULTS, {"kind": "stream_error", "after_events": 1_000})
        answer = await client.ask(stream=True)

        assert answer.event_names()[-2:] == ["content_block_stop", "error"]

    run_virtual(main(), clock)


@pytest.mark.parametrize("stream", [True, False])
def test_a_cut_answer_has_no_end(make_client: MakeClient, clock: VirtualClock, *, stream: bool) -> None:
    async def main() -> None:
        answer = await make_client().ask(stream=stream, headers={"x-simulator-fault": "cut"})

        assert answer.status == 200
        assert not answer.complete
        if not stream:
            assert 0 < len(answer.body) < int(answer.headers["content-length"])

    run_virtual(main(), clock)


def test_slow_answers(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        client = make_client()
        await client.send("POST", FAULTS, {"kind": "slow_start", "delay_seconds": 30, "count": 1})
        await client.ask()
        assert clock.elapsed_s == 30

        await client.send("POST", FAULTS, {"kind": "slow_stream", "delay_seconds": 2, "count": 1})
        await client.ask(stream=True, max_tokens=4)
        assert [at for at, part in client.sent if part] == [32, 34, 36, 38, 40, 42, 44]

    run_virtual(main(), clock)


def test_every_kind_of_fault_can_be_forced(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        client = make_client()
        for kind in FaultKind:
            for stream in (True, False):
                answer = await client.ask(stream=stream, headers={"x-simulator-fault": kind.value})
                assert answer.headers["x-simulated"] == "true"
        assert (await client.state())["in_flight"] == 0

    run_virtual(main(), clock)
