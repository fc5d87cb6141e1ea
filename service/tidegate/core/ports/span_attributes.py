"""Names of attributes and metrics, from OpenTelemetry where it has one, and the attributes of answers and failures.

Source: OpenTelemetry semantic conventions for generative AI v0.1.0 (spans, and the page on Anthropic; status
Development) and for HTTP v1.45.0 (stable), read 2026-11-24. No other module spells out a name of these conventions.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from tidegate.core.claude.failures import attempt_status, limited_dimension
from tidegate.core.claude.header_names import RETRY_AFTER, TRACE_PARENT, TRACE_STATE
from tidegate.core.claude.rate_limit_headers import header_text
from tidegate.core.claude.request_ids import upstream_request_id
from tidegate.core.domain.errors import GenerationError, Refusal, RetriesExhausted, UpstreamError, UpstreamUnreachable
from tidegate.core.domain.usage import Usage
from tidegate.core.ports.observer import Scope
from tidegate.core.ports.transport import Fields

__all__ = [
    "ERROR_TYPE",
    "FINISH_REASON",
    "MAX_TOKENS",
    "METHOD",
    "MODEL",
    "OPERATION",
    "OPERATION_DURATION",
    "PROVIDER",
    "RESEND_COUNT",
    "RESPONSE_ID",
    "RESPONSE_MODEL",
    "RETRY_AFTER_FIELD",
    "ROUTE",
    "SCHEMA_URL",
    "SCHEME",
    "SERVER_ADDRESS",
    "SERVER_PORT",
    "STATUS",
    "STREAMED",
    "TIME_TO_FIRST_CHUNK",
    "TOKEN_TYPE",
    "TOKEN_USAGE",
    "URL_FULL",
    "URL_PATH",
    "described_call",
    "error_type_of",
    "server_of",
    "set_error",
    "set_upstream_request_id",
    "set_usage",
]

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.45.0"
"""The schema of these names."""

MODEL: Final = "gen_ai.request.model"
MAX_TOKENS: Final = "gen_ai.request.max_tokens"
STREAMED: Final = "gen_ai.request.stream"
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
RESPONSE_ID: Final = "gen_ai.response.id"
RESPONSE_MODEL: Final = "gen_ai.response.model"
FINISH_REASON: Final = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - no secret
TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105 - no secret
OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
_INPUT: Final = "gen_ai.usage.input_tokens"
_OUTPUT: Final = "gen_ai.usage.output_tokens"
_CACHE_READ: Final = "gen_ai.usage.cache_read.input_tokens"
_CACHE_WRITE: Final = "gen_ai.usage.cache_write.input_tokens"

METHOD: Final = "http.request.method"
RESEND_COUNT: Final = "http.request.resend_count"
ROUTE: Final = "http.route"
STATUS: Final = "http.response.status_code"
SCHEME: Final = "url.scheme"
URL_PATH: Final = "url.path"
URL_FULL: Final = "url.full"
USER_AGENT: Final = "user_agent.original"
CLIENT_ADDRESS: Final = "client.address"
CLIENT_PORT: Final = "client.port"
PROTOCOL_VERSION: Final = "network.protocol.version"
RETRY_AFTER_FIELD: Final = "http.response.header.retry-after"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"
_ABANDONED: Final = frozenset({"CancelledError", "ClientDisconnected", "GeneratorExit"})
_HOST_AND_PORT: Final = re.compile("(.*):([0-9]{1,5})")
_TRACE_CONTEXT: Final = tuple((name, name.encode()) for name in (TRACE_PARENT, TRACE_STATE))


def described_call(request: Mapping[str, Any], route: str, fields: Fields, request_id: str) -> dict[str, str | float]:
    """The first attributes of the scope of a call. The client's trace context names its parent.

    Args:
        request: the ASGI scope.
        route: from a closed set.
        fields: the client's header fields.
        request_id: Tidegate's id of the call.
    """
    attributes: dict[str, str | float] = {
        METHOD: request["method"],
        ROUTE: route,
        URL_PATH: request["path"],
        SCHEME: request.get("scheme", "http"),
        "tidegate.request_id": request_id,
    }
    attributes.update(server_of(fields.get(b"host", b"").decode("latin-1"), attributes[SCHEME]))
    if client := request.get("client"):
        attributes[CLIENT_ADDRESS], attributes[CLIENT_PORT] = client
    if version := request.get("http_version"):
        attributes[PROTOCOL_VERSION] = version
    if agent := fields.get(b"user-agent"):
        attributes[USER_AGENT] = agent.decode("latin-1")
    attributes.update((name, fields[key].decode("latin-1")) for name, key in _TRACE_CONTEXT if key in fields)
    return attributes


def server_of(host: str, scheme: object) -> dict[str, str | float]:
    """Address and port that a client has called, by its `Host`; empty without one."""
    if not host:
        return {}
    default_port = 443 if scheme == "https" else 80
    found = _HOST_AND_PORT.fullmatch(host)
    return {SERVER_ADDRESS: found[1] if found else host, SERVER_PORT: int(found[2]) if found else default_port}


def set_usage(scope: Scope, usage: Usage) -> None:
    """Sets the usage of an answer. All input counts as input, including cached input."""
    scope.set(_INPUT, usage.input_tokens + usage.cache_read_tokens + usage.cache_creation_tokens)
    scope.set(_OUTPUT, usage.output_tokens)
    scope.set(_CACHE_READ, usage.cache_read_tokens)
    scope.set(_CACHE_WRITE, usage.cache_creation_tokens)


def set_upstream_request_id(scope: Scope, request_id: str) -> None:
    """Sets the upstream's id of a request; does nothing if it gave none."""
    if request_id:
        scope.set("tidegate.upstream_request_id", request_id)


def error_type_of(error: BaseException) -> str:
    """The value of `error.type`, from a closed set.

    The HTTP status of a response; `connection`, `timeout` or `deadline` without one; the cause of a refusal; the reason
    of a document that cannot be used; `abandoned` if the client left or the service stopped; `_OTHER`.
    """
    if isinstance(error, RetriesExhausted):
        error = error.last
    if isinstance(error, UpstreamUnreachable):
        may_run = "timeout" if error.may_have_been_accepted else "connection"
        return "deadline" if error.out_of_time else may_run
    if isinstance(error, UpstreamError):
        return str(error.status)
    if isinstance(error, GenerationError):
        return error.reason
    if isinstance(error, Refusal):
        return error.cause
    return "abandoned" if type(error).__name__ in _ABANDONED else "_OTHER"


def set_error(scope: Scope, error: BaseException) -> None:
    """Sets the status of an answer, if there was one, and the kind of a failure: from a closed set, never its text."""
    if isinstance(error, RetriesExhausted):
        scope.set("tidegate.attempts", error.attempts)
        error = error.last
    scope.set(ERROR_TYPE, error_type_of(error))
    if isinstance(error, UpstreamError) and not isinstance(error, UpstreamUnreachable):
        scope.set(STATUS, error.status)
        set_upstream_request_id(scope, upstream_request_id(error.headers))
        if (after := header_text(error.headers).get(RETRY_AFTER)) is not None:
            scope.set(RETRY_AFTER_FIELD, after)
        if attempt_status(error) == "429":
            scope.set("tidegate.limited_by", limited_dimension(error))
