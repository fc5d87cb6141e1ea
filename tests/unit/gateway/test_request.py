import pytest

from tidegate.gateway.request import InvalidCall, MessageRequest, most_body_bytes, read_message, route_of


def test_the_fields_that_the_limiter_needs_are_read() -> None:
    body = b'{"model": "claude-haiku-5-5", "max_tokens": 12, "stream": true, "messages": [], "from_the_future": 1}'
    assert read_message(body) == MessageRequest("claude-haiku-5-5", 12)


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"model": 5, "max_tokens": "9", "stream": 1}', b'{"model": null, "max_tokens": -1, "stream": "true"}'],
)
def test_what_the_upstream_will_refuse_is_not_judged_here(body: bytes) -> None:
    assert read_message(body) == MessageRequest("", None)


def test_true_is_no_number_of_tokens() -> None:
    assert read_message(b'{"max_tokens": true}').max_tokens is None


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"", "not valid JSON"),
        (b'{"model": ', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[1]", "must be a JSON object, got an array"),
        (b"null", "must be a JSON object, got null"),
        (b"3", "must be a JSON object, got a number"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused_with_the_reason(body: bytes, part: str) -> None:
    with pytest.raises(InvalidCall, match=part) as caught:
        read_message(body)
    assert (caught.value.status, caught.value.error_type) == (400, "invalid_request_error")


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/messages", "/v1/messages"),
        ("/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ("/v1/messages/batches/b1/results", "/v1/messages/batches"),
        ("/v1/models/claude-haiku-5-5", "/v1/models"),
        ("/v1/files", "/v1/files"),
        ("/v1/filesystem", "/v1/other"),
        ("/v1/complete", "/v1/other"),
    ],
)
def test_routes_are_a_closed_set(path: str, route: str) -> None:
    assert route_of(path) == route


def test_the_upstreams_limits_for_bodies() -> None:
    assert most_body_bytes("/v1/messages") == most_body_bytes("/v1/messages/count_tokens") == 33_554_432
    assert most_body_bytes("/v1/files") == 524_288_000
