"""Adapts the configuration of Prometheus and Alertmanager to the addresses of a stack."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from tidegate.monitoring import ALERTMANAGER_FILE

__all__ = ["write_configuration"]

_DEPLOY = Path(__file__).parents[1]


def write_configuration(directory: Path, *, service: str, alertmanager: str, receiver_url: str) -> None:
    """Writes `prometheus.yml` with its rules, and `alertmanager.yml` with the URLs of its receivers.

    Args:
        directory: the destination; paths in the files are relative to it.
        service: `host:port` of the service.
        alertmanager: `host:port` of Alertmanager.
        receiver_url: base URL of the receivers, to which a receiver's name is appended.
    """
    prometheus: dict[str, Any] = yaml.safe_load((_DEPLOY / "prometheus/prometheus.yml").read_text())
    prometheus["scrape_configs"][0]["static_configs"][0]["targets"] = [service]
    prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager]
    (directory / "prometheus.yml").write_text(yaml.safe_dump(prometheus, sort_keys=False))
    (directory / "rules").mkdir()
    for name in prometheus["rule_files"]:
        shutil.copy(_DEPLOY / "prometheus" / name, directory / name)

    shutil.copy(ALERTMANAGER_FILE, directory)
    receivers = yaml.safe_load((directory / "alertmanager.yml").read_text())["receivers"]
    (directory / "urls").mkdir()
    for webhook in (webhook for receiver in receivers for webhook in receiver.get("webhook_configs", ())):
        file = Path(webhook["url_file"])
        (directory / file).write_text(receiver_url + file.name)
