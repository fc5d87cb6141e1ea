"""`python -m deploy.prometheus`: generates the rule files in `rules/`."""

from pathlib import Path

from tidegate.monitoring.rules.files import rule_files
from tidegate.monitoring.rules.rule import Installation

for name, text in rule_files(Installation()).items():
    (Path(__file__).with_name("rules") / name).write_text(text, encoding="utf-8")
