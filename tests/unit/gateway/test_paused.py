"""A paused caller, session or pool: what its clients are told, and what goes on."""

import asyncio
from typing import Any

import pytest

from support.asgi_client import Answer, call
from support.gateway import CONTENT, MESSAGE, FakeTransport, Reply, Rig, make_gateway, sse
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.events import RefusedCall, RequestFinished
from tidegate.core.domain.pause import Pause, PauseKind, Pauses
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.identity.identify import Identifier, key_hash
from tidegate.settings import CallerSettings

CALLERS = tuple(CallerSettings(name=name, team="shop", key_sha256=key_hash(name)) for name in ("web", "nightly"))
ONE_A_MINUTE = {"sonnet-5-5": PoolSettings({Dimension.REQUESTS: LimitSettings(per_minute=1, capacity=1)})}


def paused(kind: PauseKind, name: str) -> Pauses:
    return Pauses([Pause(kind, name, "ops", 0, "runs away")])


def send(rig: Rig, key: str = "web", **headers: str) -> Any:
    return call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, headers={"x-api-key": key, **headers})


def rig_of(answers: list[Reply | Exception], clock: VirtualClock, **options: Any) -> tuple[Rig, FakeTransport]:
    transport = FakeTransport(answers)
    return make_gateway(transport, clock, identifier=Identifier(CALLERS), **options), transport


@pytest.mark.parametrize(
    ("kind", "name", "others"),
    [
        (PauseKind.CALLER, "web", {"key": "nightly"}),
        (PauseKind.SESSION, "s1", {"x_tidegate_session": "s2"}),
        (PauseKind.POOL, "sonnet-5-5", None),
        (PauseKind.TEAM, "shop", None),
    ],
)
def test_a_paused_call_is_refused_and_others_are_not(kind: PauseKind, name: str, others: dict[str, str] | None) -> None:
    clock = VirtualClock()
    rig, transport = rig_of([Reply()], clock)
    rig.admission.pause(paused(kind, name))
    answer: Answer = run_virtual(send(rig, **{"x-tidegate-session": "s1"}), clock)
    assert (answer.status, answer.json()["error"]["type"]) == (403, "permission_error")
    assert (
        f"{kind} '{name}' is paused since 1970-01-01 00:00:00 UTC by ops: runs away"
        in answer.json()["error"]["message"]
    )
    assert (answer.headers["x-tidegate-cause"], answer.headers["x-should-retry"]) == ("paused", "false")
    assert "retry-after" not in answer.headers
    assert not transport.requests
    assert [event.cause for event in rig.observer.of(RefusedCall)] == [Cause.PAUSED]
    if others is not None:
        headers = {header.replace("_", "-"): value for header, value in others.items() if header != "key"}
        assert run_virtual(send(rig, others.get("key", "web"), **headers), clock).status == 200


def test_a_caller_that_waits_is_refused_and_a_stream_that_runs_goes_on() -> None:
    clock = VirtualClock()
    rig, _ = rig_of([sse(CONTENT, 30.0, CONTENT)], clock, pools=ONE_A_MINUTE)

    async def main() -> list[Answer]:
        running = asyncio.create_task(send(rig))
        await asyncio.sleep(1)
        waiting = asyncio.create_task(send(rig))
        await asyncio.sleep(1)
        rig.admission.pause(paused(PauseKind.CALLER, "web"))
        refused = await waiting
        assert clock.elapsed_s == 2
        return [await running, refused]

    stream, refused = run_virtual(main(), clock)
    assert (stream.status, stream.body) == (200, CONTENT * 2)
    assert (refused.status, refused.headers["x-tidegate-cause"]) == (403, "paused")
    assert [event.outcome for event in rig.observer.of(RequestFinished)] == ["refused", "ok"]
    assert rig.in_flight() == 0
