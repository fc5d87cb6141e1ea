"""Error responses of `/api` as problem documents (RFC 9457)."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tidegate.api.bodies import usage_body
from tidegate.api.disconnect import ClientDisconnected
from tidegate.core.claude.failures import failed_outcome
from tidegate.core.claude.header_names import RETRY_AFTER, SHOULD_RETRY, TIDEGATE_CAUSE
from tidegate.core.claude.request_ids import upstream_request_id
from tidegate.core.domain.cause import CAUSES, Cause
from tidegate.core.domain.errors import (
    ConfigurationError,
    ConfigurationErrors,
    GenerationError,
    LedgerUnavailable,
    Refusal,
    RetriesExhausted,
    UpstreamError,
)
from tidegate.core.failures.retry_policy import retry_reason
from tidegate.generation.request import Tally
from tidegate.identity.access import Denial
from tidegate.observe.tracing.span_observer import set_span_attribute

__all__ = ["CLIENT_CLOSED_REQUEST", "AccessDenied", "Problem", "handle_errors", "problem_of"]

_MEDIA_TYPE: Final = "application/problem+json"
CLIENT_CLOSED_REQUEST: Final = 499
"""Status of a call whose client disconnected. Only logs and metrics show it."""
_TITLES: Final = {529: "Overloaded", CLIENT_CLOSED_REQUEST: "Client Closed Request"}
_GIVEN_LIMIT: Final = 200
_REQUIRED: Final = "a value: the field is required"


class AccessDenied(Exception):
    """An access rule denies a call to a route."""

    def __init__(self, denial: Denial) -> None:
        self.denial = denial
        super().__init__(denial.message)


class Problem:
    """One error response.

    Args:
        status: the HTTP status.
        kind: the last part of the document's `type`. Programs may rely on it.
        detail: the error in one sentence.
        headers: further header fields.
        errors: the refused values.
        outcome: `RequestFinished.outcome`, if an error of the upstream decides it.
        members: further members of the document.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
        outcome: str | None = None,
        **members: Any,
    ) -> None:
        self.status = status
        self.outcome = outcome
        self.headers = dict(headers or {})
        self._members = {
            "type": f"urn:tidegate:problem:{kind}",
            "title": _title(status),
            "status": status,
            "detail": detail,
            **({"errors": list(errors)} if errors else {}),
            **members,
        }

    @property
    def upstream_request_id(self) -> str:
        """The upstream's id of the request that failed; empty if there is none."""
        return (self._members.get("upstream") or {}).get("request_id") or ""

    def document(self, request_id: str) -> dict[str, Any]:
        """The problem document."""
        return {**self._members, "request_id": request_id}

    def add_usage(self, tally: Tally) -> None:
        """Adds attempts, waits and tokens of a failed generation."""
        self._members |= {
            "attempts": tally.attempts,
            "queue_seconds": tally.queue_seconds,
            "usage": usage_body(tally.usage),
        }

    def set_span_cause(self) -> None:
        """Sets the cause of a refusal on the server span."""
        if TIDEGATE_CAUSE in self.headers:
            set_span_attribute("tidegate.cause", self.headers[TIDEGATE_CAUSE])

    def response(self, request_id: str) -> Response:
        """The HTTP response. Its JSON is ASCII, so that it can be encoded whatever the input was."""
        body = json.dumps(self.document(request_id))
        return Response(body, self.status, self.headers, media_type=_MEDIA_TYPE)


def _validation(error: RequestValidationError) -> Problem:
    faults = error.errors()
    if faults[0]["type"] == "json_invalid":
        # FastAPI puts the position of the fault where a field's name usually is.
        position, reason = faults[0]["loc"][-1], faults[0]["ctx"]["error"]
        return Problem(400, "json", f"the body is not valid JSON: {reason} at character {position}")
    return _unprocessable([_field_error(fault) for fault in faults])


