"""A short run: nothing is lost and nothing is left."""

from pathlib import Path

import pytest

from soak.load import FAULTS, Kind
from soak.run import Plan, soak


@pytest.mark.clients
def test_a_short_soak_loses_and_leaves_nothing(tmp_path: Path) -> None:
    faults = tuple(fault for fault in FAULTS if not fault.startswith("slow"))
    found = soak(tmp_path, Plan(seconds=6, per_second=30, reload_seconds=0.5, faults=faults))
    assert found.started > 100
    assert {kind for kind, _ in found.ends} == set(Kind)
    assert found.lost == []
    assert set(found.left.values()) == {0}
    assert found.apart["tokens, from the metrics"] == 0
    assert found.apart["tokens of batches, from their results"] == 0
    assert found.tracebacks == 0
    assert found.reloads["reload failed"] >= 1
    assert found.reloads["reloaded"] >= 3
    assert all(sample.series > 500 and sample.resident_bytes > 0 and sample.tasks > 0 for sample in found.samples)
    assert found.samples[-1].overhead
    assert found.samples[-1].bare_seconds
