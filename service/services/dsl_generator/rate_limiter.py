"""The older import path of `tidegate.rate_limiter`."""

from tidegate.rate_limiter import (
    RateLimitConfig,
    RateLimiter,
    get_global_rate_limiter,
    set_global_rate_limiter_config,
)

__all__ = ["RateLimitConfig", "RateLimiter", "get_global_rate_limiter", "set_global_rate_limiter_config"]
