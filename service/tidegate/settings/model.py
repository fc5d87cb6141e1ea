"""All settings, each with its name, unit, range, default and meaning."""

from collections import Counter
from typing import Annotated

from pydantic import Field, SecretStr, field_validator, model_validator

from tidegate.core.claude.rate_limit_groups import DEFAULT_POOL, ENDPOINT_POOLS, model_pool
from tidegate.core.domain.caller import Caller, CallerLimits, Priority
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.pool_settings import LEAST_UNITS, LimitSettings, PoolSettings, QueueCaps
from tidegate.settings.fields import (
    AUTO,
    MOST_BURST_SECONDS,
    MOST_SECONDS,
    MOST_UNITS,
    Amount,
    AutoAmount,
    AutoBurst,
    CallerName,
    Count,
    Documented,
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
from tidegate.settings.relay import RelaySettings
from tidegate.settings.values import Values

__all__ = ["AUTO", "CallerSettings", "PoolLimits", "Settings"]

_AUTO_BURST_SECONDS = 10.0
"""Capacity of a bucket, in seconds of its rate, while nobody says: short enough for limits enforced per few seconds."""

_AMOUNT = f"a number, {LEAST_UNITS} to {MOST_UNITS:,}"
_PER_MINUTE = f"{_AMOUNT}, per minute, or auto"
_OWN_PER_MINUTE = f"{_AMOUNT}, per minute; absent: no limit"
_BURST = f"a number of seconds, {LEAST_UNITS} to {MOST_BURST_SECONDS:,}, or auto"
_WAIT = f"a number of seconds, 0 to {MOST_SECONDS:,}"
_TIMEOUT = f"a number of seconds above 0, at most {MOST_SECONDS:,}"
_POOL = "what the upstream grants is `auto`; a number caps each Messages pool, never other endpoints"


class CallerSettings(Values):
    """One `[[callers]]` entry: a party with a key of its own. The key itself is never stored, only its hash."""

    name: Annotated[
        CallerName, Documented(None, "letters, digits, dot, dash or underscore, at most 63, unique", "metric label")
    ]
    key_sha256: Annotated[
        KeyHash, Documented(None, "64 lower-case hex digits, unique", "SHA-256 of the key that the caller presents")
    ]
    weight: Annotated[Amount, Documented(None, _AMOUNT, "share relative to other callers")] = 1.0
    priority: Annotated[Priority, Documented(None, ", ".join(Priority), "class of the caller's requests")] = (
        Priority.STANDARD
    )
    admin: Annotated[Flag, Documented(None, "true or false", "whether the caller's key may make admin calls")] = False
    models: Annotated[
        tuple[Text, ...] | None,
        Field(min_length=1),
        Documented(
            None,
            "a list of at least one model's id, each once; absent: every model",
            "the only models that the caller may use; an alias includes its dated ids",
        ),
    ] = None
    max_concurrent: Annotated[
        Count | None,
        Documented(
            None,
            f"a whole number, 1 to {MOST_UNITS:,}; absent: no limit",
            "most calls of the caller that are at the upstream at a time",
        ),
    ] = None
    requests_per_minute: Annotated[
        Amount | None, Documented(None, _OWN_PER_MINUTE, "the caller's own limit of requests, across all pools")
    ] = None
    input_tokens_per_minute: Annotated[
        Amount | None, Documented(None, _OWN_PER_MINUTE, "the caller's own limit of input tokens, across all pools")
    ] = None
    output_tokens_per_minute: Annotated[
        Amount | None, Documented(None, _OWN_PER_MINUTE, "the caller's own limit of output tokens, across all pools")
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


class PoolLimits(Values):
    """One `[[pools]]` entry: limits of one pool, in place of the TIDEGATE_POOL_ ones. None: `auto`."""

    name: Annotated[
        PoolName,
        Documented(
            None,
            "a known pool's name such as sonnet-5-5, count_tokens or post_agents, unique; not needed beside `model`",
            "which pool it limits",
        ),
    ]
    model: Annotated[
        Text | None,
        Documented(None, "a model's id", "instead of `name`: the pool of this model, also of one newer than Tidegate"),
    ] = None
    requests_per_minute: Annotated[AutoAmount, Documented(None, _PER_MINUTE, "requests")] = None
    input_tokens_per_minute: Annotated[AutoAmount, Documented(None, _PER_MINUTE, "input tokens")] = None
    output_tokens_per_minute: Annotated[AutoAmount, Documented(None, _PER_MINUTE, "output tokens")] = None
    burst_seconds: Annotated[AutoBurst, Documented(None, _BURST, "how much of its rate a bucket holds")] = None

    @model_validator(mode="before")
    @classmethod
    def _name_the_pool_of_the_model(cls, entry: object) -> object:
        if isinstance(entry, dict) and isinstance(entry.get("model"), str):
            return {"name": model_pool(entry["model"]), **entry}
        return entry

    def limits(self) -> dict[Dimension, LimitSettings]:
        """The same for a `Store`. A bucket holds `burst_seconds` of its rate, at least one unit; `auto` is 10 s."""
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
        pydantic.ValidationError: a value is not allowed; `load_settings` says so in one sentence instead.
    """

    host: Annotated[
        Text,
        Documented("TIDEGATE_HOST", "a host name or address", "Where the service listens; without callers: loopback."),
    ] = "127.0.0.1"
    port: Annotated[
        Port, Documented("TIDEGATE_PORT", "a whole number, 0 to 65535; 0 takes a free port", "TCP port of the service.")
    ] = 8080
    metrics_host: Annotated[
        Text | None,
        Documented("TIDEGATE_METRICS_HOST", "a host name or address", "Own address for `/metrics`; default: the host."),
    ] = None
    metrics_port: Annotated[
        Port | None,
        Documented(
            "TIDEGATE_METRICS_PORT",
            "a whole number, 0 to 65535; 0 takes a free port",
            "Own port for `/metrics`, which the service's port then no longer has.",
        ),
    ] = None
    open_metrics_and_docs: Annotated[
        Flag,
        Documented(
            "TIDEGATE_OPEN_METRICS_AND_DOCS",
            "true or false",
            "Whether `/metrics`, `/docs` and `/openapi.json` need no key beyond loopback.",
        ),
    ] = False
    anthropic_api_key: Annotated[
        SecretStr | None,
        Documented("ANTHROPIC_API_KEY", "a key of the Claude API", "The service's own key for the upstream."),
    ] = None
    admin_key: Annotated[
        SecretStr | None,
        Documented(
            "TIDEGATE_ADMIN_KEY",
            "any text",
            "Key for admin calls. Without it an admin caller makes them; without callers, a client on this machine.",
        ),
    ] = None
    trusted_proxies: Annotated[
        Networks,
        Documented(
            "TIDEGATE_TRUSTED_PROXIES",
            "IP addresses and networks, separated by commas",
            "Proxies whose `x-forwarded-for` and `x-forwarded-proto` are believed.",
        ),
    ] = ()
    upstream_url: Annotated[
        UpstreamUrl,
        Documented(
            "TIDEGATE_UPSTREAM_URL",
            "an http or https URL without credentials or query",
            "Base URL of the Claude API; ANTHROPIC_BASE_URL is never read, because clients set it to this service.",
        ),
    ] = "https://api.anthropic.com"
    model: Annotated[
        Text, Documented("TIDEGATE_MODEL", "a model's id", "Model that generates workflows, unless a call names one.")
    ] = "claude-sonnet-5-5"
    fallback_model: Annotated[
        Text, Documented("TIDEGATE_FALLBACK_MODEL", "a model's id", "Model of the simpler, second request.")
    ] = "claude-haiku-5-5"
    default_timeout_seconds: Annotated[
        Timeout,
        Documented(
            "TIDEGATE_DEFAULT_TIMEOUT_SECONDS",
            _TIMEOUT,
            "Time for a call, waiting included, that names none itself.",
        ),
    ] = 600.0
    max_body_bytes: Annotated[
        Count,
        Documented(
            "TIDEGATE_MAX_BODY_BYTES",
            f"a whole number of bytes, 1 to {MOST_UNITS:,}",
            "Largest request body under `/api`; all together hold at most 64 times as much.",
        ),
    ] = 1_048_576
    store_url: Annotated[
        StoreUrl,
        Documented("TIDEGATE_STORE_URL", "memory://", "Where limits and queues live: in this process."),
    ] = "memory://"
    rate_limit_base_delay_seconds: Annotated[
        Seconds,
        Documented(
            "CLAUDE_RATE_LIMIT_DELAY",
            f"{_WAIT}, and at most MAX_RATE_LIMIT_DELAY",
            "Wait before the first retry of a generation, doubled for each further one.",
        ),
    ] = 2.0
    rate_limit_max_delay_seconds: Annotated[
        Seconds,
        Documented("MAX_RATE_LIMIT_DELAY", _WAIT, "Longest wait of our own before a retry."),
    ] = 30.0
    requests_per_minute: Annotated[
        Amount,
        Documented(
            "TIDEGATE_REQUESTS_PER_MINUTE",
            f"{_AMOUNT}, per minute",
            "Rate of the older limiter `default`: generations and AIClient, never calls under `/v1`.",
        ),
    ] = 20.0
    burst_limit: Annotated[
        Count,
        Documented(
            "TIDEGATE_BURST_LIMIT",
            f"a whole number of requests, 1 to {MOST_UNITS:,}",
            "Burst of the older limiter `default`.",
        ),
    ] = 5
    pool_requests_per_minute: Annotated[
        AutoAmount, Documented("TIDEGATE_POOL_REQUESTS_PER_MINUTE", _PER_MINUTE, f"Request limit: {_POOL}.")
    ] = None
    pool_input_tokens_per_minute: Annotated[
        AutoAmount, Documented("TIDEGATE_POOL_INPUT_TOKENS_PER_MINUTE", _PER_MINUTE, f"Input token limit: {_POOL}.")
    ] = None
    pool_output_tokens_per_minute: Annotated[
        AutoAmount, Documented("TIDEGATE_POOL_OUTPUT_TOKENS_PER_MINUTE", _PER_MINUTE, f"Output token limit: {_POOL}.")
    ] = None
    pool_burst_seconds: Annotated[
        AutoBurst,
        Documented("TIDEGATE_POOL_BURST_SECONDS", _BURST, "How much of its rate a bucket of a Messages pool holds."),
    ] = None
    log_level: Annotated[
        LogLevel,
        Documented(
            "TIDEGATE_LOG_LEVEL",
            "debug, info, warning or error",
            "What is logged, on stderr; `info` has one line per call, `debug` each attempt of a generation.",
        ),
    ] = "info"
    log_format: Annotated[
        LogFormat,
        Documented("TIDEGATE_LOG_FORMAT", "auto, json or console", "`auto`: console on a terminal, JSON elsewhere."),
    ] = "auto"
    trace_upstream: Annotated[
        Flag,
        Documented(
            "TIDEGATE_TRACE_UPSTREAM",
            "true or false",
            "Whether trace context (`traceparent`, `tracestate`, `baggage`) goes upstream.",
        ),
    ] = False
    revision: Annotated[
        Text, Documented("TIDEGATE_REVISION", "a commit id", "Commit that was built, for the metric `build_info`.")
    ] = "unknown"
    pools: Annotated[
        tuple[PoolLimits, ...], Documented(None, "entries with a name and limits", "Limits of single pools.")
    ] = ()
    callers: Annotated[
        tuple[CallerSettings, ...],
        Documented(None, "entries with a name and key_sha256", "Who may call; empty: everybody, from loopback only."),
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
            raise ConfigurationError("metrics_host", self.metrics_host, "only beside TIDEGATE_METRICS_PORT")
        return self

    def named_pool_settings(self) -> dict[str, PoolSettings]:
        """What is configured for single pools, by name: `[[pools]]`, and endpoints other than Messages, left alone."""
        return {
            **dict.fromkeys(ENDPOINT_POOLS, self._pool_settings({})),
            **{entry.name: self._pool_settings(entry.limits()) for entry in self.pools},
        }

    def messages_pool_settings(self) -> PoolSettings:
        """What is configured for every Messages pool that has no entry of its own."""
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
