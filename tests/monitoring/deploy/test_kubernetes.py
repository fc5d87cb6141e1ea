"""`deploy/kubernetes`, against Kubernetes' own schema and against what the service does."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import yaml

from support.project import ROOT
from tidegate.settings import Settings

MANIFEST = ROOT / "deploy/kubernetes/tidegate.yaml"
CHECK = (Path(sys.executable).parent / "kubernetes-validate", "--strict")
"""Kubernetes' schemas are in the package: nothing is downloaded."""
OBJECTS: dict[str, dict[str, Any]] = {each["kind"]: each for each in yaml.safe_load_all(MANIFEST.read_text())}
POD: dict[str, Any] = OBJECTS["Deployment"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
ENVIRONMENT = {each["name"]: each["value"] for each in CONTAINER["env"]}


def checked(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CHECK, file], capture_output=True, text=True, timeout=100, check=False)


def test_it_is_valid() -> None:
    found = checked(MANIFEST)
    assert found.returncode == 0, found.stdout + found.stderr


def test_a_misspelt_field_is_found(tmp_path: Path) -> None:
    misspelt = tmp_path / "tidegate.yaml"
    misspelt.write_text(MANIFEST.read_text().replace("readinessProbe:", "readynessProbe:"))
    assert checked(misspelt).returncode != 0


def test_the_service_accepts_the_configuration_and_the_variables() -> None:
    for name in ENVIRONMENT:
        assert name.removesuffix("_FILE").removeprefix("TIDEGATE_").lower() in Settings.model_fields
    file = tomllib.loads(OBJECTS["ConfigMap"]["data"]["tidegate.toml"])
    assert [caller.name for caller in Settings.model_validate(file).callers] == ["team-a"]


def test_a_pod_has_time_to_drain_and_stops_getting_calls_before() -> None:
    notice, drain = (float(ENVIRONMENT[f"TIDEGATE_DRAIN_{name}SECONDS"]) for name in ("NOTICE_", ""))
    assert notice + drain < POD["terminationGracePeriodSeconds"]
    readiness = CONTAINER["readinessProbe"]
    noticed = readiness["failureThreshold"] * (readiness["periodSeconds"] + readiness["timeoutSeconds"])
    assert noticed < notice
    assert readiness["httpGet"]["path"] == "/readyz"
    assert "lifecycle" not in CONTAINER, "a preStop hook only delays the notice"


def test_secrets_are_files_and_every_mounted_path_has_a_volume() -> None:
    mounts = {mount["mountPath"]: mount["name"] for mount in CONTAINER["volumeMounts"]}
    assert set(mounts.values()) == {volume["name"] for volume in POD["volumes"]}
    for name, value in ENVIRONMENT.items():
        if name.endswith("_FILE"):
            assert mounts[str(Path(value).parent)] == "secrets"
    assert not {"ANTHROPIC_API_KEY", "TIDEGATE_ADMIN_KEY"} & ENVIRONMENT.keys()
    assert mounts[ENVIRONMENT["TIDEGATE_STATE_DIR"]] == "state"


def test_the_names_agree() -> None:
    selector = {"app.kubernetes.io/name": "tidegate"}
    assert OBJECTS["Service"]["spec"]["selector"] == selector
    assert OBJECTS["Deployment"]["spec"]["selector"]["matchLabels"] == selector
    assert OBJECTS["Deployment"]["spec"]["template"]["metadata"]["labels"] == selector
    (port,) = OBJECTS["Service"]["spec"]["ports"]
    assert port["targetPort"] == CONTAINER["ports"][0]["name"] == CONTAINER["readinessProbe"]["httpGet"]["port"]
    # The image's user and folders, from deploy/Dockerfile.
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    assert f"USER {POD['securityContext']['runAsUser']}" in dockerfile
    assert "TIDEGATE_PORT=8080" in dockerfile
    assert CONTAINER["ports"][0]["containerPort"] == 8080
    assert "WORKDIR /etc/tidegate" in dockerfile
