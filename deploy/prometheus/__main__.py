"""`python -m deploy.prometheus`: writes the shipped rules into `rules/` beside it."""

from pathlib import Path

from tidegate.monitoring.rules.files import rule_files
from tidegate.monitoring.rules.rule import Installation

for name, text in rule_files(Installation()).items():
    (Path(__file__).with_name("rules") / name).write_text(text, encoding="utf-8")
