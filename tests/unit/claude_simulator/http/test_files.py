"""The routes of `/v1/files…`, and the parser of uploads."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_simulator.errors import ApiError
from claude_simulator.http import files as file_routes
from claude_simulator.http.file_store import MAX_STORED_FILES, FileStore
from claude_simulator.http.multipart import boundary_of, read_form
from support.virtual_time import VirtualClock, run_virtual
from unit.claude_simulator.conftest import MakeClient, SimulatorAnswer, SimulatorClient

FORM = {"content-type": 'multipart/form-data; boundary="bOu"'}


def form(content: bytes, *, name: str = "file", kind: str = "text/plain") -> bytes:
    return (
        b'preamble\r\n--bOu\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nany\r\n'
        + f'--bOu\r\nContent-Disposition: form-data; name="{name}"; filename="a b.txt"\r\n'.encode()
        + (f"Content-Type: {kind}\r\n" if kind else "").encode()
        + b"\r\n"
        + content
        + b"\r\n--bOu--\r\nepilogue"
    )


async def upload(client: SimulatorClient, body: bytes, **headers: str) -> SimulatorAnswer:
    return await client.send("POST", "/v1/files", body, headers={**FORM, **headers})


def test_a_file_is_downloaded_unchanged(make_client: MakeClient, clock: VirtualClock) -> None:
    async def steps() -> None:
        client = make_client()
        content = bytes(range(256)) * 4_000  # more than fits in memory or in a chunk
        stored = (await upload(client, form(content))).json()
        assert (stored["filename"], stored["mime_type"], stored["size_bytes"]) == ("a b.txt", "text/plain", 1_024_000)
        path = f"/v1/files/{stored['id']}"
        assert (await client.send("GET", path)).json() == stored
        assert (await client.send("GET", "/v1/files")).json()["data"] == [stored]
        downloaded = await client.send("GET", f"{path}/content")
        assert (downloaded.headers["content-type"], downloaded.body) == ("text/plain", content)
        assert (await client.send("DELETE", path)).json() == {"id": stored["id"], "type": "file_deleted"}
        assert (await client.send("GET", path)).error()[:2] == (404, "not_found_error")

    run_virtual(steps(), clock)


def test_an_empty_file_without_a_type(make_client: MakeClient, clock: VirtualClock) -> None:
    stored = run_virtual(upload(make_client(), form(b"", kind="")), clock).json()
    assert (stored["size_bytes"], stored["mime_type"]) == (0, "application/octet-stream")


@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        (form(b"x", name="document"), {}, "file: Field required"),
        (b"--bOu\r\nno end", {}, "it has no end"),
        (b"--bOu\r\n" + b"x" * 17_000, {}, "a part's head has no end"),
        (form(b"x"), {"content-type": "application/json"}, "'application/json' was given; multipart/form-data"),
        (form(b"x"), {"content-type": "multipart/form-data"}, "multipart/form-data is allowed"),
    ],
)
def test_an_invalid_form_is_refused(
    make_client: MakeClient, clock: VirtualClock, body: bytes, headers: Any, message: str
) -> None:
    answer = run_virtual(upload(make_client(), body, **headers), clock)
    assert answer.error()[:2] == (400, "invalid_request_error")
    assert message in answer.error()[2]


def test_a_file_may_be_too_large(make_client: MakeClient, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_routes, "MAX_FILE_BYTES", 10)
    answer = run_virtual(upload(make_client(), form(b"x" * 11)), clock)
    assert answer.error()[:2] == (413, "request_too_large")


def test_the_storage_is_bounded() -> None:
    store = FileStore()
    import io

    for number in range(MAX_STORED_FILES):
        store.add({"id": f"file_{number}", "size_bytes": 1}, io.BytesIO(b"x"))
    more = io.BytesIO(b"x")
    with pytest.raises(ApiError, match="Storage limit"):
        store.add({"id": "file_more", "size_bytes": 1}, more)
    assert more.closed


@given(
    content=st.binary(max_size=60) | st.lists(st.sampled_from([b"\r\n--bOu", b"\r\n", b"--", b"b"])).map(b"".join),
    cuts=st.lists(st.integers(1, 40), min_size=1),
)
def test_a_form_may_be_split_anywhere(content: bytes, cuts: list[int]) -> None:
    if b"\r\n--bOu" in b"\r\n" + content:
        return
    body = form(content)

    async def chunks() -> AsyncIterator[bytes]:
        position, number = 0, 0
        while position < len(body):
            yield body[position : position + cuts[number % len(cuts)]]
            position += cuts[number % len(cuts)]
            number += 1

    async def read() -> bytes:
        boundary = boundary_of(FORM["content-type"])
        return b"".join([piece async for part, piece in read_form(chunks(), boundary) if part.name == "file"])

    assert asyncio.run(read()) == content


def test_a_message_must_refer_to_existing_files(make_client: MakeClient, clock: VirtualClock) -> None:
    def image(file_id: str) -> dict[str, Any]:
        return {"type": "image", "source": {"type": "file", "file_id": file_id}}

    async def steps() -> None:
        client = make_client()
        stored = (await upload(client, form(b"x"))).json()
        known = [{"role": "user", "content": [image(stored["id"]), {"type": "text", "text": "see"}]}]
        assert (await client.ask(messages=known)).status == 200
        for block in (image("file_x"), {"type": "container_upload", "file_id": "file_x"}):
            unknown = await client.ask(messages=[{"role": "user", "content": [block]}])
            assert unknown.error() == (404, "not_found_error", "File not found: file_x")

    run_virtual(steps(), clock)
