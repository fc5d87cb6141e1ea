"""Each call of the list through the service and directly: equal status, headers, order of headers, and bytes."""

import http.client
import json
from urllib.parse import urlsplit

from support.conformance import CALLER_KEY, Answered, Twins, comparable, requests_seen

from .calls import CALLS, Call


def send(connection: http.client.HTTPConnection, call: Call, path: str) -> Answered:
    """Make one call with exactly these headers, without decompression."""
    connection.request(call.method, path, call.body, {**call.sent_headers(CALLER_KEY), "accept-encoding": "gzip"})
    answer = connection.getresponse()
    broken = False
    try:
        body = answer.read()
    except http.client.IncompleteRead as error:
        body, broken = error.partial, True
    if broken:
        connection.close()
    return Answered(answer.status, [(name.lower(), value) for name, value in answer.getheaders()], body, broken)


def run_all(url: str) -> dict[str, Answered]:
    """Make all calls in order, over one keep-alive connection."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    answers: dict[str, Answered] = {}
    ids: dict[str, str] = {}
    for call in CALLS:
        answered = answers[call.name] = send(connection, call, call.path.format(**ids))
        if call.name in {"batch", "slow", "file"}:
            ids[call.name] = json.loads(answered.body)["id"]
    connection.close()
    return answers


def test_every_response_is_the_same_as_without_the_service(pair: Twins) -> None:
    through, direct = (run_all(url) for url in pair.urls())
    assert {call.name: direct[call.name].status for call in CALLS} == {call.name: call.status for call in CALLS}
    for call in CALLS:
        name, expected, got = call.name, direct[call.name], through[call.name]
        assert (name, got.status, got.broken) == (name, expected.status, expected.broken)
        fields, body = comparable(call.path, got, pair.through)
        expected_fields, expected_body = comparable(call.path, expected, pair.direct)
        assert (name, fields) == (name, expected_fields)
        assert (name, body) == (name, expected_body)
    assert {name for name, answer in direct.items() if answer.broken} == {
        "broken off in the middle",
        "stream broken off in the middle",
    }
    assert any(("content-encoding", "gzip") in answer.fields for answer in through.values())

    seen_behind, seen_directly = (requests_seen(url)[-len(CALLS) :] for url in (pair.behind, pair.direct))
    assert len(seen_behind) == len(CALLS)
    for expected_request, request in zip(seen_directly, seen_behind, strict=True):
        assert request == expected_request


def test_repeated_and_unusual_request_headers_are_forwarded_in_order(pair: Twins) -> None:
    fields = [
        ("Anthropic-Beta", "b-2026-01-01"),
        ("X-Novel", "  spaces around  "),
        ("anthropic-beta", "a-2026-01-01"),
        ("x-empty", ""),
        ("Cookie", "a=1; b=2"),
        ("x-latin", "caf\xe9"),
        ("User-Agent", "a/1 (b; c)"),
        ("anthropic-workspace-id", "wrkspc_1"),
        ("anthropic-user-profile-id", "profile_1"),
        ("X-Stainless-Retry-Count", "0"),
        ("x-a" * 60, "x" * 6_000),
    ]
    for url in pair.urls():
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        connection.putrequest("GET", "/v1/models?limit=1", skip_accept_encoding=True)
        for name, value in [("x-api-key", CALLER_KEY), ("anthropic-version", "2023-06-01"), *fields]:
            connection.putheader(name, value.encode("latin-1"))
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (200, True)
        connection.close()
    through, direct = (requests_seen(url)[-1]["headers"] for url in (pair.behind, pair.direct))
    assert through == direct
    assert [value for name, value in direct if name == "anthropic-beta"] == ["b-2026-01-01", "a-2026-01-01"]
    assert len(direct) == len(fields) + 1
