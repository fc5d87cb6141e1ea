"""Examples in `/docs`. Every route under `/api` has some."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic.config import JsonDict

__all__ = [
    "ANSWER_EXAMPLE",
    "AUDIT_EXAMPLE",
    "BUDGETS_EXAMPLE",
    "CLIENT_STATUS_EXAMPLE",
    "CONFIGURE_EXAMPLES",
    "CREATE_KEY_EXAMPLES",
    "EXPIRE_KEY_EXAMPLES",
    "GENERATE_EXAMPLES",
    "KEYS_EXAMPLE",
    "KEY_EXAMPLE",
    "NEW_KEY_EXAMPLE",
    "OLDER_LIMITER",
    "PAUSES_EXAMPLE",
    "PAUSE_EXAMPLE",
    "PAUSE_EXAMPLES",
    "PROBLEM_EXAMPLE",
    "QUEUE_EXAMPLE",
    "RELOAD_EXAMPLE",
    "ROTATE_KEY_EXAMPLES",
    "SESSIONS_EXAMPLE",
    "STATUS_EXAMPLE",
    "USAGE_EXAMPLE",
    "response_example",
]

_WORKFLOW: Final[JsonDict] = {
    "document": {"dsl": "1.0.0", "namespace": "default", "name": "order-arrives", "version": "0.1.0"},
    "do": [{"checkStock": {"call": "http", "with": {"method": "get", "endpoint": "https://example.com/stock"}}}],
}

ANSWER_EXAMPLE: Final[JsonDict] = {
    "workflow": _WORKFLOW,
    "valid": True,
    "model": "claude-sonnet-5-5",
    "usage": {
        "input_tokens": 2150,
        "output_tokens": 310,
        "cache_read_tokens": 0,
        "cache_creation_tokens": 0,
    },
    "attempts": 1,
    "repaired": False,
    "fallback_used": False,
    "fallback_reason": None,
    "fallback_message": None,
    "queue_seconds": 0.0,
    "notes": [],
    "request_id": "tg_5f0c1e6b1c1f4d0a9a7d6c1d2b3e4f50",
}

PROBLEM_EXAMPLE: Final = {
    "type": "urn:tidegate:problem:validation",
    "title": "Unprocessable Entity",
    "status": 422,
    "detail": "burst_limit: got 0, allowed is a whole number, at least 1",
    "errors": [{"field": "burst_limit", "given": 0, "allowed": "a whole number, at least 1"}],
    "request_id": "tg_5f0c1e6b1c1f4d0a9a7d6c1d2b3e4f50",
}

GENERATE_EXAMPLES: Final[dict[str, Any]] = {
    "document": {
        "summary": "A workflow",
        "value": {"prompt": "When an order arrives, check stock, charge the card, then notify the warehouse"},
    },
    "yaml with a deadline": {
        "summary": "YAML within a minute, with a fallback",
        "value": {
            "prompt": "Every night, back up the database",
            "format": "yaml",
            "fallback": True,
            "timeout_seconds": 60,
        },
    },
    "own schema": {
        "summary": "A document for your own schema",
        "value": {
            "prompt": "Three milestones of a house",
            "schema": {
                "type": "object",
                "properties": {"milestones": {"type": "array", "items": {"type": "string"}}},
                "required": ["milestones"],
                "additionalProperties": False,
            },
        },
    },
    "progress": {"summary": "Progress as server-sent events", "value": {"prompt": "Ship an order", "stream": True}},
}

CONFIGURE_EXAMPLES: Final[dict[str, Any]] = {
    "default limiter": {
        "summary": "The limiter of the older API: workflow generations and AIClient",
        "value": {"requests_per_minute": 15, "burst_limit": 3, "base_delay": 3.0, "max_delay": 45.0},
    },
    "a pool": {
        "summary": "A cap for one model",
        "value": {"pool": "sonnet-5-5", "requests_per_minute": 60, "input_tokens_per_minute": "auto"},
    },
}

OLDER_LIMITER: Final = (
    "current_state, configuration and adaptive_metrics are those of pool `default`, which limits workflow generations "
    "and AIClient, but no calls under /v1"
)
"""Explains the older API's fields in the status."""

