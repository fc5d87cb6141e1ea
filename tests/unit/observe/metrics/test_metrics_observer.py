import threading

import pytest
from prometheus_client import CollectorRegistry

from support.scrape import OPENMETRICS, scrape
from support.virtual_time import VirtualClock
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.caller import DEFAULT_CALLER, Caller, Priority
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.events import (
    Admitted,
    Anomaly,
    AttemptFinished,
    BatchResultsRead,
    Event,
    FallbackUsed,
    HeadRefused,
    LeaseEnded,
    RefusedCall,
    RequestFinished,
    RetryScheduled,
    SpendCapReached,
    Thawed,
    UpstreamRateLimited,
    Withdrawn,
    WorkflowFinished,
)
from tidegate.core.domain.usage import Usage
from tidegate.core.pricing.price_list import PICO_USD
from tidegate.observe.metrics.labels import LabelSet
from tidegate.observe.metrics.metrics_observer import MetricsObserver
from tidegate.observe.observers import Observers

MODEL = "claude-sonnet-5-5"
POOL = "sonnet-5-5"
TEAM = Caller("team-a", label="team-a", priority=Priority.BATCH)
SECOND_NS = 1_000_000_000


class Bench:
    """An observer and what it counted."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.clock = VirtualClock()
        self.observer = MetricsObserver(self.registry, self.clock, models=[MODEL], callers=["team-a"])

    def hear(self, *events: Event) -> None:
        for event in events:
            Observers(self.observer.handlers).event(event)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"tidegate_{name}", labels)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_finished_request(bench: Bench) -> None:
    bench.hear(RequestFinished("/v1/messages", POOL, TEAM, "ok", 2 * SECOND_NS, SECOND_NS // 1000))

    labels = {"route": "/v1/messages", "pool": POOL}
    assert bench.value("requests_total", **labels, caller="team-a", outcome="ok") == 1
    assert bench.value("request_duration_seconds_sum", **labels) == 2
    assert bench.value("overhead_seconds_sum", route="/v1/messages") == 0.001


def test_a_request_without_known_overhead(bench: Bench) -> None:
    bench.hear(RequestFinished("/v1/messages", POOL, TEAM, "refused", 0))

    assert bench.value("overhead_seconds_count", route="/v1/messages") is None


def test_a_finished_attempt(bench: Bench) -> None:
    bench.hear(AttemptFinished(POOL, MODEL, TEAM, "200", 3 * SECOND_NS, SECOND_NS, Usage(10, 20, 30, 0)))

    labels = {"pool": POOL, "model": MODEL}
    assert bench.value("upstream_attempts_total", **labels, status="200") == 1
    assert bench.value("upstream_duration_seconds_sum", **labels) == 3
    assert bench.value("time_to_first_token_seconds_sum", **labels) == 1
    kinds = ("input", "output", "cache_read", "cache_creation")
    assert [bench.value("tokens_total", **labels, caller="team-a", kind=kind) for kind in kinds] == [10, 20, 30, 0]


def test_the_cost_of_an_answer_is_counted_and_a_model_without_a_price_is_flagged(bench: Bench) -> None:
    usage = Usage(1_000_000, 100_000)
    bench.hear(
        AttemptFinished(POOL, MODEL, TEAM, "200", SECOND_NS, None, usage, cost_pico_usd=3 * PICO_USD),
        AttemptFinished("fable-9", "claude-fable-9", TEAM, "200", SECOND_NS, None, usage),
    )

    assert bench.value("cost_usd_total", model=MODEL, caller="team-a") == 3
    assert bench.value("unpriced_tokens_total", model="claude-fable-9", kind="input") == 1_000_000
    assert bench.value("unpriced_tokens_total", model="claude-fable-9", kind="output") == 100_000
    assert bench.value("cost_usd_total", model="claude-fable-9", caller="team-a") is None
    assert bench.value("unpriced_tokens_total", model=MODEL, kind="input") is None


def test_results_of_a_batch_count_at_half_the_price_each_with_its_own_length(bench: Bench) -> None:
    dear, cheap = Usage(100_001, batch=True), Usage(100_000, 200_000, batch=True)
    bench.hear(
        BatchResultsRead(TEAM, (("claude-haiku-5-5", dear), ("claude-haiku-5-5", cheap), (MODEL, Usage(1, batch=True))))
    )

    assert bench.value("cost_usd_total", model="claude-haiku-5-5", caller="team-a") == pytest.approx(
        0.5 * (100_001 * 0.50 + 100_000 * 0.10 + 200_000 * 0.50) / 1_000_000
    )
    labels = {"pool": "batches", "model": "claude-haiku-5-5", "caller": "team-a"}
    assert bench.value("tokens_total", **labels, kind="input") == 200_001
    assert bench.value("tokens_total", **labels, kind="output") == 200_000
    assert bench.value("upstream_attempts_total", pool="batches", model="none", status="200") is None


def test_a_batch_s_model_without_a_price_is_flagged(bench: Bench) -> None:
    bench.hear(BatchResultsRead(TEAM, (("claude-fable-9", Usage(5, 7, batch=True)),)))
    assert bench.value("unpriced_tokens_total", model="claude-fable-9", kind="output") == 7


def test_a_model_that_a_batch_has_shown_has_its_failures_at_zero_from_its_first_call_on(bench: Bench) -> None:
    bench.hear(
        BatchResultsRead(TEAM, (("claude-opus-5-5", Usage(1)),)),
        AttemptFinished("opus-5-5", "claude-opus-5-5", TEAM, "200", 0),
    )
    assert bench.value("upstream_attempts_total", pool="opus-5-5", model="claude-opus-5-5", status="529") == 0


def test_heads_that_are_refused_count_by_their_status(bench: Bench) -> None:
    assert bench.value("heads_refused_total", status="408") == 0
    bench.hear(HeadRefused(431), HeadRefused(418))
    assert bench.value("heads_refused_total", status="431") == 1
    assert bench.value("heads_refused_total", status="other") == 1


def test_a_spend_cap_counts_from_zero(bench: Bench) -> None:
    assert bench.value("spend_capped_total", pool=POOL) == 0
    bench.hear(SpendCapReached(POOL), Anomaly(POOL, "lease"), Anomaly(POOL, "invented"))
    assert bench.value("anomalies_total", kind="lease") == 1
    assert bench.value("anomalies_total", kind="other") == 1
    assert {bench.value("anomalies_total", kind=kind) for kind in AnomalyKind if kind != "lease"} == {0}
    assert bench.value("spend_capped_total", pool=POOL) == 1


def test_every_ended_lease_counts_with_what_it_was_charged(bench: Bench) -> None:
    reserved = Cost(1, 400, 500)
    bench.hear(
        LeaseEnded(POOL, TEAM, "settled", reserved, Cost(1, 300, 20)),
        LeaseEnded(POOL, TEAM, "overloaded", reserved, Cost(1)),
    )

    def charged(dimension: str) -> float | None:
        return bench.value("quota_charged_total", pool=POOL, dimension=dimension)

    assert [charged(dimension) for dimension in ("requests", "input_tokens", "output_tokens")] == [2, 300, 20]


def test_an_attempt_that_failed_has_neither_tokens_nor_a_first_one(bench: Bench) -> None:
    bench.hear(AttemptFinished(POOL, MODEL, TEAM, "529", SECOND_NS))

    assert bench.value("upstream_attempts_total", pool=POOL, model=MODEL, status="529") == 1
    assert bench.value("time_to_first_token_seconds_count", pool=POOL, model=MODEL) is None
    assert bench.value("tokens_total", pool=POOL, model=MODEL, caller="team-a", kind="input") is None


def test_a_429_and_a_refusal_are_different_metrics(bench: Bench) -> None:
    bench.hear(UpstreamRateLimited(POOL, "input_tokens", None), RefusedCall(POOL, TEAM, Cause.QUEUE_FULL))

    assert bench.value("rate_limited_total", pool=POOL, dimension="input_tokens") == 1
    assert bench.value("refused_total", pool=POOL, caller="team-a", cause="queue_full") == 1


def test_a_refusal_before_a_pool_was_known(bench: Bench) -> None:
    bench.hear(RefusedCall("", DEFAULT_CALLER, Cause.UNAUTHENTICATED))

    assert bench.value("refused_total", pool="none", caller="default", cause="unauthenticated") == 1


def test_a_retry_and_its_wait(bench: Bench) -> None:
    bench.hear(RetryScheduled(POOL, "overloaded", 1, 2 * SECOND_NS))

    assert bench.value("retries_total", pool=POOL, reason="overloaded") == 1
    assert bench.value("retry_wait_seconds_sum", pool=POOL, reason="overloaded") == 2


def test_waits_for_admission_count_by_class(bench: Bench) -> None:
    bench.hear(Admitted(POOL, TEAM, Cost(1), 0), Admitted(POOL, TEAM, Cost(1), 5 * SECOND_NS))

    labels = {"pool": POOL, "class": "batch"}
    assert bench.value("queue_wait_seconds_count", **labels) == 2
    assert bench.value("queue_wait_seconds_sum", **labels) == 5


def test_waits_count_by_caller_and_by_how_they_ended(bench: Bench) -> None:
    bench.hear(
        Admitted(POOL, TEAM, Cost(1), 0),
        Admitted(POOL, TEAM, Cost(1), 5 * SECOND_NS),
        Withdrawn(POOL, TEAM, 90 * SECOND_NS),
    )

    def waits(end: str) -> tuple[float | None, float | None]:
        labels = {"caller": TEAM.label, "end": end}
        return bench.value("caller_wait_seconds_count", **labels), bench.value("caller_wait_seconds_sum", **labels)

    assert waits("admitted") == (1, 5), "without those that did not wait"
    assert waits("left") == (1, 90)


def test_long_waits_of_a_caller_that_floods_the_pool_are_told_apart(bench: Bench) -> None:
    web, batch = Caller("web", label="default"), Caller("team-a", label="team-a", priority=Priority.BATCH)
    flood = Caller("team-a", label="team-a")

    def long(caller: Caller) -> Admitted:
        return Admitted(POOL, caller, Cost(1), 20 * SECOND_NS)

    bench.hear(long(web), long(flood))
    bench.hear(*[RefusedCall(POOL, flood, Cause.DEADLINE)] * 3, RefusedCall(POOL, web, Cause.UNAUTHENTICATED))
    bench.hear(long(web), long(flood), long(batch), Admitted(POOL, flood, Cost(1), SECOND_NS - 1))
    labels = {"pool": POOL, "class": "standard"}
    assert bench.value("queue_wait_seconds_count", **labels) == 5
    assert bench.value("excess_wait_seconds_count", **labels) == 1
    assert bench.value("excess_wait_seconds_bucket", **labels, le="10.0") == 0
    assert bench.value("excess_wait_seconds_count", **{"pool": POOL, "class": "batch"}) is None


def test_long_waits_for_a_limit_of_the_callers_own_are_told_apart(bench: Bench) -> None:
    web = Caller("web", label="default")
    bench.hear(
        Admitted(POOL, web, Cost(1), 20 * SECOND_NS, is_own_limit=True),
        Admitted(POOL, web, Cost(1), 20 * SECOND_NS),
        Admitted(POOL, web, Cost(1), SECOND_NS - 1, is_own_limit=True),
    )
    assert bench.value("excess_wait_seconds_count", **{"pool": POOL, "class": "standard"}) == 1


def test_admissions_of_the_last_minute(bench: Bench) -> None:
    bench.hear(Admitted(POOL, TEAM, Cost(1), 0))
    bench.clock.advance(59)
    bench.hear(Admitted(POOL, TEAM, Cost(1), 0), Admitted("default", TEAM, Cost(1), 0))
    assert bench.observer.requests_last_minute() == {POOL: 2, "default": 1}

    bench.clock.advance(1)
    assert bench.observer.requests_last_minute() == {POOL: 1, "default": 1}


def test_the_estimate_error_of_settled_leases(bench: Bench) -> None:
    reserved, used = Cost(1, 300, 500), Cost(1, 200, 0)
    bench.hear(LeaseEnded(POOL, TEAM, "settled", reserved, used), LeaseEnded(POOL, TEAM, "released", reserved, used))

    assert bench.value("estimate_error_ratio_sum", pool=POOL, dimension="input_tokens") == 1.5
    assert bench.value("estimate_error_ratio_count", pool=POOL, dimension="input_tokens") == 1
    assert bench.value("estimate_error_ratio_count", pool=POOL, dimension="output_tokens") is None


def test_workflows_and_fallbacks(bench: Bench) -> None:
    bench.hear(WorkflowFinished("repaired"), FallbackUsed("truncated"))

    assert bench.value("workflows_total", outcome="repaired") == 1
    assert bench.value("fallbacks_total", reason="truncated") == 1


def test_an_event_without_a_metric_is_ignored(bench: Bench) -> None:
    before = list(bench.registry.collect())
    bench.hear(Thawed(POOL))

    assert list(bench.registry.collect()) == before


POOLS = ("default", "count_tokens", POOL, "other_endpoints", "other")


@pytest.mark.parametrize("pool", POOLS)
def test_counters_that_alerts_watch_exist_at_zero_from_the_start(bench: Bench, pool: str) -> None:
    assert bench.value("failed_calls_total", pool=pool) == 0
    assert bench.value("rate_limited_total", pool=pool, dimension="unknown") == 0
    assert bench.value("retries_total", pool=pool, reason="timeout") == 0
    assert bench.value("refused_total", pool=pool, caller="default", cause="deadline") == 0
    assert bench.value("quota_charged_total", pool=pool, dimension="input_tokens") == 0
    assert bench.value("queue_wait_seconds_count", **{"pool": pool, "class": "standard"}) == 0
    assert bench.value("queue_wait_seconds_bucket", **{"pool": pool, "class": "standard", "le": "10.0"}) == 0
    assert bench.value("spend_capped_total", pool=pool) == 0


def test_refusals_before_the_pool_is_known_exist_at_zero_from_the_start(bench: Bench) -> None:
    assert bench.value("failed_calls_total", pool="none") == 0
    labels = {"route": "/v1/messages", "pool": "none", "caller": "default", "outcome": "upstream_error"}
    assert bench.value("requests_total", **labels) == 0
    for cause in Cause:
        assert bench.value("refused_total", pool="none", caller="default", cause=cause) == 0


@pytest.mark.parametrize("status", ["401", "404", "429", "500", "529", "error", "deadline"])
def test_failures_of_the_upstream_exist_at_zero_from_the_start(bench: Bench, status: str) -> None:
    for pool, model in ((POOL, MODEL), ("count_tokens", "none"), ("other", "other")):
        assert bench.value("upstream_attempts_total", pool=pool, model=model, status=status) == 0


def test_outcomes_of_workflows_exist_at_zero_from_the_start(bench: Bench) -> None:
    assert bench.value("workflows_total", outcome="failed") == 0
    assert bench.value("fallbacks_total", reason="too_long") == 0


def test_the_cost_of_a_caller_exists_at_zero_from_the_start(bench: Bench) -> None:
    assert bench.value("cost_usd_total", model=MODEL, caller="team-a") == 0
    assert bench.value("cost_usd_total", model="claude-opus-5-5", caller="default") == 0
    assert bench.value("cost_usd_total", model="claude-opus-5-5", caller="team-a") is None

    bench.hear(AttemptFinished("opus-5-5", "claude-opus-5-5", DEFAULT_CALLER, "200", 0))
    assert bench.value("cost_usd_total", model="claude-opus-5-5", caller="team-a") == 0


def test_classes_of_configured_callers_exist_at_zero() -> None:
    registry = CollectorRegistry()
    MetricsObserver(registry, VirtualClock(), classes=[Priority.BATCH])
    labels = {"pool": "default", "class": "batch"}
    assert registry.get_sample_value("tidegate_queue_wait_seconds_count", labels) == 0
    labels["class"] = "interactive"
    assert registry.get_sample_value("tidegate_queue_wait_seconds_count", labels) is None


def test_calls_that_nobody_answered(bench: Bench) -> None:
    def ended(outcome: str, cause: Cause | None = None, route: str = "/v1/messages") -> RequestFinished:
        return RequestFinished(route, POOL, TEAM, outcome, 0, cause=cause)

    bench.hear(
        ended("upstream_error"),
        ended("upstream_error", route="/api/workflows/generate"),
        ended("refused", Cause.UPSTREAM_OUTAGE),
        ended("refused", Cause.STORE_UNAVAILABLE),
    )
    assert bench.value("failed_calls_total", pool=POOL) == 4

    bench.hear(
        ended("ok"),
        ended("rate_limited"),
        ended("client_error"),
        ended("deadline"),
        ended("abandoned"),
        ended("refused", Cause.DEADLINE),
        ended("refused", Cause.SPEND_CAP),
        ended("upstream_error", route="/api/system/ai-client/status"),
        ended("upstream_error", route="/api/invented"),
    )
    assert bench.value("failed_calls_total", pool=POOL) == 4


def test_a_call_that_is_refused_before_its_pool_is_known_has_no_duration(bench: Bench) -> None:
    labels = {"route": "/v1/messages", "pool": "none"}
    bench.hear(RequestFinished("/v1/messages", "", TEAM, "refused", SECOND_NS))
    assert bench.value("requests_total", **labels, caller="team-a", outcome="refused") == 1
    assert bench.value("request_duration_seconds_count", **labels) is None


def test_a_pool_and_a_model_earn_their_labels_by_a_2xx(bench: Bench) -> None:
    def attempt(status: str) -> AttemptFinished:
        return AttemptFinished("opus-4", "claude-opus-4-1", TEAM, status, 0)

    bench.hear(attempt("404"))
    assert bench.value("upstream_attempts_total", pool="other", model="other", status="404") == 1
    assert not bench.observer.has_own_label("opus-4")

    bench.hear(attempt("200"))
    assert bench.value("upstream_attempts_total", pool="opus-4", model="claude-opus-4-1", status="200") == 1
    assert bench.value("upstream_attempts_total", pool="opus-4", model="claude-opus-4-1", status="529") == 0
    assert bench.value("rate_limited_total", pool="opus-4", dimension="requests") == 0
    assert bench.observer.has_own_label("opus-4")


def test_values_outside_the_closed_sets_count_as_other(bench: Bench) -> None:
    junk = Caller("x", label="<script>")
    bench.hear(
        RequestFinished("/wp-admin", "x", junk, "exploded", 0),
        AttemptFinished(POOL, MODEL, junk, "299", 0),
        UpstreamRateLimited("x", "moon", None),
        RetryScheduled("x", "boredom", 1, 0),
        WorkflowFinished("x"),
        FallbackUsed("x"),
    )

    assert bench.value("requests_total", route="other", pool="other", caller="other", outcome="other") == 1
    assert bench.value("upstream_attempts_total", pool=POOL, model=MODEL, status="other") == 1
    assert bench.value("rate_limited_total", pool="other", dimension="other") == 1
    assert bench.value("retries_total", pool="other", reason="other") == 1
    assert bench.value("workflows_total", outcome="other") == 1
    assert bench.value("fallbacks_total", reason="other") == 1


@pytest.mark.parametrize(("status", "label"), [("418", "4xx"), ("520", "5xx"), ("599", "5xx"), ("600", "other")])
def test_statuses_without_a_label_of_their_own_count_by_their_class(bench: Bench, status: str, label: str) -> None:
    bench.hear(AttemptFinished(POOL, MODEL, TEAM, status, 0))
    assert bench.value("upstream_attempts_total", pool=POOL, model=MODEL, status=label) == 1


def test_threads_lose_no_event(bench: Bench) -> None:
    def hear_many() -> None:
        for number in range(500):
            bench.hear(AttemptFinished(f"m{number % 7}", f"claude-m{number % 7}", TEAM, "200", 0))
            bench.hear(Admitted(POOL, TEAM, Cost(1), 0))

    threads = [threading.Thread(target=hear_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    attempts = sum(
        sample.value
        for family in bench.registry.collect()
        if family.name == "tidegate_upstream_attempts"
        for sample in family.samples
    )
    assert attempts == 2000
    assert bench.observer.requests_last_minute()[POOL] == 2000


def test_durations_and_failures_carry_the_trace_that_they_are_an_example_of() -> None:
    ids = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}
    registry = CollectorRegistry()
    observer = MetricsObserver(registry, VirtualClock(), models=[MODEL], callers=["team-a"], exemplar=lambda: ids)
    for event in (
        Admitted(POOL, TEAM, Cost(1), SECOND_NS),
        RefusedCall(POOL, TEAM, Cause.DEADLINE),
        UpstreamRateLimited(POOL, "requests", None),
        RetryScheduled(POOL, "overloaded", 1, SECOND_NS),
        AttemptFinished(POOL, MODEL, TEAM, "529", SECOND_NS, SECOND_NS, Usage(1, 1)),
        RequestFinished("/v1/messages", POOL, TEAM, "ok", SECOND_NS, exemplar=ids),
    ):
        Observers(observer.handlers).event(event)

    exposed = scrape(registry, OPENMETRICS).decode()

    carrying = {
        line.partition("{")[0] for line in exposed.splitlines() if f'# {{span_id="{ids["span_id"]}",trace_id="' in line
    }
    assert carrying == {
        "tidegate_queue_wait_seconds_bucket",
        "tidegate_refused_total",
        "tidegate_rate_limited_total",
        "tidegate_retries_total",
        "tidegate_retry_wait_seconds_bucket",
        "tidegate_upstream_attempts_total",
        "tidegate_upstream_duration_seconds_bucket",
        "tidegate_time_to_first_token_seconds_bucket",
        "tidegate_requests_total",
        "tidegate_request_duration_seconds_bucket",
    }
    assert "span_id" not in scrape(registry).decode()


def test_without_a_trace_there_are_no_exemplars(bench: Bench) -> None:
    bench.hear(RequestFinished("/v1/messages", POOL, TEAM, "ok", SECOND_NS))
    assert b" # " not in b"".join(
        line for line in scrape(bench.registry, OPENMETRICS).splitlines() if not line.startswith(b"#")
    )


def test_what_becomes_known_later_has_its_own_labels_from_then_on(bench: Bench) -> None:
    late = Caller("team-b", label="team-b", priority=Priority.INTERACTIVE)
    bench.hear(
        AttemptFinished("opus-5-5", "claude-opus-5-5", TEAM, "200", 0), RequestFinished("/v1/models", "", late, "ok", 0)
    )
    assert bench.value("requests_total", route="/v1/models", pool="none", caller="other", outcome="ok") == 1
    bench.observer.know(
        models=["claude-haiku-5-5"], pools=["post_agents"], callers=["team-b"], classes=[Priority.INTERACTIVE]
    )
    for model in (MODEL, "claude-opus-5-5", "claude-haiku-5-5"):
        for caller in ("default", "team-a", "team-b"):
            assert bench.value("cost_usd_total", model=model, caller=caller) == 0
    for pool in (POOL, "opus-5-5", "haiku-5-5", "post_agents"):
        assert bench.value("failed_calls_total", pool=pool) == 0
        assert bench.value("queue_wait_seconds_count", pool=pool, **{"class": "interactive"}) == 0
    bench.hear(RequestFinished("/v1/models", "", late, "ok", 0))
    assert bench.value("requests_total", route="/v1/models", pool="none", caller="team-b", outcome="ok") == 1
    assert bench.value("requests_total", route="/v1/models", pool="none", caller="other", outcome="ok") == 1


def test_values_that_become_known_leave_room_for_learned_ones() -> None:
    labels = LabelSet(["a"], max_added=1)
    labels.know(["b", "c", "a"])
    assert [labels.add(value) for value in ("d", "e")] == [True, False]
    assert labels.own == ["a", "b", "c", "d"]
