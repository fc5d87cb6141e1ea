"""Which pauses refuse a call, and what the refusal says."""

import pytest

from tidegate.core.domain.caller import Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.pause import NO_PAUSES, Pause, PauseKind, Pauses

WEB = Caller("web", label="web", team="shop", key="key_1")
AT = 1_796_000_000


def paused(kind: PauseKind, name: str) -> Pauses:
    return Pauses([Pause(kind, name, "ops", AT)])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (PauseKind.CALLER, "web"),
        (PauseKind.KEY, "key_1"),
        (PauseKind.TEAM, "shop"),
        (PauseKind.SESSION, "s1"),
        (PauseKind.POOL, "haiku-5-5"),
    ],
)
def test_a_pause_refuses_the_calls_of_what_it_names_and_no_others(kind: PauseKind, name: str) -> None:
    refusal = paused(kind, name).refusal(WEB, "s1", "haiku-5-5")
    assert refusal is not None
    assert (refusal.cause, refusal.row.status, refusal.row.retryable) == (Cause.PAUSED, 403, False)
    assert paused(kind, "other").refusal(WEB, "s1", "haiku-5-5") is None


def test_an_anonymous_caller_is_paused_by_its_name_or_together_with_all_others() -> None:
    anonymous = Caller("key-0123456789ab")
    assert paused(PauseKind.CALLER, "key-0123456789ab").refusal(anonymous) is not None
    assert paused(PauseKind.CALLER, "default").refusal(anonymous) is not None


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(("reason", "why"), [("runs away", ": runs away"), ("", "")])
def test_the_refusal_says_who_paused_what_when_and_why_and_who_can_resume(reason: str, why: str) -> None:
    pause = Pause(PauseKind.CALLER, "web", "ops", AT, reason)
    assert str(pause.refusal()) == (
        f"caller 'web' is paused since 2026-11-30 00:53:20 UTC by ops{why}; "
        "an admin can resume it: tidegate resume caller web"
    )


def test_pauses_are_counted_by_kind() -> None:
    both = Pauses([Pause(PauseKind.TEAM, name, "ops", AT) for name in ("shop", "data")])
    assert both
    assert both.by_kind() == {"caller": 0, "key": 0, "team": 2, "session": 0, "pool": 0}
    assert not NO_PAUSES
    assert NO_PAUSES.refusal(WEB) is None
