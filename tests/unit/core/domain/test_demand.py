"""The equality of waits."""

from tidegate.core.domain.demand import Granted, Wait


def test_waits_are_equal_if_they_predict_the_same_whatever_binds() -> None:
    assert Wait(5, "queue") == Wait(5, "frozen")
    assert len({Wait(5, "queue"), Wait(5, "frozen"), Wait(6, "queue")}) == 2
    assert hash(Wait(5)) != hash(Wait(6))


def test_a_wait_differs_from_another_wait_and_from_anything_else() -> None:
    assert Wait(5) != Wait(6)
    assert Wait(5) != Granted()
