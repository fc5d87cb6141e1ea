"""The open leases of a pool."""

from msgspec import structs

from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.leases.open_leases import OpenLease, OpenLeases


def test_all_of_the_cost_is_charged_and_nothing_is_known_yet() -> None:
    lease = OpenLease(Demand("p", DEFAULT_CALLER, Cost(1, 1_000, 200)), (), granted_ns=7)
    assert (lease.charged, lease.known) == (Cost(1, 1_000, 200), Cost())
    assert (lease.open_input_tokens, lease.open_output_tokens) == (1_000, 200)
    assert lease.answered is False


def test_a_lease_is_marked_as_answered_once() -> None:
    leases = OpenLeases()
    leases["a"] = OpenLease(Demand("p", DEFAULT_CALLER, Cost(1)), (), granted_ns=0)
    assert [leases.mark_answered(lease_id) for lease_id in ("a", "a", "b")] == [True, False, False]
    assert leases["a"].answered


def test_a_report_of_an_unknown_lease_touches_none() -> None:
    leases = OpenLeases()
    assert leases.touch("a", 1) is None
    assert not leases


def test_looking_at_no_leases_finds_none_expired() -> None:
    leases = OpenLeases()
    assert [leases.next_expired(now_ns) for now_ns in (0, 1, 10**15)] == [None] * 3
    assert leases.due_ns > 10**15, "nor is there any to look at soon"


def test_a_report_is_at_least_as_old_as_its_lease_if_it_came_late() -> None:
    leases = OpenLeases()
    leases["a"] = OpenLease(Demand("p", DEFAULT_CALLER, Cost(1)), (), granted_ns=5 * S)
    report = LimitReport(DimensionReport(60, 3), sent_ago_ns=S, lease_id="a")
    for age_ns, seems_ns in ((S, S), (S + S // 50, S), (S + S // 50 + 1, S + S // 50 + 1), (3 * S, 3 * S)):
        assert leases.aged(report, 5 * S + age_ns) == structs.replace(report, sent_ago_ns=seems_ns)
    unknown = structs.replace(report, lease_id="b")
    assert leases.aged(unknown, 9 * S) is unknown
