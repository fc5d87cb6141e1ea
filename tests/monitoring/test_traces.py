"""Whole traces, as they leave: a change of a name or attribute shows here as a diff."""

import asyncio
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from claude_simulator import Fault, FaultKind
from support.api_services import FakeGenerator, make_services
from support.asgi_client import Answer, call
from support.gateway import (
    CONTENT,
    MESSAGE,
    MESSAGE_DELTA,
    MESSAGE_START,
    FakeTransport,
    Reply,
    error,
    make_gateway,
    sse,
    unreachable,
)
from support.simulated_claude import SimulatedClaude
from support.traces import Traces
from support.virtual_time import VirtualClock, run_virtual
from tidegate.api.app import create_app
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.errors import Refusal
from tidegate.core.domain.events import RefusedCall, RequestFinished
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.failures.retry_policy import RetryPolicy
from tidegate.gateway.relay_limits import RelayLimits
from tidegate.generation.generator import Generator
from tidegate.generation.request import GenerationRequest, GenerationResult, OnProgress, Tally
from tidegate.rate_limiter import RateLimitConfig

SLOW_STREAM = sse(MESSAGE_START, 0.5, CONTENT, 1.5, MESSAGE_DELTA)
THEIRS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LIMITED = {"sonnet-5-5": PoolSettings({Dimension.REQUESTS: LimitSettings(6, 1)})}
TINY = {"sonnet-5-5": PoolSettings({Dimension.INPUT_TOKENS: LimitSettings(10, 1)}, allow_debt=False)}

WHOLE = Reply(
    chunks=(
        (
            b'{"id": "msg_1", "model": "claude-sonnet-5-5-20261001", "stop_reason": "end_turn",'
            b' "usage": {"input_tokens": 7, "output_tokens": 3, "cache_read_input_tokens": 90}}'
        ),
    )
)
WHOLE_STREAM = sse(
    b'event: message_start\ndata: {"message": {"id": "msg_1", "model": "claude-sonnet-5-5-20261001",'
    b' "usage": {"input_tokens": 7, "output_tokens": 1, "cache_creation_input_tokens": 80}}}\n\n',
    CONTENT,
    b'event: message_delta\ndata: {"delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 30}}\n\n',
)

RELAYED: dict[str, tuple[Sequence[Reply | Exception], dict[str, Any]]] = {
    "plain": ([Reply()], {}),
    "whole": ([WHOLE], {}),
    "whole-stream": ([WHOLE_STREAM], {}),
    "stream": ([SLOW_STREAM], {}),
    "overloaded-then-unreachable-then-answered": (
        [error(529, "overloaded_error"), unreachable(), Reply()],
        {},
    ),
    "rate-limited-then-answered": ([error(429, "rate_limit_error", retry_after="20"), Reply()], {}),
    "exhausted": ([error(500, "api_error")], {"policy": RetryPolicy(2, 1.0, 30.0, 0.0)}),
    "invalid": ([error(400, "invalid_request_error")], {}),
    "too-big": ([Reply()], {"pools": TINY}),
    "broken-stream": ([sse(MESSAGE_START, CONTENT, 1.0, unreachable(may_have_been_accepted=True))], {}),
    "of-a-trace": ([Reply()], {"headers": {"traceparent": THEIRS, "tracestate": "vendor=1"}}),
    "files": ([Reply()], {"method": "GET", "path": "/v1/files/file_1", "body": None}),
    "loop": ([Reply()], {"headers": {"x-tidegate-hop": "hop-a"}}),
}


def relayed(
    answers: Sequence[Reply | Exception],
    *,
    method: str = "POST",
    path: str = "/v1/messages",
    body: Any = MESSAGE,
    headers: dict[str, str] | None = None,
    send_upstream: bool = False,
    **options: Any,
) -> tuple[Traces, Answer, FakeTransport]:
    clock = VirtualClock()
    traces, transport = Traces(clock, send_upstream=send_upstream), FakeTransport(answers, head_after_seconds=0.25)
    rig = make_gateway(transport, clock, tracing=traces.tracing, passes_trace_context=send_upstream, **options)
    answer = run_virtual(call(rig.gateway, method, path, body=body, headers=headers or {}), clock)
    return traces, answer, transport


