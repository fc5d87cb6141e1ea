"""All settings, with their units, ranges, defaults and meanings."""

from collections import Counter
from typing import Annotated

from pydantic import SecretStr, field_validator, model_validator

from tidegate.core.claude.rate_limit_groups import DEFAULT_POOL, ENDPOINT_POOLS, model_pool
from tidegate.core.domain.budget import BudgetRule, BudgetUnit
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings, QueueCaps
from tidegate.core.ports.store_address import STORE_URL_TEXT
from tidegate.settings.budgets import SESSION_BUDGET, BudgetSettings, session_budget
from tidegate.settings.entries import CallerSettings, PoolLimits
from tidegate.settings.fields.database_url import DATABASE_URL_TEXT, DatabaseUrlField, LedgerUse, Tenant, Unowned
from tidegate.settings.fields.field_docs import FieldDoc
from tidegate.settings.fields.field_types import (
    AMOUNT_TEXT,
    BURST_TEXT,
    MAX_UNITS,
    PER_MINUTE_TEXT,
    TIMEOUT_TEXT,
    WAIT_TEXT,
    Amount,
    AutoAmount,
    AutoBurst,
    Count,
    Flag,
    Networks,
    Port,
    Seconds,
    Text,
    Timeout,
    UpstreamUrl,
)
from tidegate.settings.fields.pool_names import check_pool_name, is_model_id
from tidegate.settings.fields.store_url import MEMORY, StoreStart, StoreUrl, StoreUrlField
from tidegate.settings.monitoring_settings import MonitoringSettings
from tidegate.settings.relay_settings import RelaySettings

__all__ = ["Settings"]

_POOL = "`auto` follows the upstream; a number caps each Messages pool, but no other endpoint"


