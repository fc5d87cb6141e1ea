"""The settings of the parts of the service, made from the configuration: at the start, and at each reload."""

from typing import Final, Literal

from tidegate.core.domain.errors import ConfigurationError
from tidegate.gateway.receive.request import MESSAGES_ROUTE
from tidegate.gateway.relay_limits import RelayLimits
from tidegate.http.server.connection_limits import ConnectionLimits
from tidegate.rate_limiter import RateLimitConfig
from tidegate.settings import Settings

__all__ = ["UpstreamKind", "connection_limits", "limiter_config", "relay_limits", "upstream_key"]

UpstreamKind = Literal["claude", "simulator"]

_SIMULATOR_KEY: Final = "simulator"
"""Sent to the simulator, so that a real key is only ever sent to the real API."""


def upstream_key(settings: Settings, upstream: UpstreamKind) -> str:
    """The key that is sent to the upstream.

    Raises:
        ConfigurationError: there is no key for the real API.
    """
    if upstream == "simulator":
        return _SIMULATOR_KEY
    secret = settings.anthropic_api_key
    if secret is None:
        raise ConfigurationError("ANTHROPIC_API_KEY", None, "a key of the Claude API")
    return secret.get_secret_value()


def limiter_config(settings: Settings) -> RateLimitConfig:
    """The configuration of the older limiter."""
    return RateLimitConfig(
        requests_per_minute=settings.requests_per_minute,
        burst_limit=settings.burst_limit,
        base_delay=settings.rate_limit_base_delay_seconds,
        max_delay=settings.rate_limit_max_delay_seconds,
    )


def relay_limits(settings: Settings) -> RelayLimits:
    """The limits of the gateway."""
    return RelayLimits(
        hold_seconds=settings.stream_hold_seconds,
        content_idle_seconds=settings.stream_idle_seconds,
        read_on_seconds=settings.read_on_seconds,
        read_on_calls=settings.read_on_calls,
        comment_seconds=settings.stream_comment_seconds,
        stream_wait_seconds=settings.stream_wait_seconds,
        calls=settings.max_calls,
        calls_per_caller=settings.max_calls_per_caller or 0,
        body_bytes=settings.max_held_body_bytes,
        body_bytes_per_caller=settings.max_held_body_bytes_per_caller or 0,
    )


def connection_limits(settings: Settings) -> ConnectionLimits:
    """The limits of client connections."""
    return ConnectionLimits(
        head_bytes=settings.max_header_bytes,
        head_seconds=settings.header_seconds,
        body_idle_seconds=settings.body_idle_seconds,
        unread_seconds=settings.slow_client_seconds,
        total_unread_paths=frozenset({MESSAGES_ROUTE}),  # a Messages call holds quota all the while
    )
