"""Entries of `[[callers]]` and `[[pools]]`, which only the file can hold."""

from typing import Annotated

from pydantic import Field, model_validator

from tidegate.core.claude.rate_limit_groups import model_pool
from tidegate.core.domain.caller import DEFAULT_TEAM, Caller, CallerLimits, Priority
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.pool_settings import LimitSettings
from tidegate.settings.fields.field_docs import FieldDoc, SettingsModel
from tidegate.settings.fields.field_types import (
    AMOUNT_TEXT,
    BURST_TEXT,
    MAX_UNITS,
    PER_MINUTE_TEXT,
    Amount,
    AutoAmount,
    AutoBurst,
    CallerName,
    Count,
    Flag,
    KeyHash,
    ModelIds,
    PoolName,
    Text,
)

__all__ = ["CallerSettings", "PoolLimits"]

_AUTO_BURST_SECONDS = 10.0
"""Default capacity of a bucket in seconds of its rate: short enough for limits that are enforced every few seconds."""

_OWN_PER_MINUTE = f"{AMOUNT_TEXT}, per minute; absent: no limit"


class CallerSettings(SettingsModel):
    """One `[[callers]]` entry: a team or program with its own key, of which only the hash is stored."""

    name: Annotated[
        CallerName, FieldDoc(None, "letters, digits, dot, dash or underscore, at most 63, unique", "metric label")
    ]
    key_sha256: Annotated[KeyHash, FieldDoc(None, "64 lower-case hex digits, unique", "SHA-256 of the caller's key")]
    team: Annotated[
        CallerName,
        FieldDoc(None, "letters, digits, dot, dash or underscore, at most 63", "team of the caller, for the ledger"),
    ] = DEFAULT_TEAM
    weight: Annotated[Amount, FieldDoc(None, AMOUNT_TEXT, "share relative to other callers")] = 1.0
    priority: Annotated[Priority, FieldDoc(None, ", ".join(Priority), "class of the caller's requests")] = (
        Priority.STANDARD
    )
    admin: Annotated[Flag, FieldDoc(None, "true or false", "whether the caller's key may make admin calls")] = False
    models: Annotated[
        ModelIds | None,
        Field(min_length=1),
        FieldDoc(
            None,
            "a list of at least one model id, each once; absent: every model",
            "the only models that the caller may use; an alias includes its dated ids",
        ),
    ] = None
    max_concurrent: Annotated[
        Count | None,
        FieldDoc(
            None,
            f"a whole number, 1 to {MAX_UNITS:,}; absent: no limit",
            "maximum concurrent upstream requests of the caller",
        ),
    ] = None
    requests_per_minute: Annotated[
        Amount | None, FieldDoc(None, _OWN_PER_MINUTE, "the caller's own limit of requests, across all pools")
    ] = None
    input_tokens_per_minute: Annotated[
        Amount | None, FieldDoc(None, _OWN_PER_MINUTE, "the caller's own limit of input tokens, across all pools")
    ] = None
    output_tokens_per_minute: Annotated[
        Amount | None, FieldDoc(None, _OWN_PER_MINUTE, "the caller's own limit of output tokens, across all pools")
    ] = None

    def caller(self) -> Caller:
        """The caller that the entry describes."""
        limits = CallerLimits(
            requests_per_minute=self.requests_per_minute,
            input_tokens_per_minute=self.input_tokens_per_minute,
            output_tokens_per_minute=self.output_tokens_per_minute,
            max_concurrent=self.max_concurrent,
        )
        return Caller(
            self.name,
            label=self.name,
            weight=self.weight,
            priority=self.priority,
            limits=None if limits == CallerLimits() else limits,
            models=self.models or (),
            team=self.team,
            is_admin=self.admin,
        )


class PoolLimits(SettingsModel):
    """One `[[pools]]` entry: limits of one pool, instead of the TIDEGATE_POOL_… settings. None stands for `auto`."""

    name: Annotated[
        PoolName,
        FieldDoc(
            None,
            "a known pool's name, such as sonnet-5-5, count_tokens or post_agents, unique; optional with `model`",
            "the limited pool",
        ),
    ]
    model: Annotated[
        Text | None,
        FieldDoc(None, "a model's id", "instead of `name`: the pool of this model, which may be newer than Tidegate"),
    ] = None
    requests_per_minute: Annotated[AutoAmount, FieldDoc(None, PER_MINUTE_TEXT, "requests")] = None
    input_tokens_per_minute: Annotated[AutoAmount, FieldDoc(None, PER_MINUTE_TEXT, "input tokens")] = None
    output_tokens_per_minute: Annotated[AutoAmount, FieldDoc(None, PER_MINUTE_TEXT, "output tokens")] = None
    burst_seconds: Annotated[AutoBurst, FieldDoc(None, BURST_TEXT, "capacity of a bucket, in seconds of its rate")] = (
        None
    )

    @model_validator(mode="before")
    @classmethod
    def _name_the_pool_of_the_model(cls, entry: object) -> object:
        if isinstance(entry, dict) and isinstance(entry.get("model"), str):
            return {"name": model_pool(entry["model"]), **entry}
        return entry

    def limits(self) -> dict[Dimension, LimitSettings]:
        """The limits for a `Store`. A bucket holds `burst_seconds` of its rate (`auto`: 10 s), at least one unit."""
        burst_seconds = self.burst_seconds or _AUTO_BURST_SECONDS
        rates = {
            Dimension.REQUESTS: self.requests_per_minute,
            Dimension.INPUT_TOKENS: self.input_tokens_per_minute,
            Dimension.OUTPUT_TOKENS: self.output_tokens_per_minute,
        }
        return {
            dimension: LimitSettings(per_minute, max(1.0, per_minute * burst_seconds / 60))
            for dimension, per_minute in rates.items()
            if per_minute is not None
        }
