"""All dashboards, in the order of an investigation."""

import json
from typing import Final

from tidegate.monitoring import RUNBOOKS_URL
from tidegate.monitoring.dashboards.board import Board
from tidegate.monitoring.dashboards.content.callers import CALLERS_BOARD
from tidegate.monitoring.dashboards.content.limiter import LIMITER_BOARD
from tidegate.monitoring.dashboards.content.models import MODELS_BOARD
from tidegate.monitoring.dashboards.content.overview import OVERVIEW_BOARD
from tidegate.monitoring.dashboards.content.slo import SLO_BOARD

__all__ = ["BOARDS", "as_text"]

BOARDS: Final = (OVERVIEW_BOARD, LIMITER_BOARD, CALLERS_BOARD, MODELS_BOARD, SLO_BOARD)


def as_text(board: Board, runbooks_url: str = RUNBOOKS_URL) -> str:
    """The JSON file for Grafana, with links to runbooks under a base URL. The text is deterministic."""
    return json.dumps(board.json(runbooks_url), indent=2, ensure_ascii=False) + "\n"
