"""`results_url` begins with the URL that the client has called."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from support.asgi_client import Answer, call
from tidegate.gateway.batches.result_urls import BatchResultUrls

BATCH = "/v1/messages/batches/msgbatch_1"
URL = b'{"id": "msgbatch_1", "results_url": "https://api.anthropic.com/v1/messages/batches/msgbatch_1/results", "x": 1}'


def ask(
    *chunks: bytes,
    path: str = BATCH,
    headers: dict[str, str] | None = None,
    status: int = 200,
    fields: Sequence[tuple[bytes, bytes]] = ((b"content-type", b"application/json"),),
    breaks: bool = False,
    proxy: str = "127.0.0.1",
) -> tuple[Answer, dict[bytes, bytes]]:
    """The client's response and the gateway's request headers, if the gateway responds with these chunks."""
    seen: dict[bytes, bytes] = {}

    async def gateway(scope: Any, _receive: Any, send: Any) -> None:
        seen.update(scope["headers"])
        await send({"type": "http.response.start", "status": status, "headers": list(fields)})
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if not breaks:
            await send({"type": "http.response.body", "body": b""})

    given = {"accept-encoding": "gzip", **(headers or {})}
    return asyncio.run(call(BatchResultUrls(gateway, lambda peer: peer == proxy), "GET", path, headers=given)), seen


def results_url(answer: Answer) -> str:
    return str(answer.json()["results_url"])


@pytest.mark.parametrize("path", [BATCH, "/v1/messages/batches", f"{BATCH}/cancel"])
def test_the_url_begins_as_the_client_has_called(path: str) -> None:
    length = (b"content-length", b"%d" % len(URL))
    answer, seen = ask(URL[:60], URL[60:], path=path, fields=[(b"content-type", b"application/json"), length])
    assert results_url(answer) == f"http://localhost:8080{BATCH}/results"
    assert answer.headers["content-length"] == str(len(answer.body))
    assert (answer.complete, answer.json()["x"]) == (True, 1)
    assert b"accept-encoding" not in seen


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ({"host": "tidegate.example", "x-forwarded-proto": "https"}, "https://tidegate.example"),
        ({"host": "[::1]:80", "x-forwarded-proto": "gopher"}, "http://[::1]:80"),
        ({"host": 'evil"host'}, "https://api.anthropic.com"),
    ],
)
def test_the_url_is_made_of_host_and_scheme(headers: dict[str, str], url: str) -> None:
    answer, _ = ask(URL, headers=headers)
    assert results_url(answer) == f"{url}{BATCH}/results"


def test_the_scheme_is_believed_only_if_a_trusted_proxy_names_it() -> None:
    answer, _ = ask(URL, headers={"host": "tidegate.example", "x-forwarded-proto": "https"}, proxy="10.0.0.1")
    assert results_url(answer) == f"http://tidegate.example{BATCH}/results"


@pytest.mark.parametrize(
    "options",
    [
        {"path": f"{BATCH}/results"},
        {"path": "/v1/messages"},
        {"status": 404},
        {"fields": [(b"content-type", b"text/plain")]},
        {"fields": [(b"content-type", b"application/json"), (b"content-encoding", b"br")]},
    ],
)
def test_other_answers_are_left_alone(options: Any) -> None:
    answer, _ = ask(URL, **options)
    assert (answer.body, answer.complete) == (URL, True)


def test_another_url_is_left_alone() -> None:
    elsewhere = b'{"results_url": "https://storage.example/abc?signature=1"}'
    assert ask(elsewhere)[0].body == elsewhere


@pytest.mark.parametrize("chunks", [[URL], [URL[:30]], []])
def test_an_answer_that_breaks_off_breaks_off_for_the_client(chunks: list[bytes]) -> None:
    answer, _ = ask(*chunks, breaks=True)
    assert (answer.status, answer.body, answer.complete) == (200, b"".join(chunks), False)


def test_a_long_answer_passes_as_it_came() -> None:
    padding = b" " * (4 * 1024 * 1024)
    answer, _ = ask(padding, URL, b"more")
    assert (answer.body, answer.complete) == (padding + URL + b"more", True)
