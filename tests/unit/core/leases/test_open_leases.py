"""The open leases of a pool."""

from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
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