def expected(name: str) -> Path:
    return Path(__file__).parent / "traces" / f"{name}.txt"


@pytest.mark.parametrize("name", RELAYED)
def test_traces_of_relayed_calls(golden: Callable[[Path, str], None], name: str) -> None:
    answers, options = RELAYED[name]
    traces, *_ = relayed(answers, **options)
    golden(expected(name), traces.text())


class Generating:
    """A generator behind the API that asks a simulated Claude."""

    def __init__(self, claude: SimulatedClaude, traces: Traces) -> None:
        self._generator = Generator(
            claude.model,
            claude.clock,
            model="claude-sonnet-5-5",
            fallback_model="claude-haiku-5-5",
            timeout_seconds=600,
            observer=traces.observer,
        )

    async def generate(
        self, request: GenerationRequest, on_progress: OnProgress | None = None, tally: Tally | None = None
    ) -> GenerationResult:
        return await self._generator.generate(request, on_progress or (lambda _: None), tally)

    def status(self) -> dict[str, Any]:
        return {}


GENERATED: dict[str, tuple[tuple[Fault, ...], dict[str, Any]]] = {
    "generate": ((), {}),
    "generate-repaired-after-a-429": (
        (
            Fault(kind=FaultKind.RATE_LIMITED, retry_after_seconds=3, count=1),
            Fault(kind=FaultKind.INVALID_WORKFLOW, count=1),
        ),
        {},
    ),
    "generate-as-a-stream": ((), {"stream": True}),
    "generate-in-vain": ((Fault(kind=FaultKind.OVERLOADED),), {"fallback": True}),
    "generate-with-an-empty-prompt": ((), {"prompt": ""}),
}


def generated(faults: Sequence[Fault], fields: dict[str, Any]) -> Traces:
    clock = VirtualClock()
    traces = Traces(clock)
    claude = SimulatedClaude(
        *faults, config=RateLimitConfig(jitter_factor=0, max_attempts=2), observer=traces.observer, clock=clock
    )
    services = make_services(
        ai_client=Generating(claude, traces),
        observer=traces.observer,
        tracer_provider=traces.provider,
        clock=clock,
        store=claude.store,
    )
    body = {"prompt": "Every hour, fetch the news", **fields}
    headers = {"traceparent": THEIRS, "user-agent": "team-a/1.0"}
    with traces.on_the_virtual_clock():
        run_virtual(call(create_app(services), "POST", "/api/workflows/generate", body=body, headers=headers), clock)
    return traces


@pytest.mark.parametrize("name", GENERATED)
def test_traces_of_generations(golden: Callable[[Path, str], None], name: str) -> None:
    faults, fields = GENERATED[name]
    golden(expected(name), generated(faults, fields).text())


@pytest.mark.parametrize("stream", [False, True])
def test_the_server_span_of_a_refused_generation_has_its_cause(*, stream: bool) -> None:
    clock = VirtualClock()
    traces = Traces(clock)
    generator = FakeGenerator()
    generator.error = Refusal(Cause.DEADLINE, "too late")
    services = make_services(
        ai_client=generator, observer=traces.observer, tracer_provider=traces.provider, clock=clock
    )
    body = {"prompt": "Every hour, fetch the news", "stream": stream}
    run_virtual(call(create_app(services), "POST", "/api/workflows/generate", body=body), clock)
    attributes = traces.span("POST /api/workflows/generate").attributes
    assert attributes
    assert attributes["tidegate.cause"] == "deadline"
    assert attributes["http.response.status_code"] == (200 if stream else 429)


