"""`python -m deploy.prometheus`: writes the shipped rules into `rules/` beside it."""

from pathlib import Path

from tidegate.monitoring.rules.files import rule_files
from tidegate.monitoring.rules.rule import Places

for name, text in rule_files(Places()).items():
    (Path(__file__).with_name("rules") / name).write_text(text, encoding="utf-8")
