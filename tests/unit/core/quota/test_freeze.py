"""A freeze that is carried to another process."""

import pytest

from tidegate.core.domain.events import Event, Thawed
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.quota.freeze import Freeze


def test_a_restored_freeze_lasts_as_long_as_the_original_would_have() -> None:
    original, events = Freeze("p", []), list[Event]()
    original.extend(5 * S, 100 * S)
    restored = Freeze.restore(original.dump(102 * S), 7 * S, "p", events)
    assert restored.left_ns(7 * S) == 3 * S
    assert not restored.is_over(10 * S - 1)
    assert restored.is_over(10 * S)
    assert events == [Thawed("p")]


@pytest.mark.parametrize("now_ns", [0, 7 * S])
def test_no_freeze_is_restored_where_there_was_none(now_ns: int) -> None:
    events = list[Event]()
    assert Freeze.restore(Freeze("p", []).dump(100 * S), now_ns, "p", events).is_over(now_ns)
    assert events == []
