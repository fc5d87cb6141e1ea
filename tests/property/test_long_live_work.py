"""As `dumps/test_live_work.py`, after long histories. Measuring their coverage would take long and show no more."""

import random

import pytest

from property.dumps.test_live_work import SLICE_NS, check


@pytest.mark.parametrize("seed", range(8))
def test_pools_continue_after_long_histories(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311
    check(rng.choice, rng.choice([100, 300]), 100, rng.randrange(-(10**4), 10**4) * SLICE_NS)
