"""`python -m dashboards`: generates the dashboards in `json/`."""

from pathlib import Path

from tidegate.monitoring.dashboards.boards import BOARDS, as_text

for board in BOARDS:
    (Path(__file__).with_name("json") / f"{board.link.uid}.json").write_text(as_text(board), encoding="utf-8")
