"""A caller's own limits, from the settings to what its clients see."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from support.asgi_client import Answer, call
from support.gateway import MESSAGE, FakeTransport, Reply, make_gateway
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.events import RefusedCall
from tidegate.identity.identify import Identifier, key_hash
from tidegate.settings import CallerSettings

MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"
OTHER_MODEL = {**MESSAGE, "model": "claude-haiku-5-5"}


class Calls:
    """Calls of the callers `web`, which has limits, and `free`, over a transport that responds after some time."""

    def __init__(self, *, head_after_seconds: float = 0.0, **limits: Any) -> None:
        self.clock = VirtualClock()
        callers = [
            CallerSettings(name="web", key_sha256=key_hash("w"), **limits),
            CallerSettings(name="free", key_sha256=key_hash("f")),
        ]
        transport = FakeTransport([Reply()], head_after_seconds=head_after_seconds)
        self.rig = make_gateway(transport, self.clock, identifier=Identifier(callers))

    async def send(
        self,
        key: str = "w",
        path: str = MESSAGES,
        body: Any = MESSAGE,
        *,
        seconds: float = 600,
        priority: str = "standard",
    ) -> Answer:
        headers = {"x-api-key": key, "x-tidegate-timeout-seconds": str(seconds), "x-tidegate-priority": priority}
        return await call(self.rig.gateway, "POST", path, body=body, headers=headers)

    def answers(self, *calls: Coroutine[Any, Any, Answer]) -> list[Answer]:
        """The responses to concurrent calls, in their order."""

        async def main() -> list[Answer]:
            return await asyncio.gather(*calls)

        answers = run_virtual(main(), self.clock)
        assert self.rig.in_flight() == 0
        return answers


def queued(answers: list[Answer]) -> list[float]:
    assert [answer.status for answer in answers] == [200] * len(answers)
    return [int(answer.headers["x-tidegate-queue-ms"]) / 1_000 for answer in answers]


def test_only_requests_of_the_caller_wait_for_its_own_rate() -> None:
    calls = Calls(requests_per_minute=6)  # a bucket of ten seconds holds one request
    own = [calls.send() for _ in range(3)]
    waits = queued(calls.answers(*own, *[calls.send("f") for _ in range(3)]))
    assert waits[:3] == [0, 10, 20]
    assert max(waits[3:]) < 2  # until the first answer has told the pool's limits


def test_the_limits_span_all_pools_routes_and_classes() -> None:
    calls = Calls(requests_per_minute=6)
    answers = calls.answers(
        calls.send(),
        calls.send(body=OTHER_MODEL),
        calls.send(path=COUNT),
        calls.send(priority="batch"),
    )
    assert sorted(queued(answers)) == [0, 10, 20, 30]


def test_tokens_are_limited_as_well() -> None:
    calls = Calls(input_tokens_per_minute=60)
    waits = queued(calls.answers(*[calls.send() for _ in range(3)]))
    assert waits[0] == 0
    assert waits[1] >= 5
    assert waits[2] >= waits[1] + 5


def test_a_wait_beyond_the_deadline_is_refused_with_limit_number_and_time() -> None:
    calls = Calls(requests_per_minute=6)
    first, second, refused = calls.answers(*[calls.send(seconds=15) for _ in range(3)])
    assert queued([first, second]) == [0, 10]
    assert refused.status == 429
    fault = refused.json()["error"]
    assert fault["type"] == "rate_limit_error"
    limit = "requests_per_minute = 6"
    assert fault["message"] == f"caller 'web' is over its own limit ({limit}) for longer than the request may take"
    assert refused.headers["x-tidegate-cause"] == "caller_limit"
    assert refused.headers["x-should-retry"] == "true"
    assert refused.headers["retry-after"] == "5"  # from then on the wait is the 15 s that the client has
    assert [event.cause for event in calls.rig.observer.of(RefusedCall)] == [Cause.CALLER_LIMIT]


def test_only_so_many_calls_are_at_the_upstream_at_a_time() -> None:
    calls = Calls(max_concurrent=2, head_after_seconds=3)
    waits = queued(calls.answers(*[calls.send() for _ in range(4)], calls.send("f")))
    assert max(waits[:2]) < 2  # until the first answer has told the pool's limits
    assert min(waits[2:4]) >= 3
    assert waits[4] < 2
