"""`python -m deploy.prometheus`: writes the shipped rules into `rules/` beside it; `python -m deploy` is for others."""

from pathlib import Path

from deploy.prometheus.files import rule_files
from deploy.prometheus.rule import Places

for name, text in rule_files(Places()).items():
    (Path(__file__).with_name("rules") / name).write_text(text, encoding="utf-8")
