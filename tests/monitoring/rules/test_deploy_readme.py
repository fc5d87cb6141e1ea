"""What the README shows to copy is valid, and its command makes what it says."""

import re
import subprocess
from pathlib import Path

import yaml

from support.project import ROOT

README = (ROOT / "deploy/README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_yaml_is_valid() -> None:
    assert len(blocks("yaml")) == 2
    assert all(isinstance(yaml.safe_load(block), dict) for block in blocks("yaml"))


def test_the_command_makes_prometheus_rules(tmp_path: Path) -> None:
    (command,) = (block for block in blocks("bash") if "PrometheusRule" in block)
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, timeout=30)

    manifests = list(yaml.safe_load_all((tmp_path / "tidegate-rules.yaml").read_text()))

    assert [manifest["metadata"]["name"] for manifest in manifests] == ["tidegate-recording", "tidegate-alerts"]
    for manifest in manifests:
        rules = ROOT / f"deploy/prometheus/rules/{manifest['metadata']['name']}.yml"
        assert manifest["kind"] == "PrometheusRule"
        assert manifest["spec"] == yaml.safe_load(rules.read_text())


def test_it_is_one_page() -> None:
    assert README.count("\n") <= 80


def test_each_folder_is_named() -> None:
    folders = {path.name for path in (ROOT / "deploy").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert {name for name in folders if f"`{name}/`" not in README} == set()
