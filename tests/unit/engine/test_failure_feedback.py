"""The feedback of a failed attempt for its pool."""

import pytest

from support.recording_observer import RecordingObserver
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import ONE_REQUEST
from tidegate.core.domain.errors import Refusal, UpstreamError
from tidegate.core.domain.events import SpendCapReached, UpstreamRateLimited
from tidegate.engine.admission import Admission
from tidegate.engine.failure_feedback import report_failure
from tidegate.stores.memory import MemoryStore

ONE = Demand("p", DEFAULT_CALLER, ONE_REQUEST)
LIMITED = UpstreamError("slow down", status=429, retry_after_seconds=45.0)
CAPPED = UpstreamError("Payment is required.", status=402, error_type="billing_error")


@pytest.mark.parametrize("observer", [None, RecordingObserver()])
def test_a_spend_cap_closes_the_pool_whether_anybody_watches_or_not(observer: RecordingObserver | None) -> None:
    clock = VirtualClock()
    admission = Admission(MemoryStore(clock, {}), clock, observer)

    async def main() -> Refusal:
        async with await admission.acquire(ONE) as lease:
            await report_failure(admission, lease, error=CAPPED, sent_ago_ns=0)
        with pytest.raises(Refusal) as refused:
            await admission.acquire(ONE)
        return refused.value

    assert run_virtual(main(), clock).cause is Cause.SPEND_CAP
    assert observer is None or len(observer.of(SpendCapReached)) == 1


@pytest.mark.parametrize("observer", [None, RecordingObserver()])
def test_a_429_freezes_the_pool_whether_anybody_watches_or_not(observer: RecordingObserver | None) -> None:
    clock = VirtualClock()
    admission = Admission(MemoryStore(clock, {}), clock, observer)

    async def main() -> float:
        async with await admission.acquire(ONE) as lease:
            await report_failure(admission, lease, error=LIMITED, sent_ago_ns=0)
        async with await admission.acquire(ONE):
            return clock.elapsed_s

    assert run_virtual(main(), clock) >= 45
    assert observer is None or len(observer.of(UpstreamRateLimited)) == 1
