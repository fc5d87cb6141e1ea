"""Uploads and downloads are streamed through the service: it does not buffer them, and cannot retry uploads."""

import hashlib
import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import anthropic
import pytest

from support.conformance import CALLER_KEY, Twins, requests_seen
from support.processes import peak_kb

from .calls import FORM, FORM_END, FORM_FIELD, NEW_VERSION

MB = 1024 * 1024
SIZE_MB = 150
MOST_GROWTH_KB = 16 * 1024
"""Allows for buffers on both sides and for the allocator; the file is ten times as large."""
KEYS = {"x-api-key": CALLER_KEY, "anthropic-version": NEW_VERSION}


def megabyte(number: int) -> bytes:
    return number.to_bytes(4, "big") * (MB // 4)


def form() -> Iterator[bytes]:
    yield FORM_FIELD
    yield from map(megabyte, range(SIZE_MB))
    yield FORM_END


def upload(connection: http.client.HTTPConnection, *, chunked: bool, **headers: str) -> tuple[int, dict[str, str], Any]:
    length = len(FORM_FIELD) + SIZE_MB * MB + len(FORM_END)
    framing = {"transfer-encoding": "chunked"} if chunked else {"content-length": str(length)}
    fields = {**KEYS, "content-type": FORM, **framing, **headers}
    connection.request("POST", "/v1/files", form(), fields, encode_chunked=chunked)
    answer = connection.getresponse()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, json.loads(answer.read())


@pytest.mark.parametrize("chunked", [False, True], ids=["with-length", "chunked"])
def test_a_file_is_never_held_in_memory(pair: Twins, *, chunked: bool) -> None:
    pid = pair.service.process.pid
    connection = http.client.HTTPConnection(urlsplit(pair.through).netloc, timeout=60)
    before_kb = peak_kb(pid)
    status, _, stored = upload(connection, chunked=chunked)
    assert (status, stored["size_bytes"]) == (200, SIZE_MB * MB)

    connection.request("GET", f"/v1/files/{stored['id']}/content", headers=KEYS)
    answer = connection.getresponse()
    assert answer.getheader("content-length") == str(SIZE_MB * MB)
    digest, expected = hashlib.sha256(), hashlib.sha256()
    while piece := answer.read(MB):
        digest.update(piece)
    for number in range(SIZE_MB):
        expected.update(megabyte(number))
    assert digest.digest() == expected.digest()
    assert peak_kb(pid) - before_kb < MOST_GROWTH_KB

    connection.request("DELETE", f"/v1/files/{stored['id']}", headers=KEYS)
    assert connection.getresponse().read()
    connection.close()


def test_the_429_of_an_upload_is_relayed(pair: Twins) -> None:
    connection = http.client.HTTPConnection(urlsplit(pair.through).netloc, timeout=60)
    before = len(requests_seen(pair.behind))
    status, fields, body = upload(connection, chunked=True, **{"x-simulator-fault": "rate_limited"})
    connection.close()
    assert (status, body["error"]["type"]) == (429, "rate_limit_error")
    assert (fields["retry-after"], fields["x-should-retry"]) == ("1", "true")
    assert fields["x-tidegate-attempts"] == "1"
    assert "x-tidegate-cause" not in fields  # the upstream's own
    assert len(requests_seen(pair.behind)) == before + 1


def test_an_sdk_raises_it_as_an_error_of_the_upstream(pair: Twins) -> None:
    with anthropic.Anthropic(api_key=CALLER_KEY, base_url=pair.through, max_retries=0) as client:
        with pytest.raises(anthropic.RateLimitError) as caught:
            client.beta.files.upload(
                file=("a.txt", b"text", "text/plain"), extra_headers={"x-simulator-fault": "rate_limited"}
            )
        assert caught.value.type == "rate_limit_error"
        assert str(caught.value.request_id).startswith("req_")
        assert client.beta.files.upload(file=("a.txt", b"text", "text/plain")).size_bytes == 4
