"""SDKs raise the API's errors for the service's own errors, which have the cause in a header."""

import time

import anthropic
import httpx2
import pytest

from support.conformance import CALLER_KEY, Twins, twins

from .calls import SONNET


def client_of(url: str, key: str = CALLER_KEY, **headers: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key=key, base_url=url, max_retries=0, default_headers=headers)


def caught(client: anthropic.Anthropic, *, model: str = SONNET, content: str = "Hello") -> anthropic.APIStatusError:
    """Make a Messages call, and return its error."""
    with client, pytest.raises(anthropic.APIStatusError) as raised:
        client.messages.create(model=model, max_tokens=50, messages=[{"role": "user", "content": content}])
    return raised.value


def said(error: anthropic.APIStatusError) -> tuple[type, str | None, str | None, str | None]:
    """Class, type, cause, and whether to retry."""
    headers = error.response.headers
    return type(error), error.type, headers.get("x-tidegate-cause"), headers.get("x-should-retry")


def told_fault(pair: Twins, **fault: object) -> None:
    httpx2.post(f"{pair.behind}/simulator/faults", json=fault).raise_for_status()


def test_an_unknown_key(pair: Twins) -> None:
    error = caught(client_of(pair.through, key="somebody-elses"))
    assert said(error) == (anthropic.AuthenticationError, "authentication_error", "unauthenticated", "false")
    assert str(error.request_id).startswith("tg_")
    assert "somebody-elses" not in str(error.body)


def test_the_upstream_refuses_the_services_key(pair: Twins) -> None:
    error = caught(client_of(pair.through, **{"x-simulator-fault": "unauthenticated"}))
    assert said(error) == (anthropic.InternalServerError, "api_error", "upstream_credentials", "false")
    assert error.status_code == 502


def test_a_body_that_is_too_long(pair: Twins) -> None:
    error = caught(client_of(pair.through), content="x" * (33 * 1024 * 1024))
    assert said(error) == (anthropic.ContentTooLargeError, "request_too_large", None, "false")


def test_a_wait_longer_than_the_clients_timeout(pair: Twins) -> None:
    """The upstream freezes the pool for 90 s. Its 429 is relayed, and later callers get the remaining time."""
    told_fault(pair, kind="rate_limited", count=1, retry_after_seconds=90)
    impatient = {"x-tidegate-timeout-seconds": "1"}
    first = caught(client_of(pair.through, **impatient), model="claude-opus-5")
    assert said(first) == (anthropic.RateLimitError, "rate_limit_error", None, "true")
    assert first.response.headers["retry-after"] == "90"

    started = time.monotonic()
    second = caught(client_of(pair.through, **impatient), model="claude-opus-5")
    assert time.monotonic() - started < 5
    assert said(second) == (anthropic.RateLimitError, "rate_limit_error", "deadline", "true")
    assert 60 < int(second.response.headers["retry-after"]) <= 91

    older = {**impatient, "x-stainless-package-version": "0.121.0"}
    third = caught(client_of(pair.through, **older), model="claude-opus-5")
    assert said(third) == (anthropic.RateLimitError, "rate_limit_error", "deadline", "false")


def test_a_spend_limit(pair: Twins) -> None:
    """The upstream's response is relayed; until the date in it, the service refuses later calls."""
    told_fault(pair, kind="spend_limit", count=1)
    first = caught(client_of(pair.through), model="claude-opus-5-5")
    assert said(first) == (anthropic.BadRequestError, "invalid_request_error", None, "false")
    second = caught(client_of(pair.through), model="claude-opus-5-5")
    assert said(second) == (anthropic.PermissionDeniedError, "permission_error", "spend_cap", "false")


def test_a_body_that_is_not_json(pair: Twins) -> None:
    answer = httpx2.post(f"{pair.through}/v1/messages", content=b"{", headers={"x-api-key": CALLER_KEY})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert answer.headers["x-should-retry"] == "false"


def test_an_unreachable_upstream(tmp_path_factory: pytest.TempPathFactory) -> None:
    with twins(tmp_path_factory.mktemp("away"), TIDEGATE_UPSTREAM_URL="http://127.0.0.1:9") as away:
        with client_of(away.through) as client, pytest.raises(anthropic.APIStatusError) as raised:
            client.beta.files.delete("file_x")
        assert said(raised.value) == (anthropic.InternalServerError, "api_error", None, "true")
        assert raised.value.status_code == 502

        error = caught(client_of(away.through, **{"x-tidegate-timeout-seconds": "2"}))
        assert isinstance(error, anthropic.InternalServerError)
        assert error.type in {"api_error", "timeout_error", "overloaded_error"}
