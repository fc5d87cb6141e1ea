import json

import pytest

from support.gateway import unreachable as no_answer
from tidegate.core.domain.cause import CAUSES, Cause
from tidegate.core.domain.errors import Refusal
from tidegate.core.ports.transport import Fields
from tidegate.gateway.call import timeout_seconds
from tidegate.gateway.forwarded_headers import for_client, for_upstream
from tidegate.gateway.gateway_errors import LocalResponse, client_version_fields, invalid, refused, unreachable
from tidegate.gateway.receive.request import InvalidCall
from tidegate.gateway.relay.upstream_errors import upstream_error


def fields(answer: LocalResponse) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in answer.headers}


@pytest.mark.parametrize("cause", Cause)
def test_every_refusal_is_anthropic_shaped_and_says_its_cause(cause: Cause) -> None:
    answer = refused(Refusal(cause, "no, because", retry_after_seconds=1.2), "tg_1", {})
    row = CAUSES[cause]
    assert answer.status == row.status
    assert json.loads(answer.body) == {
        "type": "error",
        "error": {"type": row.error_type, "message": "no, because"},
        "request_id": "tg_1",
    }
    assert fields(answer) == {
        "content-type": "application/json",
        "content-length": str(len(answer.body)),
        "request-id": "tg_1",
        "x-should-retry": "true" if row.retryable else "false",
        "x-tidegate-cause": cause.value,
        "retry-after": "2",
    }


def test_no_wait_is_named_where_none_is_known() -> None:
    assert "retry-after" not in fields(refused(Refusal(Cause.QUEUE_FULL, "full"), "tg_1", {}))


@pytest.mark.parametrize(("asked", "told"), [(61, "60"), (60, "60"), (7, "7")])
def test_claude_code_is_not_told_to_wait_longer_than_it_obeys(asked: int, told: str) -> None:
    client = {b"user-agent": b"claude-cli/2.1.332 (external, sdk-cli)", b"x-stainless-package-version": b"0.128.0"}
    answer = refused(Refusal(Cause.DEADLINE, "late", retry_after_seconds=asked), "tg_1", client)
    assert (fields(answer)["retry-after"], fields(answer)["x-should-retry"]) == (told, "true")


@pytest.mark.parametrize(
    ("client", "seconds", "should_retry"),
    [
        ({b"user-agent": b"Anthropic/Python 0.121.0"}, 61, "false"),
        ({b"user-agent": b"AsyncAnthropic/Python 1.0.0"}, 61, "false"),
        ({b"x-stainless-package-version": b"1.4.0"}, 60.5, "false"),
        ({b"user-agent": b"Anthropic/Python 0.121.0"}, 60, "true"),
        ({b"user-agent": b"Anthropic/Python 2.12.0", b"x-stainless-package-version": b"2.12.0"}, 900, "true"),
        ({b"user-agent": b"curl/8"}, 900, "true"),
    ],
)
def test_an_old_sdk_is_not_told_to_come_back_when_it_would_come_too_early(
    client: Fields, seconds: float, should_retry: str
) -> None:
    answer = refused(Refusal(Cause.DEADLINE, "later", retry_after_seconds=seconds), "tg_1", client)
    assert fields(answer)["x-should-retry"] == should_retry


def test_an_invalid_call_is_final() -> None:
    answer = invalid(InvalidCall("too long", status=413, error_type="request_too_large"), "tg_1")
    assert (answer.status, fields(answer)["x-should-retry"]) == (413, "false")


def test_an_unreachable_upstream_is_502_or_504_and_final_if_it_may_have_been_billed() -> None:
    refused_connection = unreachable(no_answer(), "tg_1", out_of_time=False)
    assert (refused_connection.status, fields(refused_connection)["x-should-retry"]) == (502, "true")
    late = unreachable(no_answer(may_have_been_accepted=True), "tg_1", out_of_time=True)
    assert (late.status, fields(late)["x-should-retry"]) == (504, "false")
    assert json.loads(late.body)["error"]["type"] == "timeout_error"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {b"user-agent": b"Anthropic/Python 0.121.0", b"accept": b"*/*"},
        {b"user-agent": b"Anthropic/Python 2.12.0"},
        {b"x-stainless-package-version": b"0.60.0"},
        {b"x-stainless-package-version": b"2.12.0", b"x": b"1"},
    ],
)
def test_of_a_clients_fields_all_are_kept_that_a_refusal_looks_at(fields: dict[bytes, bytes]) -> None:
    refusal = Refusal(Cause.DEADLINE, "later", retry_after_seconds=90.0)
    assert refused(refusal, "tg_1", client_version_fields(fields)) == refused(refusal, "tg_1", fields)
    assert b"accept" not in client_version_fields(fields)


