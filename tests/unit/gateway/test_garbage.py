"""A call that failed leaves no reference cycles: the garbage collector would find old ones only after hours."""

import gc
from collections import Counter

from support.asgi_client import call
from support.gateway import MESSAGE, FakeTransport, error, make_gateway
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.failures.retry_policy import RetryPolicy


def objects_by_type() -> Counter[str]:
    return Counter(type(each).__name__ for each in gc.get_objects())


def test_a_call_whose_retries_are_exhausted_is_gone_without_the_garbage_collector() -> None:
    clock = VirtualClock()
    policy = RetryPolicy(base_delay_seconds=1.0, jitter_factor=0.0, max_attempts=2)
    transport = FakeTransport([error(502, "api_error")])

    async def main() -> Counter[str]:
        rig = make_gateway(transport, clock, policy=policy)
        assert (await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE)).status == 502
        return objects_by_type()

    gc.collect()
    before = objects_by_type()  # what earlier tests of this process keep
    gc.disable()
    try:
        alive = run_virtual(main(), clock)
    finally:
        gc.enable()
    assert len(transport.requests) == 2
    kinds = ("AsyncRetrying", "RetriesExhausted", "Attempts", "PreparedCall")
    assert {kind: alive[kind] - before[kind] for kind in kinds} == dict.fromkeys(kinds, 0)
