"""The usage in batch results is counted once, and their bytes are relayed unchanged."""

import asyncio
import gzip
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from support.asgi_client import Answer, call
from support.turns import turns_during
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import Refusal
from tidegate.core.domain.events import BatchResultsRead, Event
from tidegate.core.domain.usage import Usage
from tidegate.core.ports.transport import Fields
from tidegate.gateway.batches import results as batch_results
from tidegate.gateway.batches.results import BatchUsage, Lines

RESULTS = "/v1/messages/batches/msgbatch_1/results"
TEAM = Caller("team-a", label="team-a")
JSONL: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/x-jsonl"),)
USED = Usage(7, 3, batch=True)


def result(number: int, usage: object = None, model: object = "claude-sonnet-5-5") -> bytes:
    usage = {"input_tokens": 7, "output_tokens": 3, "service_tier": "batch"} if usage is None else usage
    message = {"type": "message", "model": model, "content": [{"type": "text", "text": "é\\n" * 10}], "usage": usage}
    line = {"custom_id": f"r{number}", "result": {"type": "succeeded", "message": message}}
    return json.dumps(line).encode() + b"\n"


class Downloads:
    """Downloads through one `BatchUsage`, and its reports."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._chunks: Sequence[bytes] = ()
        self._fields: Sequence[tuple[bytes, bytes]] = JSONL
        self._status, self._breaks = 200, False
        self._books = BatchUsage(self._gateway, self._identify, self.events.append)

    def get(
        self,
        *chunks: bytes,
        path: str = RESULTS,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        fields: Sequence[tuple[bytes, bytes]] = JSONL,
        status: int = 200,
        breaks: bool = False,
    ) -> Answer:
        self._chunks, self._fields, self._status, self._breaks = chunks, fields, status, breaks
        answer = asyncio.run(call(self._books, method, path, headers=headers or {}))
        assert (answer.body, answer.status, answer.complete) == (b"".join(chunks), status, not breaks)
        return answer

    @property
    def used(self) -> list[tuple[str, Usage]]:
        """All reported usage, in order."""
        found: list[tuple[str, Usage]] = []
        for event in self.events:
            assert isinstance(event, BatchResultsRead)
            assert event.caller == TEAM
            found += event.used
        return found

    def _identify(self, fields: Fields) -> Caller:
        if fields.get(b"x-api-key") == b"wrong":
            raise Refusal(Cause.UNAUTHENTICATED, "the key is not a caller's")
        return TEAM

    async def _gateway(self, _scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": self._status, "headers": list(self._fields)})
        for chunk in self._chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if not self._breaks:
            await send({"type": "http.response.body", "body": b""})


def test_each_result_is_reported_with_its_model_at_the_price_of_batches() -> None:
    downloads = Downloads()
    other = result(2, {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 5}, "claude-haiku-5-5")
    downloads.get(result(1) + other)
    assert downloads.used == [("claude-sonnet-5-5", USED), ("claude-haiku-5-5", Usage(1, 2, 5, batch=True))]


@pytest.mark.parametrize("size", [1, 2, 7, 100, 10_000])
@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_how_the_bytes_are_cut_does_not_matter(size: int, ending: bytes) -> None:
    downloads = Downloads()
    text = b"".join(map(result, range(5))).removesuffix(b"\n") + ending
    downloads.get(*(text[start : start + size] for start in range(0, len(text), size)))
    assert downloads.used == [("claude-sonnet-5-5", USED)] * 5


def test_a_second_download_is_not_counted_again() -> None:
    downloads = Downloads()
    for _ in range(3):
        downloads.get(*map(result, range(4)))
    assert len(downloads.used) == 4
    downloads.get(result(1), path=RESULTS.replace("_1", "_2"))
    assert len(downloads.used) == 5


def test_a_download_that_broke_off_is_gone_on_with() -> None:
    downloads = Downloads()
    downloads.get(result(0), result(1), result(2)[:50], breaks=True)
    assert len(downloads.used) == 2
    downloads.get(*map(result, range(4)))
    assert len(downloads.used) == 4


def test_the_batch_that_was_read_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_results, "_MAX_BATCHES", 2)
    downloads = Downloads()
    for batch in ("a", "b", "a", "c", "b", "c"):
        downloads.get(result(1), path=f"/v1/messages/batches/{batch}/results")
    assert len(downloads.used) == 3  # of each the first
    downloads.get(result(1), path="/v1/messages/batches/a/results")
    assert len(downloads.used) == 4


@pytest.mark.parametrize(
    "line",
    [
        b'{"custom_id": "r", "result": {"type": "errored", "error": {"type": "error"}}}\n',
        b'{"custom_id": "r", "result": {"type": "expired"}}\n',
        b'{"custom_id": "r", "result": "odd"}\n',
        b'{"custom_id": "r", "result": {"message": "odd"}}\n',
        b"[]\n",
        b"\n",
        b"{not JSON\n",
        b"\xff\n",
        result(1, "odd"),
        b"[" * 100_000 + b"\n",
    ],
)
def test_a_line_that_says_no_usage_is_passed_over(line: bytes) -> None:
    downloads = Downloads()
    downloads.get(result(1) + line + result(2))
    assert downloads.used == [("claude-sonnet-5-5", USED)] * 2


def test_impossible_usage_and_invalid_model_names_have_no_price() -> None:
    downloads = Downloads()
    downloads.get(result(1, {"input_tokens": 10**12, "output_tokens": 3}, 7))
    assert downloads.used == [("", Usage(0, 3, batch=True))]


def test_a_compressed_download_is_read_from_a_copy() -> None:
    downloads = Downloads()
    packed = gzip.compress(b"".join(map(result, range(3))))
    downloads.get(packed[:40], packed[40:], fields=(*JSONL, (b"content-encoding", b"gzip")))
    assert len(downloads.used) == 3


@pytest.mark.parametrize("coding", [b"gzip", b"br"])
def test_results_in_an_unreadable_coding_count_nothing(coding: bytes) -> None:
    downloads = Downloads()
    downloads.get(result(1), result(2), fields=(*JSONL, (b"content-encoding", coding)))
    assert downloads.used == []


@pytest.mark.parametrize(
    "options",
    [
        {"status": 404},
        {"method": "DELETE"},
        {"path": "/v1/messages/batches/msgbatch_1"},
        {"path": "/v1/messages/batches/a/b/results"},
        {"headers": {"x-api-key": "wrong"}},
    ],
)
def test_nothing_else_is_read(options: Any) -> None:
    downloads = Downloads()
    downloads.get(result(1), **options)
    assert downloads.events == []


def test_a_line_that_is_too_long_is_not_buffered() -> None:
    lines, most = Lines(), 4 * 1024 * 1024
    assert list(lines.feed(b"x" * most)) == []
    assert list(lines.feed(b"\n" + b"x" * (most + 1))) == [b"x" * most]
    assert list(lines.feed(bytes(100) + b"\nnext\n")) == [b"", b"next"]


def test_others_get_their_turn_while_a_long_download_is_read() -> None:
    async def main() -> int:
        async def gateway(_scope: Any, _receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": list(JSONL)})
            await send({"type": "http.response.body", "body": b"".join(map(result, range(10_000)))})

        turns, _ = await turns_during(call(BatchUsage(gateway, lambda _: TEAM, lambda _: None), "GET", RESULTS))
        return turns

    assert asyncio.run(main()) >= 8
