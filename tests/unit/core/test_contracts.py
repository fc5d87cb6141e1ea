"""Causes, costs, errors, protocols and metric names are as the design fixes them."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, get_args

import pytest
from msgspec import Struct

from support.virtual_time import VirtualClock
from tidegate.core.domain import events
from tidegate.core.domain.caller import DEFAULT_CALLER, Caller, Priority
from tidegate.core.domain.cause import CAUSES, Cause
from tidegate.core.domain.demand import Outcome
from tidegate.core.domain.dimension import DIMENSIONS, ONE_REQUEST, Cost
from tidegate.core.domain.errors import (
    ConfigurationError,
    GenerationError,
    Refusal,
    RetriesExhausted,
    TidegateError,
    UpstreamError,
    UpstreamUnreachable,
)
from tidegate.core.domain.events import Event
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE, NS_PER_SECOND, to_ns, to_seconds
from tidegate.core.ports.transport import Fields, Headers, Transport, TransportRequest, TransportResponse
from tidegate.engine.clock import SystemClock
from tidegate.observe.metrics.catalogue import CATALOGUE, MetricType
from tidegate.stores.memory import MemoryStore

if TYPE_CHECKING:
    from tidegate.core.ports.clock import Clock
    from tidegate.core.ports.store import Store

# All causes: cause, status, Anthropic error type, whether the same call may succeed.
DESIGN_CAUSES = """
    queue_full             429  rate_limit_error       yes
    deadline               429  rate_limit_error       yes
    caller_limit           429  rate_limit_error       yes
    budget                 429  rate_limit_error       no
    cost_exceeds_capacity  400  invalid_request_error  no
    spend_cap              403  permission_error       no
    paused                 403  permission_error       no
    upstream_credentials   502  api_error              no
    upstream_outage        529  overloaded_error       yes
    draining               503  api_error              yes
    store_unavailable      503  api_error              yes
    ledger_unavailable     503  api_error              yes
    loop                   508  invalid_request_error  no
    unauthenticated        401  authentication_error   no
    forbidden              403  permission_error       no
