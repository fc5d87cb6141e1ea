"""All dashboards, in the order of an investigation."""

import json
from typing import Final

from tidegate.monitoring.dashboards.board import Board
from tidegate.monitoring.dashboards.content.callers import CALLERS_BOARD
from tidegate.monitoring.dashboards.content.limiter import LIMITER_BOARD
from tidegate.monitoring.dashboards.content.models import MODELS_BOARD
from tidegate.monitoring.dashboards.content.overview import OVERVIEW_BOARD
from tidegate.monitoring.dashboards.content.slo import SLO_BOARD

__all__ = ["BOARDS", "as_text"]

BOARDS: Final = (OVERVIEW_BOARD, LIMITER_BOARD, CALLERS_BOARD, MODELS_BOARD, SLO_BOARD)


def as_text(board: Board) -> str:
    """The JSON file for Grafana. The text is deterministic."""
    return json.dumps(board.json(), indent=2, ensure_ascii=False) + "\n"
