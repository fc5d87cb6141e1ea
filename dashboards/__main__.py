"""Writes the JSON of all dashboards into `dashboards/json/`, or into the folder given as the one argument."""

import sys
from pathlib import Path

from dashboards.all import BOARDS, as_text

folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "json"
folder.mkdir(parents=True, exist_ok=True)
for board in BOARDS:
    (folder / f"{board.link.uid}.json").write_text(as_text(board), encoding="utf-8")