@pytest.mark.parametrize("path", ["/v1/messages", "/api/workflows/generate"])
def test_traces_of_calls_that_are_not_let_in(golden: Callable[[Path, str], None], path: str) -> None:
    clock = VirtualClock()
    traces = Traces(clock)
    services = make_services(
        gateway=make_gateway(FakeTransport([Reply()]), clock, tracing=traces.tracing).gateway,
        observer=traces.observer,
        tracer_provider=traces.provider,
        clock=clock,
    )
    headers = {"origin": "https://evil.example", "traceparent": THEIRS}
    with traces.on_the_virtual_clock():
        run_virtual(call(create_app(services), "POST", path, body=MESSAGE, headers=headers), clock)
    golden(expected("denied-" + path.split("/")[1]), traces.text())


def test_the_trace_of_a_call_that_ends_with_the_service(golden: Callable[[Path, str], None]) -> None:
    clock = VirtualClock()
    traces = Traces(clock)
    rig = make_gateway(FakeTransport([Reply()], head_after_seconds=60), clock, tracing=traces.tracing)
    services = make_services(gateway=rig.gateway, observer=traces.observer, clock=clock)

    async def stop() -> None:
        task = asyncio.create_task(call(create_app(services), "POST", "/v1/messages", body=MESSAGE))
        await asyncio.sleep(1)
        services.draining = True
        task.cancel()
        await task

    run_virtual(stop(), clock)
    golden(expected("draining"), traces.text())
    assert [(event.outcome, event.cause) for event in rig.observer.of(RequestFinished)] == [("refused", "draining")]
    assert [event.cause for event in rig.observer.of(RefusedCall)] == ["draining"]


@pytest.mark.parametrize("read_on_seconds", [0.0, 60.0])
def test_traces_of_a_client_that_leaves_in_the_middle(
    golden: Callable[[Path, str], None], read_on_seconds: float
) -> None:
    clock = VirtualClock()
    traces = Traces(clock)
    rig = make_gateway(
        FakeTransport([SLOW_STREAM]), clock, tracing=traces.tracing, limits=RelayLimits(read_on_seconds=read_on_seconds)
    )

    async def leave() -> None:
        leaves = asyncio.Event()
        asyncio.get_running_loop().call_later(1, leaves.set)
        await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, leaves=leaves)

    run_virtual(leave(), clock)
    golden(expected("left-and-read-on" if read_on_seconds else "left"), traces.text())


def test_a_trace_that_its_client_does_not_sample_is_not_exported() -> None:
    unsampled = f"{THEIRS[:-2]}00"
    traces, answer, transport = relayed([Reply()], headers={"traceparent": unsampled}, send_upstream=True)
    assert (answer.status, traces.spans()) == (200, [])
    (sent,) = [value for name, value in transport.requests[0][0].headers if name == b"traceparent"]
    assert sent.decode().split("-")[1] == THEIRS.split("-")[1]
    assert sent.endswith(b"-00")


def test_upstream_the_trace_goes_on_below_the_attempt() -> None:
    traces, _, transport = relayed([Reply()], headers={"traceparent": THEIRS}, send_upstream=True)
    attempt = traces.span("POST").get_span_context()
    assert attempt
    (sent,) = [value for name, value in transport.requests[0][0].headers if name == b"traceparent"]
    assert sent.decode() == f"00-{attempt.trace_id:032x}-{attempt.span_id:016x}-01"


def test_upstream_nothing_is_told_unless_it_is_asked_for() -> None:
    _, _, transport = relayed([Reply()], headers={"traceparent": THEIRS, "baggage": "user=7"})
    assert not {b"traceparent", b"tracestate", b"baggage"} & {name for name, _ in transport.requests[0][0].headers}


def test_no_attribute_is_empty_and_every_error_is_from_the_closed_set() -> None:
    texts = [file.read_text() for file in expected("x").parent.glob("*.txt")]
    named = {"connection", "timeout", "deadline", "broken", "abandoned", "_OTHER", "invalid", "refused", "truncated"}
    assert len(texts) > 20
    for text in texts:
        assert not re.search(r" = (''|\(\)|None)$", text, re.MULTILINE)
        for error_type in re.findall(r"error\.type = '(.*)'", text):
            assert error_type in named | {*Cause} or re.fullmatch("[45][0-9]{2}", error_type), error_type
