"""`deploy/compose.yaml` and the configuration that it mounts, against each other and against what is shipped."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.project import ROOT
from tidegate.core.ports.store_address import parse_store_url
from tidegate.settings import Settings

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
CHECK = (Path(sys.executable).parent / "check-jsonschema", "--builtin-schema", "vendor.compose-spec")
"""The Compose Specification's own schema, in the package of check-jsonschema: nothing is downloaded."""
DISCOVERY = {"names": ["tidegate"], "type": "A", "port": 8080}
"""All replicas of the service have its name."""
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def mounts(service: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Source, target, and whether it is read-only."""
    for volume in service.get("volumes", ()):
        if isinstance(volume, dict):
            yield volume["source"], volume["target"], volume.get("read_only", False)
        else:
            source, target, *mode = volume.split(":")
            yield source, target, mode == ["ro"]


MOUNTS = [mount for service in SERVICES.values() for mount in mounts(service)]


def test_it_is_valid_by_the_compose_specification() -> None:
    checked = subprocess.run(
        [*CHECK, ROOT / "deploy/compose.yaml"], capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_misspelt_key_is_found(tmp_path: Path) -> None:
    misspelt = tmp_path / "compose.yaml"
    misspelt.write_text((ROOT / "deploy/compose.yaml").read_text().replace("depends_on:", "depend_on:"))
    assert subprocess.run([*CHECK, misspelt], capture_output=True, timeout=60, check=False).returncode == 1


def test_the_parts_are_there() -> None:
    assert set(SERVICES) == {
        *("tidegate", "load-balancer", "valkey", "postgres", "prometheus"),
        *("alertmanager", "collector", "jaeger", "grafana"),
    }


def test_each_foreign_image_is_pinned_to_a_patch_release() -> None:
    images = [service["image"] for service in SERVICES.values() if "build" not in service]
    pinned = r"[\w/-]+:v?\d+\.\d+\.\d+|postgres:\d+\.\d+"  # PostgreSQL's patch releases have two numbers
    assert [image for image in images if not re.fullmatch(pinned, image)] == []


def test_ports_are_published_on_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert [port for port in ports if not re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)] == []


def test_mounted_files_exist_and_are_read_only() -> None:
    files = [(source, read_only) for source, _, read_only in MOUNTS if source.startswith(".")]
    assert len(files) == 8
    assert [source for source, read_only in files if not (read_only and (ROOT / source).exists())] == []


def test_each_volume_is_declared_and_used() -> None:
    assert {source for source, _, _ in MOUNTS if source[0] not in ".$"} == set(COMPOSE["volumes"])


def test_each_dependency_of_a_part_is_a_part() -> None:
    assert {name for service in SERVICES.values() for name in service.get("depends_on", ())} <= set(SERVICES)


def test_the_build_finds_its_recipe() -> None:
    assert (ROOT / SERVICES["tidegate"]["build"]["context"] / SERVICES["tidegate"]["build"]["dockerfile"]).is_file()


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "TIDEGATE_CONFIG", "GRAFANA_PASSWORD", "POSTGRES_PASSWORD"])
def test_compose_requires_the_variables_that_only_the_user_knows(name: str) -> None:
    assert f"${{{name}:?" in (ROOT / "deploy/compose.yaml").read_text()


def test_prometheus_differs_from_the_shipped_one_in_what_it_finds_alone() -> None:
    here = yaml.safe_load((ROOT / "deploy/stack/prometheus-compose.yml").read_text())
    shipped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    (replicas,), (service,) = here.pop("scrape_configs"), shipped.pop("scrape_configs")
    assert replicas == {"job_name": service["job_name"], "dns_sd_configs": [DISCOVERY]}
    assert here.pop("alerting") != shipped.pop("alerting")
    assert here == shipped


def test_replicas_share_the_store_and_none_has_a_place_of_its_own() -> None:
    tidegate = SERVICES["tidegate"]
    assert tidegate["deploy"]["replicas"] == 2
    address = parse_store_url(tidegate["environment"]["TIDEGATE_STORE_URL"])
    assert address.nodes == (("valkey", 6379),)
    assert [mount for mount in mounts(tidegate) if not mount[2]] == []
    assert "ports" not in tidegate
    database = re.sub(r"\$\{.*?\}", "word", tidegate["environment"]["TIDEGATE_DATABASE_URL"])
    assert str(Settings(database_url=database).database_url) == "postgresql://(hidden)@postgres/tidegate"
    assert SERVICES["postgres"]["environment"]["POSTGRES_USER"] == "tidegate"
    command = SERVICES["valkey"]["command"]
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


def test_the_load_balancer_asks_each_replica_whether_it_is_ready() -> None:
    text = (ROOT / "deploy/haproxy/haproxy.cfg").read_text()
    assert "server-template tidegate 16 tidegate:8080" in text
    assert "uri /readyz" in text
    ready = Settings().drain_notice_seconds
    assert ready > 2, "a replica must say `draining` for longer than two checks take"
    patience = Settings().default_timeout_seconds
    assert all(int(seconds) > patience for seconds in re.findall(r"timeout (?:client|server) (\d+)s", text))
    assert len(re.findall(r"timeout (?:client|server) ", text)) == 2


@pytest.mark.parametrize("kind", ["dashboards", "datasources"])
def test_grafana_is_told_each_place_that_its_provisioning_asks_for(kind: str) -> None:
    text = (ROOT / f"deploy/grafana/provisioning/{kind}/tidegate.yaml").read_text()
    (name,) = re.findall(r"\$\{(\w+)\}", text)
    assert name in SERVICES["grafana"]["environment"]
    assert name in (ROOT / "deploy/stack/__main__.py").read_text()


def test_grafana_finds_what_is_mounted() -> None:
    told = SERVICES["grafana"]["environment"]
    targets = {target: source for source, target, _ in mounts(SERVICES["grafana"])}
    assert targets[told["TIDEGATE_DASHBOARDS"]] == "./dashboards/json"
    assert targets[told["GF_PATHS_PROVISIONING"]] == "./deploy/grafana/provisioning"


def test_exemplars_lead_to_the_traces() -> None:
    folder = ROOT / "deploy/grafana/provisioning/datasources"
    metrics, traces = (yaml.safe_load((folder / f"{name}.yaml").read_text()) for name in ("tidegate", "traces"))
    (kept,) = traces["datasources"]
    (destination,) = metrics["datasources"][0]["jsonData"]["exemplarTraceIdDestinations"]
    assert destination == {"name": "trace_id", "datasourceUid": kept["uid"]}
    assert kept["url"] == "${TIDEGATE_TRACES_URL}"
    assert SERVICES["grafana"]["environment"]["TIDEGATE_TRACES_URL"] == "http://jaeger:16686"
    assert "--enable-feature=exemplar-storage" in SERVICES["prometheus"]["command"]
