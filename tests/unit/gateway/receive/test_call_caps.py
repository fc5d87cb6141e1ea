"""Bounds of the calls under way and of their bodies."""

import asyncio
import json

from support.asgi_client import Answer, call
from support.gateway import MESSAGE, FakeTransport, Reply, Rig, make_gateway
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.events import RefusedCall
from tidegate.gateway.relay_limits import RelayLimits
from tidegate.identity.identify import Identifier, key_hash
from tidegate.settings import CallerSettings

SIZE = len(json.dumps(MESSAGE).encode())
CALLERS = [CallerSettings(name=name, key_sha256=key_hash(name)) for name in ("team-a", "team-b")]


def at_once(keys: list[str], limits: RelayLimits) -> tuple[list[Answer], Rig]:
    """Calls that arrive one after the other while none ends; then one more call per key, alone."""
    clock = VirtualClock()
    rig = make_gateway(
        FakeTransport([Reply()], head_after_seconds=10), clock, identifier=Identifier(CALLERS), limits=limits
    )

    async def one(key: str) -> Answer:
        return await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, headers={"x-api-key": key})

    async def main() -> list[Answer]:
        together = list(await asyncio.gather(*[one(key) for key in keys]))
        return together + [await one(key) for key in sorted(set(keys))]

    return run_virtual(main(), clock), rig


def told(answers: list[Answer]) -> list[str]:
    return [answer.headers.get("x-tidegate-cause", str(answer.status)) for answer in answers]


def test_a_call_above_the_cap_is_refused_until_other_calls_have_ended() -> None:
    answers, rig = at_once(["team-a", "team-b", "team-a", "nobody"], RelayLimits(calls=2))
    assert told(answers) == ["200", "200", "queue_full", "queue_full", "unauthenticated", "200", "200"]
    refused = answers[2]
    assert (refused.status, refused.headers["retry-after"], refused.headers["x-should-retry"]) == (429, "1", "true")
    assert refused.json()["error"]["message"] == "2 calls are already under way, which is the maximum"
    assert rig.observer.of(RefusedCall)[0].cause is Cause.QUEUE_FULL


def test_a_caller_with_too_many_calls_is_refused_and_others_are_not() -> None:
    answers, rig = at_once(["team-a", "team-a", "team-b"], RelayLimits(calls_per_caller=1))
    assert told(answers) == ["200", "caller_limit", "200", "200", "200"]
    assert (answers[1].status, answers[1].headers["retry-after"]) == (429, "1")
    message = "1 calls of this caller are already under way; max_calls_per_caller is 1"
    assert answers[1].json()["error"]["message"] == message
    assert rig.observer.of(RefusedCall)[0].caller.name == "team-a"
    assert rig.gateway._caps._by_caller == {}
    assert rig.gateway._caps._total == 0


def test_bodies_that_wait_hold_so_many_bytes_at_most_in_all_and_all_are_given_back() -> None:
    answers, rig = at_once(["team-a", "team-b", "team-a"], RelayLimits(body_bytes=2 * SIZE))
    assert told(answers) == ["200", "200", "queue_full", "200", "200"]
    message = f"request bodies already take {2 * SIZE:,} bytes of memory; the maximum is {2 * SIZE:,}"
    assert answers[2].json()["error"]["message"] == message
    assert (answers[2].status, answers[2].headers["retry-after"]) == (429, "1")
    assert (rig.gateway._caps._bytes, rig.gateway._caps._bytes_by_caller) == (0, {})


def test_the_bytes_of_the_bodies_of_one_caller_are_capped() -> None:
    limits = RelayLimits(body_bytes=0, body_bytes_per_caller=SIZE)
    answers, rig = at_once(["team-a", "team-a", "team-b"], limits)
    assert told(answers) == ["200", "caller_limit", "200", "200", "200"]
    limit = f"max_held_body_bytes_per_caller is {SIZE:,}"
    message = f"request bodies of this caller already take {SIZE:,} bytes of memory; {limit}"
    assert answers[1].json()["error"]["message"] == message
    assert (rig.gateway._caps._bytes, rig.gateway._caps._bytes_by_caller) == (0, {})