class Settings(RelaySettings, MonitoringSettings):
    """The whole configuration.

    Raises:
        pydantic.ValidationError: a value is not allowed; `load_settings` raises a `ConfigurationError` instead.
    """

    host: Annotated[
        Text,
        FieldDoc("TIDEGATE_HOST", "a host name or address", "Address to listen on; without callers: loopback only."),
    ] = "127.0.0.1"
    port: Annotated[
        Port, FieldDoc("TIDEGATE_PORT", "a whole number, 0 to 65535; 0 takes a free port", "TCP port to listen on.")
    ] = 8080
    metrics_host: Annotated[
        Text | None,
        FieldDoc("TIDEGATE_METRICS_HOST", "a host name or address", "Separate host for `/metrics`; default: the host."),
    ] = None
    metrics_port: Annotated[
        Port | None,
        FieldDoc(
            "TIDEGATE_METRICS_PORT",
            "a whole number, 0 to 65535; 0 takes a free port",
            "Moves `/metrics` to a separate port.",
        ),
    ] = None
    open_metrics_and_docs: Annotated[
        Flag,
        FieldDoc(
            "TIDEGATE_OPEN_METRICS_AND_DOCS",
            "true or false",
            "Whether `/metrics`, `/docs` and `/openapi.json` are open to other machines without a key.",
        ),
    ] = False
    anthropic_api_key: Annotated[
        SecretStr | None,
        FieldDoc("ANTHROPIC_API_KEY", "a key of the Claude API", "Key that the service uses for the upstream."),
    ] = None
    admin_key: Annotated[
        SecretStr | None,
        FieldDoc(
            "TIDEGATE_ADMIN_KEY",
            "any text",
            "Key for admin calls. Without it, callers with `admin` may make them; without callers, local clients.",
        ),
    ] = None
    trusted_proxies: Annotated[
        Networks,
        FieldDoc(
            "TIDEGATE_TRUSTED_PROXIES",
            "IP addresses and networks, separated by commas",
            "Proxies whose `x-forwarded-for` and `x-forwarded-proto` are trusted.",
        ),
    ] = ()
    upstream_url: Annotated[
        UpstreamUrl,
        FieldDoc(
            "TIDEGATE_UPSTREAM_URL",
            "an http or https URL without credentials or query",
            "Base URL of the Claude API. ANTHROPIC_BASE_URL is ignored, because clients set it to this service.",
        ),
    ] = "https://api.anthropic.com"
    model: Annotated[
        Text, FieldDoc("TIDEGATE_MODEL", "a model's id", "Model for workflow generations that do not name one.")
    ] = "claude-sonnet-5-5"
    fallback_model: Annotated[
        Text, FieldDoc("TIDEGATE_FALLBACK_MODEL", "a model's id", "Model for the fallback of a generation.")
    ] = "claude-haiku-5-5"
    default_timeout_seconds: Annotated[
        Timeout,
        FieldDoc(
            "TIDEGATE_DEFAULT_TIMEOUT_SECONDS",
            TIMEOUT_TEXT,
            "Timeout of calls that do not set one, including the wait for quota.",
        ),
    ] = 600.0
    drain_notice_seconds: Annotated[
        Seconds,
        FieldDoc(
            "TIDEGATE_DRAIN_NOTICE_SECONDS",
            WAIT_TEXT,
            "After SIGTERM, how long `/readyz` reports `draining` while calls are still accepted.",
        ),
    ] = 5.0
    drain_seconds: Annotated[
        Seconds,
        FieldDoc(
            "TIDEGATE_DRAIN_SECONDS",
            WAIT_TEXT,
            "After the notice, how long open calls may take to end; waiting calls are then refused as `draining`.",
        ),
    ] = 600.0
    max_body_bytes: Annotated[
        Count,
        FieldDoc(
            "TIDEGATE_MAX_BODY_BYTES",
            f"a whole number of bytes, 1 to {MAX_UNITS:,}",
            "Maximum size of a request body under `/api`; all bodies together may use 64 times as much memory.",
        ),
    ] = 1_048_576
    store_url: Annotated[
        StoreUrlField,
        FieldDoc(
            "TIDEGATE_STORE_URL",
            STORE_URL_TEXT,
            "Store of limits and queues: `memory://` is this process; replicas share those in a Valkey or Redis.",
        ),
    ] = StoreUrl(MEMORY)
    store_start: Annotated[
        StoreStart,
        FieldDoc(
            "TIDEGATE_STORE_START",
            "fail or degraded",
            "Without the shared store, `fail` ends the start; `degraded` starts with a share of the limits.",
        ),
    ] = "fail"
    store_replicas: Annotated[
        Count | None,
        FieldDoc(
            "TIDEGATE_STORE_REPLICAS",
            f"a whole number of replicas, 1 to {MAX_UNITS:,}",
            "Number of replicas that a start with `TIDEGATE_STORE_START=degraded` divides the limits by.",
        ),
    ] = None
    state_dir: Annotated[
        Text | None,
        FieldDoc(
            "TIDEGATE_STATE_DIR",
            "path of a folder",
            "Folder that keeps over a restart what was learned and configured; default: `$STATE_DIRECTORY` of systemd.",
        ),
    ] = None
    ledger: Annotated[
        LedgerUse,
        FieldDoc(
            "TIDEGATE_LEDGER",
            "auto, required or off",
            "`auto`: usage is kept if there is a state folder or TIDEGATE_DATABASE_URL; `required`: calls are refused "
            "while it cannot be kept.",
        ),
    ] = "auto"
    database_url: Annotated[
        DatabaseUrlField | None,
        FieldDoc(
            "TIDEGATE_DATABASE_URL",
            DATABASE_URL_TEXT,
            "Database of the ledger; default: `ledger.sqlite` in the state folder.",
        ),
    ] = None
    tenant: Annotated[
        Tenant,
        FieldDoc(
            "TIDEGATE_TENANT",
            "caller or team",
            "To whom batches, files, sessions and other objects belong, with a ledger: to the caller that created "
            "them, or to its team.",
        ),
    ] = "caller"
    unowned: Annotated[
        Unowned,
        FieldDoc(
            "TIDEGATE_UNOWNED",
            "admin or everyone",
            "Who may use objects whose creator the ledger does not know: they were created before, or elsewhere.",
        ),
    ] = "admin"
    prices: Annotated[
        Text | None,
        FieldDoc(
            "TIDEGATE_PRICES",
            "path of a TOML file with the keys of core/pricing/prices.toml",
            "Own prices, such as those of a contract; they replace the list prices of the models that the file names.",
        ),
    ] = None
    max_usd_per_session: Annotated[
        Amount | None,
        FieldDoc(
            "TIDEGATE_MAX_USD_PER_SESSION",
            f"a number, 0.001 to {MAX_UNITS:,}",
            "How much each session of a caller may cost in total; further calls of it are refused.",
        ),
    ] = None
    rate_limit_base_delay_seconds: Annotated[
        Seconds,
        FieldDoc(
            "CLAUDE_RATE_LIMIT_DELAY",
            f"{WAIT_TEXT}, and at most MAX_RATE_LIMIT_DELAY",
            "Wait before the first retry of a generation; doubles with each further retry.",
        ),
    ] = 2.0
    rate_limit_max_delay_seconds: Annotated[
        Seconds,
        FieldDoc("MAX_RATE_LIMIT_DELAY", WAIT_TEXT, "Longest wait before a retry, unless the upstream asks for more."),
    ] = 30.0
    requests_per_minute: Annotated[
        Amount,
        FieldDoc(
            "TIDEGATE_REQUESTS_PER_MINUTE",
            f"{AMOUNT_TEXT}, per minute",
            "Rate of the older limiter `default`: generations and AIClient, but no calls under `/v1`.",
        ),
    ] = 20.0
    burst_limit: Annotated[
        Count,
        FieldDoc(
            "TIDEGATE_BURST_LIMIT",
            f"a whole number of requests, 1 to {MAX_UNITS:,}",
            "Burst of the older limiter `default`.",
        ),
    ] = 5
    pool_requests_per_minute: Annotated[
        AutoAmount, FieldDoc("TIDEGATE_POOL_REQUESTS_PER_MINUTE", PER_MINUTE_TEXT, f"Request limit: {_POOL}.")
    ] = None
    pool_input_tokens_per_minute: Annotated[
        AutoAmount, FieldDoc("TIDEGATE_POOL_INPUT_TOKENS_PER_MINUTE", PER_MINUTE_TEXT, f"Input token limit: {_POOL}.")
    ] = None
    pool_output_tokens_per_minute: Annotated[
        AutoAmount, FieldDoc("TIDEGATE_POOL_OUTPUT_TOKENS_PER_MINUTE", PER_MINUTE_TEXT, f"Output token limit: {_POOL}.")
    ] = None
    pool_burst_seconds: Annotated[
        AutoBurst,
        FieldDoc(
            "TIDEGATE_POOL_BURST_SECONDS", BURST_TEXT, "Bucket capacity of Messages pools, in seconds of the rate."
        ),
    ] = None
    pools: Annotated[
        tuple[PoolLimits, ...],
        FieldDoc(None, "[[pools]] entries, each with a name and limits", "Limits of individual pools."),
    ] = ()
    callers: Annotated[
        tuple[CallerSettings, ...],
        FieldDoc(
            None,
            "[[callers]] entries, each with a name and key_sha256",
            "Callers and their keys; empty: open, on loopback only.",
        ),
    ] = ()

    budgets: Annotated[
        tuple[BudgetSettings, ...],
        FieldDoc(None, "entries with a name and a limit", "Budgets of callers, teams and sessions."),
    ] = ()

    @field_validator("callers")
    @classmethod
    def _distinct_callers(cls, callers: tuple[CallerSettings, ...]) -> tuple[CallerSettings, ...]:
        _refuse_repeated("callers", "name", [caller.name for caller in callers])
        _refuse_repeated("callers", "key_sha256", [caller.key_sha256 for caller in callers])
        return callers

    @field_validator("pools")
    @classmethod
    def _distinct_pools(cls, pools: tuple[PoolLimits, ...]) -> tuple[PoolLimits, ...]:
        _refuse_repeated("pools", "name", [pool.name for pool in pools])
        if any(pool.name == DEFAULT_POOL for pool in pools):
            raise ConfigurationError("pools", DEFAULT_POOL, "another name: requests_per_minute and burst_limit set it")
        for number, pool in enumerate(pools):
            if pool.model is None:
                check_pool_name(f"pools[{number}].name", pool.name)
            elif model_pool(pool.model) != pool.name or not is_model_id(pool.model):
                allowed = "the id of a model, without a `name` or with that of its pool"
                raise ConfigurationError(f"pools[{number}].model", pool.model, allowed)
        return pools

    @field_validator("budgets")
    @classmethod
    def _distinct_budgets(cls, budgets: tuple[BudgetSettings, ...]) -> tuple[BudgetSettings, ...]:
        _refuse_repeated("budgets", "name", [budget.name for budget in budgets])
        if any(budget.name == SESSION_BUDGET for budget in budgets):
            allowed = "another name: TIDEGATE_MAX_USD_PER_SESSION sets it"
            raise ConfigurationError("budgets", SESSION_BUDGET, allowed)
        for number, budget in enumerate(budgets):
            if budget.unit is BudgetUnit.TOKENS and not budget.limit.is_integer():
                raise ConfigurationError(f"budgets[{number}].limit", budget.limit, "a whole number of tokens")
        return budgets

    @model_validator(mode="after")
    def _fit_together(self) -> "Settings":
        if self.rate_limit_base_delay_seconds > self.rate_limit_max_delay_seconds:
            raise ConfigurationError(
                "rate_limit_base_delay_seconds",
                self.rate_limit_base_delay_seconds,
                f"at most MAX_RATE_LIMIT_DELAY, which is {self.rate_limit_max_delay_seconds}",
            )
        if self.store_start == "degraded" and self.store_replicas is None:
            allowed = "degraded only together with TIDEGATE_STORE_REPLICAS"
            raise ConfigurationError("store_start", self.store_start, allowed)
        if self.metrics_host is not None and self.metrics_port is None:
            raise ConfigurationError("metrics_host", self.metrics_host, "only together with TIDEGATE_METRICS_PORT")
        return self

    def budget_rules(self) -> tuple[BudgetRule, ...]:
        """All budgets: `[[budgets]]`, and that of each session."""
        per_session = self.max_usd_per_session
        own = () if per_session is None else (session_budget(per_session),)
        return (*(budget.rule() for budget in self.budgets), *own)

    def named_pool_settings(self) -> dict[str, PoolSettings]:
        """Settings of individual pools by name: `[[pools]]`, and endpoints other than Messages without limits."""
        return {
            **dict.fromkeys(ENDPOINT_POOLS, self._pool_settings({})),
            **{entry.name: self._pool_settings(entry.limits()) for entry in self.pools},
        }

    def messages_pool_settings(self) -> PoolSettings:
        """Settings of every Messages pool without its own `[[pools]]` entry."""
        limits = PoolLimits(
            name="messages",
            requests_per_minute=self.pool_requests_per_minute,
            input_tokens_per_minute=self.pool_input_tokens_per_minute,
            output_tokens_per_minute=self.pool_output_tokens_per_minute,
            burst_seconds=self.pool_burst_seconds,
        )
        return self._pool_settings(limits.limits())

    def _pool_settings(self, limits: dict[Dimension, LimitSettings]) -> PoolSettings:
        caps = QueueCaps(
            self.queue_requests, self.queue_requests_per_caller, self.queue_tokens, self.queue_tokens_per_caller
        )
        return PoolSettings(limits=limits, caps=caps)


def _refuse_repeated(field: str, key: str, values: list[str]) -> None:
    value, times = max(Counter(values).items(), key=lambda item: item[1], default=("", 0))
    if times > 1:
        raise ConfigurationError(field, value, f"each {key} once")