"""

# Every label of the metrics. A new label needs a decision: labels multiply series.
DESIGN_LABELS = {
    "route", "pool", "caller", "outcome", "model", "status", "dimension", "cause", "reason", "kind", "source", "class",
    "version", "revision", "upstream", "budget", "unit", "percent", "limit", "end",
}  # fmt: skip


def test_causes_are_those_of_the_design() -> None:
    rows = [line.split() for line in DESIGN_CAUSES.strip().splitlines()]
    assert {
        str(cause): (row.status, row.error_type, "yes" if row.retryable else "no") for cause, row in CAUSES.items()
    } == {cause: (int(status), error_type, retry) for cause, status, error_type, retry in rows}
    assert set(CAUSES) == set(Cause)


def test_cost_fields_follow_the_order_of_the_dimensions() -> None:
    assert Cost._fields == tuple(str(dimension) for dimension in DIMENSIONS)
    assert Cost() == (0, 0, 0)
    assert Cost(requests=1) == ONE_REQUEST


def test_the_difference_of_costs_may_be_negative() -> None:
    assert Cost(1, 500, 20).minus(Cost(1, 800, 5)) == Cost(0, -300, 15)


def test_callers_have_equal_weight_and_a_shared_label_unless_configured() -> None:
    assert Caller("key-1") == Caller("key-1", label="default", weight=1.0, priority=Priority.STANDARD)
    assert Caller("default") == DEFAULT_CALLER
    assert [str(priority) for priority in Priority] == ["interactive", "standard", "batch"]


def test_a_lease_ends_in_one_of_the_outcomes_of_the_design() -> None:
    assert [str(outcome) for outcome in Outcome] == ["settled", "released", "throttled", "overloaded", "abandoned"]


@pytest.mark.parametrize(("seconds", "ns"), [(0.0, 0), (1.0, NS_PER_SECOND), (60.0, NS_PER_MINUTE), (1e-9, 1)])
def test_seconds_and_nanoseconds(seconds: float, ns: int) -> None:
    assert to_ns(seconds) == ns
    assert to_seconds(ns) == seconds


def test_clocks_implement_the_protocol() -> None:
    system: Clock = SystemClock()
    before_ns = time.monotonic_ns()
    assert before_ns <= system.monotonic_ns() <= time.monotonic_ns()
    assert system.wall_seconds() == pytest.approx(time.time(), abs=60)

    virtual = VirtualClock(start_s=5.0, wall_start_s=100.0)
    clock: Clock = virtual
    virtual.advance(2.5)
    assert (clock.monotonic_ns(), clock.wall_seconds()) == (7_500_000_000, 102.5)


def test_the_memory_store_implements_the_protocol() -> None:
    store: Store = MemoryStore(VirtualClock())
    store.watch(lambda _change: None)()


def test_a_transport_can_be_a_few_lines() -> None:
    class Answer:
        status = 200
        headers: Headers = ((b"content-type", b"text/plain"),)
        fields: Fields = dict(headers)  # noqa: RUF012
        at_end = False
        waited_ns = 0

        def whole(self) -> None:
            pass

        async def chunks(self) -> AsyncIterator[bytes]:
            yield b"pong"

        async def aclose(self) -> None:
            pass

    class Echo:
        async def send(
            self, request: TransportRequest, on_begin: Callable[[], None] | None = None
        ) -> TransportResponse:
            assert on_begin is None
            assert (request.method, request.body, request.content_length) == (b"GET", b"", None)
            return Answer()

        async def aclose(self) -> None:
            pass

    async def body(transport: Transport) -> bytes:
        answer = await transport.send(TransportRequest(b"GET", b"/ping", headers=[]))
        return b"".join([chunk async for chunk in answer.chunks()])

    assert asyncio.run(body(Echo())) == b"pong"


def test_events_are_frozen_values() -> None:
    kinds = get_args(Event)
    assert {kind.__name__ for kind in kinds} | {"Event"} == set(events.__all__)
    for kind in kinds:
        assert issubclass(kind, Struct)
        assert kind.__struct_config__.frozen
        assert not [name for name in kind.__struct_fields__ if name.endswith(("_s", "_ms", "_seconds"))], (
            "durations are in ns"
        )
    for event in (events.Thawed("default"), events.Admitted("default", DEFAULT_CALLER, Cost(1), 0)):
        with pytest.raises(AttributeError):
            event.pool = "other"  # type: ignore[misc]


class TestErrors:
    def test_all_are_tidegate_errors(self) -> None:
        for kind in (ConfigurationError, Refusal, UpstreamError, UpstreamUnreachable, RetriesExhausted):
            assert issubclass(kind, TidegateError)
        assert issubclass(GenerationError, TidegateError)
        assert issubclass(ConfigurationError, ValueError)
        assert issubclass(UpstreamUnreachable, UpstreamError)

    def test_configuration_error_says_what_was_given_and_what_is_allowed(self) -> None:
        error = ConfigurationError("jitter_factor", 1.5, "0 to 1")
        assert (error.field, error.given, error.allowed) == ("jitter_factor", 1.5, "0 to 1")
        assert str(error) == "jitter_factor: got 1.5, allowed is 0 to 1"

    def test_configuration_error_shortens_what_was_given(self) -> None:
        text = str(ConfigurationError("prompt", "x" * 1000, "at most 10 characters"))
        assert text == f"prompt: got '{'x' * 78}…, allowed is at most 10 characters"
        assert "…" not in str(ConfigurationError("prompt", "x" * 78, "anything"))

    @pytest.mark.parametrize("cause", Cause)
    def test_refusal_carries_the_row_of_its_cause(self, cause: Cause) -> None:
        refusal = Refusal(cause, "no", retry_after_seconds=3.0, dimension=DIMENSIONS[1])
        assert refusal.row is CAUSES[cause]
        assert (str(refusal), refusal.retry_after_seconds, refusal.dimension) == ("no", 3.0, DIMENSIONS[1])

    def test_refusal_knows_no_time_unless_told(self) -> None:
        refusal = Refusal(Cause.FORBIDDEN, "no")
        assert (refusal.retry_after_seconds, refusal.dimension) == (None, None)

    def test_upstream_error_keeps_the_answer_for_passing_on(self) -> None:
        error = UpstreamError(
            "too many",
            status=429,
            error_type="rate_limit_error",
            error_code="code",
            retry_after_seconds=2.0,
            headers=[(b"retry-after", b"2")],
            body=b"{}",
        )
        assert (str(error), error.status, error.error_type, error.error_code, error.retry_after_seconds) == (
            "too many", 429, "rate_limit_error", "code", 2.0,
        )  # fmt: skip
        assert (error.headers, error.body) == ([(b"retry-after", b"2")], b"{}")

    def test_unreachable_upstream_has_no_status(self) -> None:
        error = UpstreamUnreachable("refused", may_have_been_accepted=False)
        assert (error.status, error.may_have_been_accepted) == (0, False)

    def test_exhausted_retries_say_how_often_how_long_and_why(self) -> None:
        last = UpstreamError("overloaded", status=529)
        error = RetriesExhausted(5, 12.34, last)
        assert (error.attempts, error.elapsed_seconds, error.last) == (5, 12.34, last)
        assert str(error) == "gave up after 5 attempts in 12.3 s; the last failed with: overloaded"

    def test_generation_error_lists_findings(self) -> None:
        error = GenerationError("invalid", "not a workflow", ["do: missing", "document: missing"])
        assert (error.reason, str(error)) == ("invalid", "not a workflow")
        assert error.findings == ("do: missing", "document: missing")


class TestMetricCatalogue:
    def test_names_are_unique_prefixed_and_in_base_units(self) -> None:
        names = [metric.name for metric in CATALOGUE]
        assert len(set(names)) == len(names)
        assert [name for name in names if not re.fullmatch(r"tidegate_[a-z]+(_[a-z]+)*", name)] == []
        assert [name for name in names if name.endswith(("_ms", "_milliseconds", "_minutes"))] == []

    def test_counters_and_only_counters_end_in_total(self) -> None:
        assert [m.name for m in CATALOGUE if (m.type is MetricType.COUNTER) != m.name.endswith("_total")] == []

    def test_units_end_the_names(self) -> None:
        assert [m.name for m in CATALOGUE if m.unit and not m.name.endswith(f"_{m.unit}")] == []
        assert [m.name for m in CATALOGUE if m.name.endswith("_seconds") and m.unit != "seconds"] == []

    def test_labels_are_a_closed_set(self) -> None:
        for metric in CATALOGUE:
            assert set(metric.labels) <= DESIGN_LABELS, metric.name
            assert len(set(metric.labels)) == len(metric.labels), metric.name

    def test_histograms_and_only_histograms_have_ascending_buckets(self) -> None:
        for metric in CATALOGUE:
            assert bool(metric.buckets) == (metric.type is MetricType.HISTOGRAM), metric.name
            assert list(metric.buckets) == sorted(set(metric.buckets)), metric.name

    def test_every_metric_explains_itself_in_one_line(self) -> None:
        assert [m.name for m in CATALOGUE if not m.help.endswith(".") and "; " not in m.help] == []
        assert [m.name for m in CATALOGUE if "\n" in m.help] == []
