"""Where the tests of the core run."""

import time
from collections.abc import Iterator

import pytest


@pytest.fixture
def far_from_utc() -> Iterator[None]:
    """A machine whose local time is nine hours ahead of UTC."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()
