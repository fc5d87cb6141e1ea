"""Events that a ledger records, and what it makes of them."""

from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from tidegate.core.domain.caller import Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.events import AttemptFinished, Event, RequestFinished
from tidegate.core.domain.usage import Usage
from tidegate.core.ports.usage_sink import UsageQuery, UsageReport
from tidegate.core.pricing.price_list import PriceList
from tidegate.ledger.database import Database
from tidegate.ledger.usage.recorder import UsageRecorder
from tidegate.ledger.usage.report import report

HAIKU = "claude-haiku-5-5"
WEB = Caller("web", label="web", team="shop")
NIGHTLY = Caller("nightly", label="nightly", team="data")
ALWAYS = 2**40


def answered(usage: Usage, caller: Caller = WEB, model: str = HAIKU) -> AttemptFinished:
    cost_pico_usd = PriceList.bundled().cost_pico_usd(model, usage, ALWAYS)
    return AttemptFinished("haiku-5-5", model, caller, "200", 1, None, usage, cost_pico_usd=cost_pico_usd)


def ended(caller: Caller = WEB, cause: Cause | None = None, **changes: Any) -> RequestFinished:
    outcome = "ok" if cause is None else "refused"
    fields: dict[str, Any] = {"route": "/v1/messages", "pool": "haiku-5-5", "model": HAIKU, "duration_ns": 1}
    return RequestFinished(**{**fields, "caller": caller, "outcome": outcome, "cause": cause, **changes})


def hear(recorder: UsageRecorder, *events: Event) -> None:
    """Pass events to a recorder."""
    handlers = dict(recorder.handlers)
    for event in events:
        handlers[type(event)](event)


def everything(database: Database, *by: str) -> UsageReport:
    """The report on all usage that is written."""
    return report(database, UsageQuery(0, ALWAYS, by or ("caller",)))


def migrations() -> Config:
    """Alembic's configuration."""
    config = Config()
    config.set_main_option("script_location", "tidegate.ledger:migrations")
    config.set_main_option("path_separator", "os")
    return config


def migrate(url: str, revision: str) -> None:
    """Bring a database to a revision."""
    engine, config = create_engine(url), migrations()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()
