"""What the classes have earned continues from its dump."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from support.dumps import assert_continues
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.queue.class_shares import ClassShares

RANKS = st.sampled_from([0, 1, 2])
SIZES_NS = st.sampled_from([0, 1, S // 10, S, 7 * S])
SHIFTS_NS = st.integers(-(10**15), 10**15)
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, S]),
        st.tuples(st.sampled_from(["earn", "earn", "spend", "forget"]), RANKS, SIZES_NS, SIZES_NS),
    ),
    max_size=30,
)


def share(shares: ClassShares, step: tuple[str, int, int, int], _now_ns: int) -> object:
    name, rank, size_ns, waited_ns = step
    if name == "earn":
        shares.earn(rank, size_ns, waited_ns)
    elif name == "spend":
        shares.spend(rank, size_ns)
    else:
        shares.forget(rank)
    return [(shares.is_owed(each, S), shares.earned_ns(each, S, S)) for each in range(3)]


@given(STEPS, STEPS, SHIFTS_NS)
def test_class_shares(history: list[Any], continuation: list[Any], shift_ns: int) -> None:
    assert_continues(ClassShares(), share, ClassShares.restore, history, continuation, shift_ns)