STATUS_EXAMPLE: Final[dict[str, Any]] = {
    "pools": {
        "sonnet-5-5": {
            "dimensions": {
                "requests": {
                    "configured_per_minute": None,
                    "upstream_per_minute": 1000.0,
                    "effective_per_minute": 1000.0,
                    "available": 166.0,
                    "capacity": 166.7,
                    "binding": "upstream",
                    "used_share_1_minute": 0.63,
                    "used_share_10_minutes": 0.87,
                }
            },
            "adaptive_factor": 1.0,
            "frozen_seconds": 0.0,
            "waiting": 3,
            "classes": {
                "interactive": {"waiting": 1, "tokens": 1_900, "oldest_seconds": 0.2, "by_caller": {"chat": 1}},
                "standard": {"waiting": 2, "tokens": 6_400, "oldest_seconds": 1.3, "by_caller": {"team-a": 2}},
                "batch": {"waiting": 0, "tokens": 0, "oldest_seconds": None, "by_caller": {}},
            },
            "in_flight": 1,
            "set_at_runtime": {"requests_per_minute": {"by": "ops", "unix_seconds": 1_764_590_400.0}},
        }
    },
    "older_limiter": OLDER_LIMITER,
    "current_state": {
        "available_tokens": 4.0,
        "requests_per_minute": 20.0,
        "total_requests": 1,
        "successful_requests": 1,
        "rate_limited_requests": 0,
        "waiting_requests": 0,
        "frozen_seconds": 0.0,
    },
    "configuration": {"requests_per_minute": 20, "burst_limit": 5, "base_delay": 2.0, "max_delay": 30.0},
    "adaptive_metrics": {"adaptive_factor": 1.0, "binding": "configured"},
}

CLIENT_STATUS_EXAMPLE: Final[dict[str, Any]] = {
    "model": "claude-sonnet-5-5",
    "fallback_model": "claude-haiku-5-5",
    "configured": True,
    "retry_policy": {"max_attempts": 5, "base_delay_seconds": 2.0, "max_delay_seconds": 30.0, "jitter_factor": 0.25},
}

QUEUE_EXAMPLE: Final[dict[str, Any]] = {
    "pools": {
        "sonnet-5-5": {
            "waiting": 3,
            "groups": [
                {
                    "priority": "standard",
                    "caller": "team-a",
                    "waiting": 2,
                    "tokens": 6_400,
                    "oldest_seconds": 41.3,
                    "next_in_seconds": 2.1,
                    "last_in_seconds": 9.8,
                    "binding": "output_tokens",
                },
                {
                    "priority": "batch",
                    "caller": "nightly",
                    "waiting": 1,
                    "tokens": 1_900,
                    "oldest_seconds": 12.0,
                    "next_in_seconds": 30.5,
                    "last_in_seconds": 30.5,
                    "binding": "queue",
                },
            ],
            "left_off": 0,
        }
    }
}

RELOAD_EXAMPLE: Final[dict[str, Any]] = {
    "changes": [
        {"setting": "callers.web.weight", "change": "changed", "before": 1.0, "after": 2.0},
        {"setting": "callers.night", "change": "added"},
        {"setting": "anthropic_api_key", "change": "changed"},
    ],
    "needs_restart": [{"setting": "port", "change": "changed", "before": 8080, "after": 8081}],
}

_USAGE_SUMS: Final[dict[str, Any]] = {
    "calls": 412,
    "refused": 3,
    "failed": 1,
    "tokens": {"input": 1_204_000, "output": 310_500, "cache_read": 5_870_000, "cache_creation": 420_000},
    "cost_usd": 7.15,
    "unpriced_tokens": 0,
    "cache_share": 0.7833,
    "waits": {"0.1": 380, "1": 12, "10": 15, "60": 3, "600": 0, "longer": 0},
    "refusals": {"deadline": 2, "queue_full": 1},
}

