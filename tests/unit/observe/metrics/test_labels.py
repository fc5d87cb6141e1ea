import itertools
import threading

from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.domain.errors import UpstreamError, UpstreamUnreachable
from tidegate.core.domain.usage import Usage
from tidegate.core.failures.retry_policy import retry_reason
from tidegate.gateway.receive.request import route_of
from tidegate.observe.metrics.labels import NONE, OTHER, RETRY_REASONS, ROUTES, TOKEN_KINDS, LabelSet, Rows


def test_known_values_keep_their_name_and_others_do_not() -> None:
    pools = LabelSet(["default"], max_added=1)

    assert pools.label("default") == "default"
    assert pools.label("opus-4") == OTHER
    assert pools.label("") == NONE


def test_a_value_is_earned_once_and_while_there_is_room() -> None:
    pools = LabelSet(["default"], max_added=1)

    assert not pools.add("default")
    assert pools.add("opus-4")
    assert not pools.add("opus-4")
    assert not pools.add("sonnet-4")
    assert pools.label("opus-4") == "opus-4"
    assert pools.label("sonnet-4") == OTHER


def test_an_empty_value_cannot_be_earned() -> None:
    pools = LabelSet([], max_added=1)

    assert not pools.add("")
    assert pools.label("") == NONE


def test_placeholder_labels_are_not_own_labels() -> None:
    pools = LabelSet(["default", OTHER], max_added=9)

    assert pools.has_own_label("default")
    assert not pools.has_own_label(OTHER)
    assert not pools.has_own_label(NONE)
    assert not pools.has_own_label("opus-4")


def test_values_with_a_stand_in_count_as_that_and_earn_no_label() -> None:
    pools = LabelSet(["rest", "get_own"], max_added=9, group_of=lambda value: "rest" if "_" in value else None)

    assert not pools.add("get_other")
    assert pools.add("opus-5")
    assert [pools.label(value) for value in ("get_other", "get_own", "opus-5", "x", "")] == [
        "rest",
        "get_own",
        "opus-5",
        OTHER,
        NONE,
    ]


@given(st.lists(st.text(max_size=3)), st.integers(0, 5))
def test_never_more_labels_than_known_ones_room_and_stand_ins(values: list[str], room: int) -> None:
    labels = LabelSet(["default"], room)

    for value in values:
        labels.add(value)

    assert len({labels.label(value) for value in values} - {"default", OTHER, NONE}) <= room


def test_threads_cannot_admit_beyond_the_room_together() -> None:
    labels = LabelSet([], max_added=10)
    admitted = [0] * 4

    def admit_many(thread: int) -> None:
        admitted[thread] = sum(labels.add(f"{thread}-{number}") for number in range(200))

    threads = [threading.Thread(target=admit_many, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(admitted) == 10


def test_every_retry_reason_of_the_core_has_a_label() -> None:
    types = ("overloaded_error", "api_error", "rate_limit_error", "invalid_request_error", None)
    errors: list[UpstreamError] = [
        UpstreamError("x", status=status, error_type=error_type)
        for status, error_type in itertools.product(range(600), types)
    ]
    errors += [UpstreamUnreachable("x", may_have_been_accepted=accepted) for accepted in (True, False)]

    assert {retry_reason(error) for error in errors} - {None} == set(RETRY_REASONS)


def test_every_route_of_the_gateway_has_a_label() -> None:
    names = ("messages", "messages/count_tokens", "messages/batches/x/results", "models/x", "files", "organizations")
    routes = {route_of(f"/v1/{name}") for name in names}

    assert len(routes) == len(names)
    assert routes == {route for route in ROUTES if route.startswith("/v1/")}


def test_token_kinds_are_in_the_order_of_usage() -> None:
    assert Usage._fields[:4] == tuple(f"{kind}_tokens" for kind in TOKEN_KINDS)


def test_rows_of_labels_are_looked_up_at_once_and_only_those_that_stand_for_themselves_are_kept() -> None:
    pools = LabelSet(["a"], 1)
    rows = Rows(lambda *labels: [*labels], pools, LabelSet(["x"]))

    assert rows["a", "x"] == ["a", "x"]
    assert rows["a", "x"] is rows["a", "x"]
    assert [rows[name, ""] for name in ("b", "c")] == [["other", "none"]] * 2
    assert list(rows) == [("a", "x"), ("other", "none")]

    pools.add("b")
    assert rows["b", "x"] == ["b", "x"]
