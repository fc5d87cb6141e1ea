"""Snippets of the README are valid, and its command makes what it says."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

from support.project import ROOT

TIDEGATE = f"{sys.executable} -m tidegate"
README = (ROOT / "deploy/README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_yaml_is_valid() -> None:
    assert len(blocks("yaml")) == 2
    assert all(isinstance(yaml.safe_load(block), dict) for block in blocks("yaml"))


def test_the_commands_make_prometheus_rules_with_links_of_their_own(tmp_path: Path) -> None:
    (export,) = (block for block in blocks("bash") if "monitoring export" in block)
    (command,) = (block for block in blocks("bash") if "PrometheusRule" in block)
    for each in (export, command):
        placed = each.replace("/etc/tidegate", str(tmp_path)).replace("tidegate monitoring", f"{TIDEGATE} monitoring")
        subprocess.run(["bash", "-c", placed], cwd=tmp_path, check=True, timeout=60)

    manifests = list(yaml.safe_load_all((tmp_path / "tidegate-rules.yaml").read_text()))

    assert [manifest["metadata"]["name"] for manifest in manifests] == ["tidegate-recording", "tidegate-alerts"]
    for manifest in manifests:
        rules = tmp_path / f"rules/{manifest['metadata']['name']}.yml"
        assert manifest["kind"] == "PrometheusRule"
        assert manifest["spec"] == yaml.safe_load(rules.read_text())
    links = [rule["annotations"] for group in manifests[1]["spec"]["groups"] for rule in group["rules"]]
    assert all(link["runbook_url"].startswith("https://git.example/") for link in links)
    assert "localhost" not in str(links)


def test_it_is_one_page() -> None:
    assert README.count("\n") <= 90


def test_each_folder_is_named() -> None:
    folders = {path.name for path in (ROOT / "deploy").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert {name for name in folders if f"`{name}/`" not in README} == set()