USAGE_EXAMPLE: Final[dict[str, Any]] = {
    "since": "2026-11-24T12:00:00+00:00",
    "until": "2026-12-01T12:00:00+00:00",
    "by": ["caller"],
    "groups": [{"caller": "team-a", **_USAGE_SUMS}],
    "total": _USAGE_SUMS,
    "prices": [{"source": "model pages and pricing page on platform.claude.com", "read_on": "2026-10-24"}],
}

SESSIONS_EXAMPLE: Final[dict[str, Any]] = {
    "sessions": [
        {
            "session": "5f0c61d2-a9b4-4d0e-9a55-0d6f0c1f3a77",
            "caller": "nightly",
            "team": "data",
            "first_at": "2026-12-01T02:00:00+00:00",
            "last_at": "2026-12-01T04:31:07+00:00",
            "answers": 212,
            "tokens": {"input": 204_000, "output": 98_500, "cache_read": 9_870_000, "cache_creation": 420_000},
            "cost_usd": 18.21,
        }
    ]
}

KEY_EXAMPLE: Final[dict[str, Any]] = {
    "id": "key_5f0c61d2a9b4",
    "caller": "web",
    "team": "shop",
    "role": "caller",
    "state": "valid",
    "created_at": 1_796_000_000,
    "created_by": "the admin key",
    "expires_at": None,
    "revoked_at": None,
}

KEYS_EXAMPLE: Final[dict[str, Any]] = {"keys": [KEY_EXAMPLE]}

NEW_KEY_EXAMPLE: Final[dict[str, Any]] = {
    "id": "key_5f0c61d2a9b4",
    "caller": "web",
    "key": "tg_…",
    "expires_at": None,
    "old_key": None,
    "old_valid_until": None,
}

CREATE_KEY_EXAMPLES: Final[dict[str, Any]] = {
    "caller": {"value": {"name": "web", "team": "shop", "expires": "90d"}},
    "admin": {"summary": "A key that administers", "value": {"name": "on-call", "role": "admin"}},
}
ROTATE_KEY_EXAMPLES: Final[dict[str, Any]] = {"grace": {"value": {"grace": "7d"}}}
EXPIRE_KEY_EXAMPLES: Final[dict[str, Any]] = {"at": {"value": {"at": "12h"}}}

PAUSE_EXAMPLE: Final[dict[str, Any]] = {
    "kind": "caller",
    "name": "nightly",
    "by": "on-call",
    "at": 1_796_000_000,
    "reason": "an agent runs away",
}
PAUSES_EXAMPLE: Final[dict[str, Any]] = {"pauses": [PAUSE_EXAMPLE]}
PAUSE_EXAMPLES: Final[dict[str, Any]] = {
    "caller": {"value": {"kind": "caller", "name": "nightly", "reason": "an agent runs away"}},
    "session": {"value": {"kind": "session", "name": "5f0c61d2-a9b4-4d0e-9a55-0d6f0c1f3a77"}},
}
AUDIT_EXAMPLE: Final[dict[str, Any]] = {
    "changes": [
        {
            "at": "2026-12-01T12:00:00+00:00",
            "who": "on-call",
            "action": "configure",
            "target": "pool sonnet-5-5",
            "before": {"requests_per_minute": None},
            "after": {"requests_per_minute": 100},
        }
    ]
}

BUDGETS_EXAMPLE: Final[JsonDict] = {
    "budgets": [
        {
            "name": "search-month",
            "subject": None,
            "unit": "usd",
            "limit": 500.0,
            "spent": 412.305811,
            "reserved": 0.731,
            "remaining": 86.963189,
            "remaining_ratio": 0.1739,
            "per": "month",
            "time_zone": "Europe/Berlin",
            "opens_at": "2026-12-31T23:00:00+00:00",
            "on_exceed": "refuse",
            "caller": None,
            "team": "search",
            "contact": "platform@example.com",
        }
    ]
}


def response_example(example: Mapping[str, Any], status: int = 200) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route whose response with this status is JSON like the example."""
    return {status: {"content": {"application/json": {"example": example}}}}