def test_only_credentials_and_what_belongs_to_the_connection_change_upstream() -> None:
    headers = [
        (b"host", b"localhost"),
        (b"anthropic-version", b"2023-06-01"),
        (b"anthropic-beta", b"a"),
        (b"anthropic-beta", b"b"),
        (b"authorization", b"Bearer theirs"),
        (b"x-api-key", b"theirs"),
        (b"connection", b"keep-alive, x-private"),
        (b"x-private", b"1"),
        (b"accept-encoding", b"gzip, br"),
        (b"content-length", b"3"),
        (b"x-tidegate-timeout-seconds", b"3"),
        (b"x-from-the-future", b"\xe9"),
        (b"traceparent", b"00-theirs"),
        (b"tracestate", b"a=b"),
        (b"baggage", b"user=7"),
    ]
    sent = for_upstream(headers, dict(headers), api_key=b"ours", hops=b"x, y", passes_trace_context=False)
    assert list(sent) == [
        (b"anthropic-version", b"2023-06-01"),
        (b"anthropic-beta", b"a"),
        (b"anthropic-beta", b"b"),
        (b"x-from-the-future", b"\xe9"),
        (b"accept-encoding", b"gzip"),
        (b"x-api-key", b"ours"),
        (b"x-tidegate-hop", b"x, y"),
    ]


def test_trace_context_passes_when_it_is_meant_to() -> None:
    context = [(b"traceparent", b"00-theirs"), (b"tracestate", b"a=b"), (b"baggage", b"user=7")]
    sent = for_upstream(context, dict(context), api_key=b"ours", hops=b"x", passes_trace_context=True)
    assert sent[:3] == context


def test_an_answers_headers_pass_but_for_the_connections_own() -> None:
    headers = [(b"request-id", b"r"), (b"connection", b"close"), (b"transfer-encoding", b"chunked"), (b"date", b"now")]
    assert for_client(headers, dict(headers)) == [(b"request-id", b"r"), (b"date", b"now")]


def test_the_clients_patience_is_read_from_our_header_then_from_the_sdks() -> None:
    both = {b"x-tidegate-timeout-seconds": b"2.5", b"x-stainless-timeout": b"7"}
    assert timeout_seconds(both, 600) == 2.5
    assert timeout_seconds({b"x-stainless-timeout": b"7"}, 600) == 6.65, "before the SDK stops waiting"
    assert timeout_seconds({b"x-stainless-timeout": b"20"}, 600) == 19.5
    assert timeout_seconds({b"x-stainless-timeout": b"NOT_GIVEN"}, 600) == 600
    assert timeout_seconds({}, 600) == 600
    assert timeout_seconds({}, 600, is_lookup=True) == 60
    assert timeout_seconds({b"x-stainless-timeout": b"600"}, 600, is_lookup=True) == 60
    assert timeout_seconds(both, 600, is_lookup=True) == 2.5
    assert timeout_seconds({b"x-tidegate-timeout-seconds": b"300"}, 600, is_lookup=True) == 300


@pytest.mark.parametrize("raw", ["0", "-1", "nan", "inf", "soon", "", "86401"])
def test_a_senseless_patience_is_refused_with_the_name_of_the_header(raw: str) -> None:
    with pytest.raises(InvalidCall, match=f"x-tidegate-timeout-seconds: got '{raw}', allowed is a number of seconds"):
        timeout_seconds({b"x-tidegate-timeout-seconds": raw.encode()}, 600)


def test_an_error_body_may_be_anything() -> None:
    error = upstream_error(502, [(b"retry-after", b"3")], b"<html>", 0.0)
    assert (str(error), error.error_type, error.retry_after_seconds, error.body) == (
        "the upstream answered with status 502",
        None,
        3.0,
        b"<html>",
    )
