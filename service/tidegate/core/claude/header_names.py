"""Names of the HTTP headers that the Claude API and Tidegate use, in lower case.

Source of the upstream's names: Claude Platform Docs, "Rate limits"
(read 2026-10-08) and the Anthropic Python SDK 2.12.0.
"""

from typing import Final

DATE: Final = "date"
RETRY_AFTER: Final = "retry-after"
RETRY_AFTER_MS: Final = "retry-after-ms"
REQUEST_ID: Final = "request-id"
SHOULD_RETRY: Final = "x-should-retry"
API_VERSION: Final = "anthropic-version"
API_KEY: Final = "x-api-key"
AUTHORIZATION: Final = "authorization"

RATE_LIMIT_PREFIX: Final = "anthropic-ratelimit-"
"""Followed by `requests`, `tokens`, `input-tokens` or `output-tokens`, and `-limit`, `-remaining` or `-reset`."""

FAST_PREFIX: Final = "anthropic-fast-"
"""Followed by `input-tokens` or `output-tokens`, and the same endings: the limits of fast mode (Docs, "Fast mode")."""

TIDEGATE_CAUSE: Final = "x-tidegate-cause"
TIDEGATE_REQUEST_ID: Final = "x-tidegate-request-id"
TIDEGATE_QUEUE_MS: Final = "x-tidegate-queue-ms"
TIDEGATE_ATTEMPTS: Final = "x-tidegate-attempts"
TIDEGATE_PREDICTED_WAIT_SECONDS: Final = "x-tidegate-predicted-wait-seconds"
TIDEGATE_UPSTREAM: Final = "x-tidegate-upstream"
TIDEGATE_TIMEOUT_SECONDS: Final = "x-tidegate-timeout-seconds"
TIDEGATE_SESSION: Final = "x-tidegate-session"
"""The session that a request belongs to."""
TIDEGATE_PRIORITY: Final = "x-tidegate-priority"
"""The priority class of a request. It cannot be higher than its caller's class."""
TIDEGATE_REPORT: Final = "x-tidegate-report"
"""The figures that a client wants with the response: `cost`, `budget`, or both, separated by a comma."""
TIDEGATE_COST_USD: Final = "x-tidegate-cost-usd"
TIDEGATE_BUDGET_REMAINING: Final = "x-tidegate-budget-remaining"
TIDEGATE_HOP: Final = "x-tidegate-hop"
"""The ids of the Tidegate processes that a request has passed. A process that finds its own id detects a loop."""
CLAUDE_CODE_SESSION_ID: Final = "x-claude-code-session-id"
CLAUDE_CODE_AGENT_ID: Final = "x-claude-code-agent-id"
CLAUDE_CODE_REQUEST_CLASS: Final = "x-claude-code-request-class"
"""Sent by Claude Code. Source: Claude Code Docs, "LLM gateway protocol" (read 2026-12-01), and version
2.1.332 of the npm package."""
STAINLESS_TIMEOUT: Final = "x-stainless-timeout"
"""The timeout of a call of an Anthropic SDK, in seconds. Python SDK 2.13.0 sends `NOT_GIVEN` if the call has none."""
STAINLESS_READ_TIMEOUT: Final = "x-stainless-read-timeout"
"""The time that it waits for the next byte, if the client has a timeout. Source: as above."""
TRACE_PARENT: Final = "traceparent"
TRACE_STATE: Final = "tracestate"
"""W3C Trace Context."""
