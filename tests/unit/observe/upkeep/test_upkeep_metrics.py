"""What an operator must mend is exported."""

from prometheus_client import CollectorRegistry

from tidegate.observe.upkeep.upkeep_metrics import UpkeepMetrics


def value(upkeep: UpkeepMetrics, name: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(upkeep)
    return registry.get_sample_value(f"tidegate_{name}")


def test_a_healthy_installation() -> None:
    upkeep = UpkeepMetrics()
    assert value(upkeep, "reload_refused") == 0
    assert value(upkeep, "state_unreadable") == 0
    assert value(upkeep, "key_ends_in_seconds") is None


def test_what_must_be_mended() -> None:
    upkeep = UpkeepMetrics(lambda: 1_000.0, lambda: 900.0)
    upkeep.reload_refused = upkeep.state_unreadable = True
    assert value(upkeep, "reload_refused") == 1
    assert value(upkeep, "state_unreadable") == 1
    assert value(upkeep, "key_ends_in_seconds") == 100
