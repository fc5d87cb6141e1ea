"""`python -m deploy.prometheus`: writes the rules into `deploy/prometheus/rules/`, or for other places elsewhere."""

import argparse
from pathlib import Path

from deploy.prometheus.files import rule_files
from deploy.prometheus.rule import Places

usual = Places()
parser = argparse.ArgumentParser(
    prog="python -m deploy.prometheus", description="Write Tidegate's rules for Prometheus."
)
parser.add_argument("--job", default=usual.job, help="name of the scrape job (default: %(default)s)")
parser.add_argument("--grafana-url", default=usual.grafana_url, help="base of dashboard links (default: %(default)s)")
parser.add_argument("--runbooks-url", default=usual.runbooks_url, help="base of runbook links (default: %(default)s)")
parser.add_argument("--into", type=Path, default=Path(__file__).with_name("rules"), help="folder to write to")
given = parser.parse_args()
given.into.mkdir(parents=True, exist_ok=True)
for name, text in rule_files(Places(given.job, given.grafana_url, given.runbooks_url)).items():
    (given.into / name).write_text(text, encoding="utf-8")