def _field_error(fault: Mapping[str, Any]) -> dict[str, Any]:
    path = [str(part) for part in fault["loc"][1:]]
    if fault["type"] == "extra_forbidden":
        allowed = "no field of this name; /docs lists them"
    elif fault["type"] == "missing":
        allowed = _REQUIRED
    else:
        allowed = str(fault["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    given = None if fault["type"] == "missing" else _given(fault["input"])
    return {"field": ".".join(path) or "body", "given": given, "allowed": allowed}


def _unprocessable(errors: Sequence[Mapping[str, Any]]) -> Problem:
    first = errors[0]
    given = "nothing" if first["allowed"] == _REQUIRED else repr(first["given"])
    detail = f"{first['field']}: got {given}, allowed is {first['allowed']}"
    return Problem(422, "validation", detail, errors=errors)


def _given(value: object) -> object:
    """The value for a JSON document: shortened, and without NaN."""
    if isinstance(value, bool | int | None) or (isinstance(value, float) and math.isfinite(value)):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _GIVEN_LIMIT else f"{text[:_GIVEN_LIMIT]}… ({len(text)} characters)"


def _out_of_range(error: ConfigurationError) -> Problem:
    faults = error.faults if isinstance(error, ConfigurationErrors) else (error,)
    return _unprocessable(
        [{"field": each.field, "given": _given(each.given), "allowed": each.allowed} for each in faults]
    )


def _denied(error: AccessDenied) -> Problem:
    denial = error.denial
    if denial.cause is not None:
        return _refusal(Refusal(denial.cause, denial.message))
    return Problem(denial.status, "media-type", denial.message, headers={SHOULD_RETRY: "false"})


def _refusal(refusal: Refusal) -> Problem:
    row = CAUSES[refusal.cause]
    headers = {
        TIDEGATE_CAUSE: refusal.cause,
        SHOULD_RETRY: _yes_or_no(row.retryable),
        **_retry_after(refusal.retry_after_seconds),
    }
    members: dict[str, Any] = {} if refusal.dimension is None else {"dimension": refusal.dimension}
    return Problem(
        row.status, f"refused:{refusal.cause}", str(refusal), headers=headers, cause=refusal.cause, **members
    )


def _no_ledger(error: LedgerUnavailable) -> Problem:
    return _refusal(Refusal(Cause.LEDGER_UNAVAILABLE, str(error), retry_after_seconds=5))


def _upstream(error: UpstreamError) -> Problem:
    """Passes on the upstream's status if it concerns the call. Otherwise, or without a response, the status is 502.

    The service uses its own key and a default model. A 401 or 404 about these would mislead the client about its own
    key or URL.
    """
    if error.status == HTTPStatus.UNAUTHORIZED:
        cause = Cause.UPSTREAM_CREDENTIALS
        detail = f"the upstream refuses the key of this service: {error}"
        headers = {TIDEGATE_CAUSE: cause, SHOULD_RETRY: _yes_or_no(CAUSES[cause].retryable)}
        facts = _upstream_facts(error)
        return Problem(CAUSES[cause].status, f"refused:{cause}", detail, headers=headers, cause=cause, upstream=facts)
    about_the_call = 400 <= error.status <= 599 and error.status != HTTPStatus.NOT_FOUND
    headers = {
        SHOULD_RETRY: _yes_or_no(retry_reason(error) is not None),
        **_retry_after(error.retry_after_seconds),
    }
    return Problem(
        error.status if about_the_call else HTTPStatus.BAD_GATEWAY,
        "upstream",
        str(error),
        headers=headers,
        outcome=failed_outcome(error),
        upstream=_upstream_facts(error),
    )


def _exhausted(error: RetriesExhausted) -> Problem:
    headers = {SHOULD_RETRY: "true", **_retry_after(error.last.retry_after_seconds)}
    return Problem(
        HTTPStatus.GATEWAY_TIMEOUT if error.out_of_time else HTTPStatus.SERVICE_UNAVAILABLE,
        "out-of-time" if error.out_of_time else "retries-exhausted",
        str(error),
        headers=headers,
        outcome=failed_outcome(error.last),
        attempts=error.attempts,
        elapsed_seconds=round(error.elapsed_seconds, 3),
        upstream=_upstream_facts(error.last),
    )


def _not_generated(error: GenerationError) -> Problem:
    kind = f"generation:{error.reason}"
    return Problem(422, kind, str(error), reason=error.reason, findings=list(error.findings))


def _http(error: HTTPException) -> Problem:
    return Problem(error.status_code, "http", str(error.detail), headers=error.headers)


def _internal(_: Exception) -> Problem:
    return Problem(500, "internal", "an internal error; the service's log describes it")


def _client_disconnected(_: ClientDisconnected) -> Problem:
    return Problem(CLIENT_CLOSED_REQUEST, "client-left", "the client disconnected before the response")


_PROBLEMS: Final[tuple[tuple[type[Exception], Callable[[Any], Problem]], ...]] = (
    (RequestValidationError, _validation),
    (ConfigurationError, _out_of_range),
    (AccessDenied, _denied),
    (Refusal, _refusal),
    (LedgerUnavailable, _no_ledger),
    (RetriesExhausted, _exhausted),
    (UpstreamError, _upstream),
    (GenerationError, _not_generated),
    (HTTPException, _http),
    (ClientDisconnected, _client_disconnected),
)


def problem_of(error: Exception, tally: Tally | None = None) -> Problem:
    """The problem document of an error. An unexpected error is a 500 that does not reveal its cause.

    Args:
        error: the error.
        tally: attempts, waits and tokens of a failed generation.
    """
    make = next((make for kind, make in _PROBLEMS if isinstance(error, kind)), _internal)
    problem = make(error)
    if tally is not None and tally.attempts:
        problem.add_usage(tally)
    return problem


def handle_errors(app: FastAPI) -> None:
    """Turns every error of the app's routes into a problem document, also kept in `scope["state"]["problem"]`."""

    async def respond(request: Request, error: Exception) -> Response:
        problem = request.state.problem = problem_of(error, getattr(request.state, "tally", None))
        problem.set_span_cause()
        return problem.response(request.state.request_id)

    kinds: list[type[Exception]] = [Exception, *(kind for kind, _ in _PROBLEMS)]
    for kind in kinds:
        app.add_exception_handler(kind, respond)


def _upstream_facts(error: UpstreamError) -> dict[str, Any]:
    return {
        "status": error.status or None,
        "error_type": error.error_type,
        "error_code": error.error_code,
        "request_id": upstream_request_id(error.headers) or None,
    }


def _retry_after(seconds: float | None) -> dict[str, str]:
    return {} if seconds is None else {RETRY_AFTER: str(max(1, math.ceil(seconds)))}


def _yes_or_no(value: bool) -> str:  # noqa: FBT001 - the only argument
    return "true" if value else "false"


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return _TITLES.get(status, "Error")
