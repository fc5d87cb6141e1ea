"""A limiter on the virtual clock: 20 requests a minute, burst 5, in the pool `p`."""

import pytest

from support.recording_observer import RecordingObserver
from support.virtual_time import VirtualClock
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.feedback import Succeeded
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.engine.admission import Admission
from tidegate.stores.memory import MemoryStore


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store(clock: VirtualClock) -> MemoryStore:
    made = MemoryStore(clock, {"p": PoolSettings({Dimension.REQUESTS: LimitSettings(per_minute=20, capacity=5)})})
    made.learn_now("p", Succeeded(sent_ago_ns=0))  # it does not probe
    return made


@pytest.fixture
def observer() -> RecordingObserver:
    return RecordingObserver()


@pytest.fixture
def admission(store: MemoryStore, clock: VirtualClock, observer: RecordingObserver) -> Admission:
    return Admission(store, clock, observer)
