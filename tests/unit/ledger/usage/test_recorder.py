"""Usage in memory: what is added up, by what, and how much at most."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from support.virtual_time import VirtualClock
from tidegate.core.domain.caller import Caller, Priority
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.events import AttemptFinished, BatchResultsRead, Event, RequestFinished
from tidegate.core.domain.usage import Usage
from tidegate.core.pricing.price_list import PriceList
from tidegate.ledger.usage.recorder import UsageRecorder
from tidegate.ledger.usage.sums import Sums, UsageKey

HAIKU = "claude-haiku-5-5"
WEB = Caller("web", label="web", team="shop", priority=Priority.INTERACTIVE)
HOUR = 1_794_999_600


class Recorder:
    """A recorder on a virtual clock, which is 400 s after the full hour."""

    def __init__(self, **changes: Any) -> None:
        self.clock = VirtualClock()
        self.recorder = UsageRecorder(self.clock, PriceList.bundled(), **changes)
        self.handlers = dict(self.recorder.handlers)

    def hear(self, *events: Event) -> None:
        for event in events:
            self.handlers[type(event)](event)

    def sums(self) -> dict[UsageKey, Sums]:
        pending = self.recorder.take()
        return {} if pending is None else pending.sums


@pytest.fixture
def on() -> Recorder:
    return Recorder()


def answered(usage: Usage | None, model: str = HAIKU, caller: Caller = WEB, pool: str = "haiku-5-5") -> AttemptFinished:
    cost_pico_usd = None if usage is None else PriceList.bundled().cost_pico_usd(model, usage, HOUR)
    return AttemptFinished(pool, model, caller, "200", 1, None, usage, cost_pico_usd=cost_pico_usd)


def ended(outcome: str = "ok", **changes: Any) -> RequestFinished:
    fields: dict[str, Any] = {"route": "/v1/messages", "pool": "haiku-5-5", "caller": WEB, "model": HAIKU}
    return RequestFinished(**{**fields, "outcome": outcome, "duration_ns": 1, **changes})


def test_tokens_and_cost_are_added_up_under_the_hour_team_caller_model_pool_and_class(on: Recorder) -> None:
    on.hear(answered(Usage(1_000_000, 10, 20, 30)), answered(Usage(0, 5)), answered(None))
    (key, sums), *others = on.sums().items()
    assert others == []
    assert key == (HOUR, "shop", "web", HAIKU, "haiku-5-5", "interactive")
    assert (sums.input_tokens, sums.output_tokens, sums.cache_read_tokens, sums.cache_creation_tokens) == (
        *(1_000_000, 15, 20, 30),
    )
    # Beyond 100,000 tokens of prompt: $0.50, $2.50, $0.05 and $0.625 per million tokens; then $0.50 for output.
    assert sums.cost_micro_usd == 500_000 + 25 + 1 + 19 + 3  # 500,044.75 and 2.5 are rounded
    assert sums.unpriced_tokens == 0


def test_tokens_without_a_price_are_counted_apart(on: Recorder) -> None:
    on.hear(answered(Usage(1, 2, 3, 4), "claude-fable-9", pool="fable-9"))
    (sums,) = on.sums().values()
    assert (sums.unpriced_tokens, sums.cost_micro_usd) == (10, 0)


def test_results_of_a_batch_count_in_the_pool_of_batches_at_their_price(on: Recorder) -> None:
    on.hear(BatchResultsRead(WEB, ((HAIKU, Usage(100, batch=True)), (HAIKU, Usage(100, batch=True)))))
    ((key, sums),) = on.sums().items()
    assert key[4] == "batches"
    assert (sums.input_tokens, sums.cost_micro_usd) == (200, 10)


def test_calls_are_counted_by_their_end(on: Recorder) -> None:
    on.hear(
        *map(ended, ("ok", "abandoned", "client_error", "upstream_error", "rate_limited")),
        ended("refused", cause=Cause.DEADLINE),
        ended("refused", cause=Cause.DEADLINE),
        ended("refused", cause=Cause.QUEUE_FULL),
    )
    (sums,) = on.sums().values()
    assert (sums.calls, sums.refused, sums.failed) == (8, 3, 2)
    assert sums.refusals == {"deadline": 2, "queue_full": 1}


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0, 0), (0.1, 0), (0.11, 1), (1, 1), (9.9, 2), (60, 3), (61, 4), (600, 4), (601, 5)]
)
def test_a_wait_counts_in_the_first_bucket_that_it_fits(seconds: float, bucket: int, on: Recorder) -> None:
    on.hear(ended(queue_wait_ns=round(seconds * 1e9)))
    (sums,) = on.sums().values()
    assert sums.waits == [int(index == bucket) for index in range(6)]


def test_a_call_without_a_pool_has_not_waited(on: Recorder) -> None:
    on.hear(ended("refused", cause=Cause.FORBIDDEN, pool="", model=""))
    ((key, sums),) = on.sums().items()
    assert key[3:5] == ("", "")
    assert sum(sums.waits) == 0


@pytest.mark.parametrize("route", ["/api/system/usage", "/api/system/rate-limiting/status"])
def test_questions_about_the_service_are_no_calls(route: str, on: Recorder) -> None:
    on.hear(ended(route=route))
    assert on.sums() == {}


def test_each_hour_has_its_own_sums(on: Recorder) -> None:
    on.hear(ended())
    on.clock.advance(3_200)
    on.hear(ended(), ended())
    assert {key[0]: sums.calls for key, sums in on.sums().items()} == {HOUR: 1, HOUR + 3_600: 2}


def test_an_answer_that_was_noted_before_the_first_call_of_an_hour_counts_in_the_last_one(on: Recorder) -> None:
    on.hear(*[answered(Usage(0))] * 300, *[ended()] * 300)
    assert on.sums()[HOUR, "shop", "web", HAIKU, "haiku-5-5", "interactive"].calls == 300
    on.hear(answered(Usage(1)), ended())
    on.clock.advance(3_200)
    on.hear(answered(Usage(2)), ended())
    assert {key[0]: (sums.calls, sums.input_tokens) for key, sums in on.sums().items()} == {
        HOUR: (1, 3),
        HOUR + 3_600: (1, 0),
    }


@pytest.mark.parametrize(
    ("pool", "model", "counted"),
    [
        ("made-up", "made-up", ("other", "other")),
        ("haiku-5-5", "claude-haiku-5-5-20260901", ("haiku-5-5", "claude-haiku-5-5-20260901")),
        ("post_made_up", "", ("other_endpoints", "")),
        ("files", "", ("files", "")),
        ("default", "", ("default", "")),
        ("strange", "", ("other", "")),
    ],
)
def test_names_that_only_a_client_chose_become_other(
    pool: str, model: str, counted: tuple[str, str], on: Recorder
) -> None:
    on.hear(ended("client_error", pool=pool, model=model))
    ((key, _),) = on.sums().items()
    assert (key[4], key[3]) == counted


def test_a_model_that_answered_has_its_name_from_then_on(on: Recorder) -> None:
    end = ended(pool="new-1", model="claude-new-1")
    on.hear(end)
    assert on.recorder.since_ns() is not None  # which adds up
    on.hear(answered(Usage(1), "claude-new-1", pool="new-1"), end)
    counted = {key[3:5]: (sums.calls, sums.input_tokens) for key, sums in on.sums().items()}
    assert counted == {("other", "other"): (1, 0), ("claude-new-1", "new-1"): (1, 1)}


def test_beyond_the_bound_further_keys_are_lost_and_counted_and_known_ones_are_not() -> None:
    on = Recorder(max_keys=2)
    callers = [replace(WEB, label=name) for name in "abc"]
    on.hear(*(ended(caller=caller) for caller in callers), *[ended(caller=callers[2])] * 2, ended(caller=callers[0]))
    assert on.recorder.since_ns() is not None  # which adds up
    on.hear(answered(Usage(1), caller=callers[2]))
    assert {key[2]: sums.calls for key, sums in on.sums().items()} == {"a": 2, "b": 1}
    assert on.recorder.lost == 4
    on.hear(ended(caller=callers[2]))
    assert len(on.sums()) == 1


def test_the_age_is_that_of_the_first_event_that_is_not_written(on: Recorder) -> None:
    assert on.recorder.since_ns() is None
    on.hear(ended())
    first = on.clock.monotonic_ns()
    on.clock.advance(5)
    on.hear(ended())
    assert on.recorder.since_ns() == first
    on.sums()
    on.hear(ended())
    assert on.recorder.since_ns() == first, "taken, but not written yet"
    on.recorder.written()
    assert on.recorder.since_ns() == first + 5_000_000_000


events = st.one_of(
    st.builds(answered, st.builds(Usage, *[st.integers(0, 10_000)] * 4), st.sampled_from([HAIKU, "claude-opus-5-5"])),
    st.builds(ended, st.sampled_from(["ok", "upstream_error"])),
    st.just(ended("refused", cause=Cause.DEADLINE)),
)


@given(st.lists(st.lists(events, max_size=8), max_size=6))
def test_however_often_the_sums_are_taken_nothing_is_counted_twice_or_lost(parts: list[list[Event]]) -> None:
    whole, taken = Recorder(), Recorder()
    total: dict[UsageKey, list[int]] = {}
    for part in parts:
        whole.hear(*part)
        taken.hear(*part)
        for key, sums in taken.sums().items():
            total[key] = [a + b for a, b in zip(total.get(key, [0] * 15), sums.row(), strict=True)]
    assert total == {key: list(sums.row()) for key, sums in whole.sums().items()}


def test_what_threads_note_while_the_sums_are_taken_is_neither_lost_nor_counted_twice(on: Recorder) -> None:
    events: list[Event] = [answered(Usage(1)), ended()] * 2_000
    with ThreadPoolExecutor(4) as threads:
        noting = [threads.submit(on.hear, *events) for _ in range(4)]
        taken = []
        while not all(each.done() for each in noting):
            taken.append(on.sums())
    taken.append(on.sums())
    rows = [sums for each in taken for sums in each.values()]
    assert (sum(each.calls for each in rows), sum(each.input_tokens for each in rows)) == (8_000, 8_000)


def test_only_so_many_sessions_wait_and_an_answer_without_one_counts_in_none(on: Recorder) -> None:
    on.hear(answered(Usage(1)))
    for number in range(5_001):
        on.hear(structs.replace(answered(Usage(number)), session=str(number)))
    pending = on.recorder.take()
    assert pending is not None
    assert len(pending.sessions) == 5_000
    assert pending.sessions["web", "7"].input_tokens == 7
    assert sum(sums.input_tokens for sums in pending.sums.values()) == 1 + sum(range(5_001))
