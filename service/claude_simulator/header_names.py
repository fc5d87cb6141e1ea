"""Names of the HTTP headers of the Claude API.

`tidegate` has the same list. The simulator shares no code with it, so that it can test it. Source: Claude Platform
Docs, "Rate limits" (read 2026-10-08), and the Anthropic Python SDK 2.12.0.
"""

from typing import Final

RETRY_AFTER: Final = "retry-after"
REQUEST_ID: Final = "request-id"
SHOULD_RETRY: Final = "x-should-retry"
ORGANIZATION_ID: Final = "anthropic-organization-id"
API_VERSION: Final = "anthropic-version"
BETA: Final = "anthropic-beta"
API_KEY: Final = "x-api-key"
AUTHORIZATION: Final = "authorization"
RATE_LIMIT_PREFIX: Final = "anthropic-ratelimit-"
FAST_PREFIX: Final = "anthropic-fast-"
