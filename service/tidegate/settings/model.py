"""All settings, with their units, ranges, defaults and meanings."""

from collections import Counter
from typing import Annotated

from pydantic import Field, SecretStr, field_validator, model_validator

from tidegate.core.claude.rate_limit_groups import DEFAULT_POOL, ENDPOINT_POOLS, model_pool
from tidegate.core.domain.caller import Caller, CallerLimits, Priority
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.pool_settings import LEAST_UNITS, LimitSettings, PoolSettings, QueueCaps
from tidegate.settings.field_docs import FieldDoc, SettingsModel
from tidegate.settings.field_types import (
    AUTO,
    MAX_BURST_SECONDS,
    MAX_SECONDS,
    MAX_UNITS,
    Amount,
    AutoAmount,
    AutoBurst,
    CallerName,
    Count,
    Flag,
    KeyHash,
    LogFormat,
    LogLevel,
    Networks,
    PoolName,
    Port,
    Seconds,
    StoreUrl,
    Text,
    Timeout,
    UpstreamUrl,
)
from tidegate.settings.pool_names import check_pool_name, is_model_id
from tidegate.settings.relay_settings import RelaySettings

__all__ = ["AUTO", "CallerSettings", "PoolLimits", "Settings"]

_AUTO_BURST_SECONDS = 10.0
"""Default capacity of a bucket in seconds of its rate: short enough for limits that are enforced every few seconds."""

_AMOUNT = f"a number, {LEAST_UNITS} to {MAX_UNITS:,}"
_PER_MINUTE = f"{_AMOUNT}, per minute, or auto"
_OWN_PER_MINUTE = f"{_AMOUNT}, per minute; absent: no limit"
_BURST = f"a number of seconds, {LEAST_UNITS} to {MAX_BURST_SECONDS:,}, or auto"
_WAIT = f"a number of seconds, 0 to {MAX_SECONDS:,}"
_TIMEOUT = f"a number of seconds above 0, at most {MAX_SECONDS:,}"
_POOL = "`auto` follows the upstream; a number caps each Messages pool, but no other endpoint"


