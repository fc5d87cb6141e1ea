"""What an operator must mend is exported."""

from prometheus_client import CollectorRegistry

from tidegate.observe.upkeep.upkeep_metrics import UpkeepMetrics


def value(upkeep: UpkeepMetrics, name: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(upkeep)
    return registry.get_sample_value(f"tidegate_{name}")


def test_a_healthy_installation_has_no_fault_and_no_key_that_ends() -> None:
    upkeep = UpkeepMetrics()
    assert value(upkeep, "reload_refused") == 0
    assert value(upkeep, "state_unreadable") == 0
    assert value(upkeep, "key_ends_in_seconds") is None


def test_faults_and_the_next_end_of_a_key_are_exported() -> None:
    upkeep = UpkeepMetrics(lambda: 1_000.0, lambda: 900.0)
    upkeep.reload_refused = upkeep.state_unreadable = True
    assert value(upkeep, "reload_refused") == 1
    assert value(upkeep, "state_unreadable") == 1
    assert value(upkeep, "key_ends_in_seconds") == 100
