import pytest

from tidegate.core.domain.caller import Caller, Priority


def test_a_request_lowers_its_class() -> None:
    caller = Caller("a", weight=2.0)
    lowered = caller.lowered(Priority.BATCH)
    assert (lowered.name, lowered.weight, lowered.priority, lowered.rank) == ("a", 2.0, Priority.BATCH, 2)


@pytest.mark.parametrize("priority", [Priority.INTERACTIVE, Priority.STANDARD])
def test_a_request_cannot_raise_its_class(priority: Priority) -> None:
    caller = Caller("a")
    assert caller.lowered(priority) is caller