class CallerSettings(SettingsModel):
    """One `[[callers]]` entry: a team or program with its own key, of which only the hash is stored."""

    name: Annotated[
        CallerName, FieldDoc(None, "letters, digits, dot, dash or underscore, at most 63, unique", "metric label")
    ]
    key_sha256: Annotated[KeyHash, FieldDoc(None, "64 lower-case hex digits, unique", "SHA-256 of the caller's key")]
    weight: Annotated[Amount, FieldDoc(None, _AMOUNT, "share relative to other callers")] = 1.0
    priority: Annotated[Priority, FieldDoc(None, ", ".join(Priority), "class of the caller's requests")] = (
        Priority.STANDARD
    )
    admin: Annotated[Flag, FieldDoc(None, "true or false", "whether the caller's key may make admin calls")] = False
    models: Annotated[
        tuple[Text, ...] | None,
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

    @field_validator("models")
    @classmethod
    def _distinct_models(cls, models: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if models is not None and len(set(models)) < len(models):
            raise ValueError("a model is repeated")
        return models

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
    requests_per_minute: Annotated[AutoAmount, FieldDoc(None, _PER_MINUTE, "requests")] = None
    input_tokens_per_minute: Annotated[AutoAmount, FieldDoc(None, _PER_MINUTE, "input tokens")] = None
    output_tokens_per_minute: Annotated[AutoAmount, FieldDoc(None, _PER_MINUTE, "output tokens")] = None
    burst_seconds: Annotated[AutoBurst, FieldDoc(None, _BURST, "capacity of a bucket, in seconds of its rate")] = None

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


class Settings(RelaySettings):
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
            _TIMEOUT,
            "Timeout of calls that do not set one, including the wait for quota.",
        ),
    ] = 600.0
    drain_notice_seconds: Annotated[
        Seconds,
        FieldDoc(
            "TIDEGATE_DRAIN_NOTICE_SECONDS",
            _WAIT,
            "After SIGTERM, how long `/readyz` reports `draining` while calls are still accepted.",
        ),
    ] = 5.0
    drain_seconds: Annotated[
        Seconds,
        FieldDoc(
            "TIDEGATE_DRAIN_SECONDS",
            _WAIT,
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
        StoreUrl,
        FieldDoc("TIDEGATE_STORE_URL", "memory://", "Store of limits and queues; `memory://` is this process."),
    ] = "memory://"
    state_dir: Annotated[
        Text | None,
        FieldDoc(
            "TIDEGATE_STATE_DIR",
            "path of a folder",
            "Folder that keeps over a restart what was learned and configured; default: `$STATE_DIRECTORY` of systemd.",
        ),
    ] = None
    rate_limit_base_delay_seconds: Annotated[
        Seconds,
        FieldDoc(
            "CLAUDE_RATE_LIMIT_DELAY",
            f"{_WAIT}, and at most MAX_RATE_LIMIT_DELAY",
            "Wait before the first retry of a generation; doubles with each further retry.",
        ),
    ] = 2.0
    rate_limit_max_delay_seconds: Annotated[
        Seconds,
        FieldDoc("MAX_RATE_LIMIT_DELAY", _WAIT, "Longest wait before a retry, unless the upstream asks for more."),
    ] = 30.0
    requests_per_minute: Annotated[
        Amount,
        FieldDoc(
            "TIDEGATE_REQUESTS_PER_MINUTE",
            f"{_AMOUNT}, per minute",
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
        AutoAmount, FieldDoc("TIDEGATE_POOL_REQUESTS_PER_MINUTE", _PER_MINUTE, f"Request limit: {_POOL}.")
    ] = None
    pool_input_tokens_per_minute: Annotated[
        AutoAmount, FieldDoc("TIDEGATE_POOL_INPUT_TOKENS_PER_MINUTE", _PER_MINUTE, f"Input token limit: {_POOL}.")
    ] = None
    pool_output_tokens_per_minute: Annotated[
        AutoAmount, FieldDoc("TIDEGATE_POOL_OUTPUT_TOKENS_PER_MINUTE", _PER_MINUTE, f"Output token limit: {_POOL}.")
    ] = None
    pool_burst_seconds: Annotated[
        AutoBurst,
        FieldDoc("TIDEGATE_POOL_BURST_SECONDS", _BURST, "Bucket capacity of Messages pools, in seconds of the rate."),
    ] = None
    log_level: Annotated[
        LogLevel,
        FieldDoc(
            "TIDEGATE_LOG_LEVEL",
            "debug, info, warning or error",
            "Level of the log on stderr; `info` logs one line per call, `debug` each attempt of a generation.",
        ),
    ] = "info"
    log_format: Annotated[
        LogFormat,
        FieldDoc("TIDEGATE_LOG_FORMAT", "auto, json or console", "`auto`: JSON unless stderr is a terminal."),
    ] = "auto"
    trace_upstream: Annotated[
        Flag,
        FieldDoc(
            "TIDEGATE_TRACE_UPSTREAM",
            "true or false",
            "Whether trace context (`traceparent`, `tracestate`, `baggage`) is sent to the upstream.",
        ),
    ] = False
    revision: Annotated[
        Text, FieldDoc("TIDEGATE_REVISION", "a commit id", "Commit of the build, for the metric `build_info`.")
    ] = "unknown"
    pools: Annotated[
        tuple[PoolLimits, ...], FieldDoc(None, "entries with a name and limits", "Limits of individual pools.")
    ] = ()
    callers: Annotated[
        tuple[CallerSettings, ...],
        FieldDoc(None, "entries with a name and key_sha256", "Callers and their keys; empty: open, on loopback only."),
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

    @model_validator(mode="after")
    def _fit_together(self) -> "Settings":
        if self.rate_limit_base_delay_seconds > self.rate_limit_max_delay_seconds:
            raise ConfigurationError(
                "rate_limit_base_delay_seconds",
                self.rate_limit_base_delay_seconds,
                f"at most MAX_RATE_LIMIT_DELAY, which is {self.rate_limit_max_delay_seconds}",
            )
        if self.metrics_host is not None and self.metrics_port is None:
            raise ConfigurationError("metrics_host", self.metrics_host, "only together with TIDEGATE_METRICS_PORT")
        return self

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
