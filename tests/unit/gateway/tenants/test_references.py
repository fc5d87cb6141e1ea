"""Objects that requests name, and those that responses of Messages name as created."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.asgi_client import call
from support.gateway import MESSAGE, Reply, sse
from tidegate.core.ports.ownership import Owner
from tidegate.gateway.receive.body_start import KEPT_BYTES
from tidegate.gateway.receive.request import read_message
from tidegate.gateway.tenants import message_objects
from tidegate.gateway.tenants.message_objects import MessageObjects
from tidegate.gateway.tenants.references import named_objects, quoted_ids
from tidegate.gateway.tenants.routes import ObjectRoute, object_route
from unit.gateway.tenants.test_objects import ANN, BATCH_REQUEST, BOB, Service, is_not_found, play

FILE, THEIRS = "file_ofann0001", "file_ofbob0001"
JSON = {"content-type": "application/json"}


def message(*file_ids: str, **changes: Any) -> dict[str, Any]:
    content = [{"type": "document", "source": {"type": "file", "file_id": each}} for each in file_ids]
    return {**MESSAGE, "messages": [{"role": "user", "content": content}], **changes}


def escaped(body: dict[str, Any], text: str) -> bytes:
    return json.dumps(body).replace(text, "".join(f"\\u{ord(letter):04X}" for letter in text)).encode()


NAMED: Sequence[tuple[dict[str, Any], set[str]]] = [
    (message("file_1", "file_2"), {"file_1", "file_2"}),
    ({"container": "container_1"}, {"container_1"}),
    (
        {"container": {"id": "container_1", "skills": [{"skill_id": "skill_1"}, {"skill_id": "xlsx"}]}},
        {"container_1", "skill_1"},
    ),
    ({"agent": {"type": "agent", "id": "agent_1"}, "environment_id": "env_1"}, {"agent_1", "env_1"}),
    ({"agents": ["agent_1", {"type": "agent", "id": "agent_2"}]}, {"agent_1", "agent_2"}),
    (
        {"inputs": [{"session_ids": ["sesn_1", "sesn_2"]}, {"memory_store_id": "memstore_1"}]},
        {"sesn_1", "sesn_2", "memstore_1"},
    ),
    ({"vault_ids": ["vlt_1"], "resources": [{"file_id": "file_1"}]}, {"vlt_1", "file_1"}),
    ({"requests": [{"params": message("file_1")}]}, {"file_1"}),
    ({"content": [{"type": "tool_use", "id": "toolu_1", "input": {"file_id": "file_1"}}]}, set()),
    ({"tools": [{"name": "x", "input_schema": {"default": {"file_id": "file_1"}}}]}, set()),
    ({"metadata": {"session_id": "sesn_1"}}, set()),
    ({"text": "file_1", "name": "file_2", "id": "file_3"}, set()),
    ({"file_id": 1, "agent": None, "vault_ids": {"a": "vlt_1"}, "agents": [[["agent_1"]]]}, {"agent_1"}),
]


@pytest.mark.parametrize(("body", "ids"), NAMED)
def test_the_members_of_a_body_that_name_objects_are_found(body: dict[str, Any], ids: set[str]) -> None:
    assert set(named_objects(json.dumps(body).encode())) == ids


def test_all_of_several_equal_members_name_objects() -> None:
    assert set(named_objects(b'{"file_id": "file_1", "file_id": "file_2"}')) == {"file_1", "file_2"}


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'"file_id"', b"[" * 100_000])
def test_what_has_no_members_names_nothing(body: bytes) -> None:
    assert not list(named_objects(body))


@given(st.binary(max_size=200).map(lambda text: b'{"file_id": ' + text + b"}"))
def test_any_body_is_read(body: bytes) -> None:
    named_objects(body)
    quoted_ids(body)


def test_quoted_ids_have_a_known_form() -> None:
    text = b'"file_name" "file_12345678" "file_1234567890_x" "toolu_12345678" "skill_\\u0041bcdefgh" file_12345678'
    text += b' "vlt_12345678" "get_temperature" "msg_12345678" "memstore_Abcdefgh"'
    assert list(quoted_ids(text)) == ["file_12345678", "skill_Abcdefgh", "vlt_12345678", "memstore_Abcdefgh"]


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/files", ObjectRoute("files")),
        ("/v1/files/file_1", ObjectRoute("files", "file_1")),
        ("/v1/sessions/sesn_1/events/stream", ObjectRoute("sessions", "sesn_1", "events/stream")),
        ("/v1/messages/batches", ObjectRoute("batches")),
        ("/v1/messages/batches/msgbatch_1/results", ObjectRoute("batches", "msgbatch_1", "results")),
        ("/v1/skills", ObjectRoute("skills")),
        ("/v1/skills/skill_1/versions", ObjectRoute("skills", "skill_1", "versions")),
        ("/v1/something_new/x", ObjectRoute("something_new", "x")),
        ("/v1/messages/Batches/msgbatch_1", ObjectRoute("messages", "Batches", "msgbatch_1")),
        ("/v1/messages/batches;a/msgbatch_1", ObjectRoute("messages", "batches;a", "msgbatch_1")),
        ("/v1/messages/batchesx", ObjectRoute("messages", "batchesx")),
        ("/v1/organizations/me", ObjectRoute("organizations", "organizations", "")),
        *((path, None) for path in ("/v1/messages", "/v1/messages/count_tokens", "/v1/models/x", "/v1/skills/pdf")),
        *((path, None) for path in ("/v1/complete", "/v1/chat/completions")),
    ],
)
def test_a_path_names_an_object_or_a_collection_or_neither(path: str, route: ObjectRoute | None) -> None:
    assert object_route(path) == route
    if route is not None and route.id and route.collection != "organizations":
        assert path.startswith(f"{route.root}/{route.id}")


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens", "/v1/messages/batches", "/v1/sessions"])
@pytest.mark.parametrize(
    "write", [json.dumps, lambda body: escaped(body, THEIRS), lambda body: escaped(body, "file_id")]
)
def test_a_body_cannot_name_what_is_not_its_callers(path: str, write: Any) -> None:
    async def steps(service: Service) -> None:
        service.ownership.known |= {FILE: ANN, THEIRS: BOB}
        for object_id in (THEIRS, "file_of_nobody"):
            body = write(message(FILE, object_id))
            given = body if isinstance(body, bytes) else body.encode()
            assert is_not_found(await service.ask("ann", "POST", path, given, **JSON), object_id)
        assert service.sent() == []
        assert (await service.ask("ann", "POST", path, message(FILE))).status == 200
        assert (await service.ask("root", "POST", path, message(FILE, THEIRS))).status == 200

    play(steps, Reply())


def test_a_text_may_contain_any_id() -> None:
    async def steps(service: Service) -> None:
        service.ownership.known |= {THEIRS: BOB}
        body = {**MESSAGE, "messages": [{"role": "user", "content": f'{{"file_id": "{THEIRS}"}}'}]}
        assert (await service.ask("ann", "POST", "/v1/messages", body)).status == 200
        form = b'--x\r\n\r\n{"file_id": "%b"}\r\n--x--' % THEIRS.encode()
        headers = {"content-type": "multipart/form-data; boundary=x"}
        assert (await service.ask("ann", "POST", "/v1/files", form, **headers)).status == 200
        assert service.transport.requests[-1][1] == form

    play(steps, Reply())


def test_a_message_without_a_name_asks_the_ledger_nothing() -> None:
    async def steps(service: Service) -> None:
        service.ownership.fails = True
        assert (await service.ask("ann", "POST", "/v1/messages", MESSAGE)).status == 200
        assert service.ownership.asked == []

    play(steps, Reply())


@pytest.mark.parametrize("known", [{THEIRS: BOB}, {}])
def test_a_long_body_is_searched_as_it_comes(known: Any) -> None:
    padding = "x" * KEPT_BYTES
    params = {"model": "claude-haiku-5-5", "max_tokens": 5, "messages": message(THEIRS)["messages"]}
    body = {"padding": padding, "requests": [{**BATCH_REQUEST, "params": params}]}

    async def steps(service: Service) -> None:
        service.ownership.known |= known
        answer = await service.ask("ann", "POST", "/v1/messages/batches", escaped(body, THEIRS), **JSON)
        if known:
            assert is_not_found(answer, THEIRS)
            assert service.sent() == []
        else:
            assert answer.status == 200
            assert service.transport.requests[0][1] == escaped(body, THEIRS)

    play(steps, Reply())


@pytest.mark.parametrize("filler", [[{}] * 20_001, [1] * 200_001, [[]] * 100_001])
def test_a_body_of_very_many_parts_is_searched(filler: list[Any]) -> None:
    async def steps(service: Service) -> None:
        service.ownership.known |= {THEIRS: BOB}
        service.ownership.known |= {"vlt_OfBob0001": BOB}
        for members in ({"resources": [{"file_id": THEIRS}]}, {"vault_ids": ["vlt_OfBob0001"]}):
            answer = await service.ask("ann", "POST", "/v1/sessions", {"filler": filler, **members})
            assert is_not_found(answer, THEIRS if "resources" in members else "vlt_OfBob0001")
        assert (await service.ask("ann", "POST", "/v1/sessions", {"filler": filler})).status == 200

    play(steps, Reply())


def test_a_token_count_that_cannot_be_read_is_for_the_upstream() -> None:
    async def steps(service: Service) -> None:
        await service.ask("ann", "POST", "/v1/messages/count_tokens", b"{", **JSON)
        assert service.sent() == ["POST /v1/messages/count_tokens"]

    play(steps, Reply())


def test_a_user_profile_in_the_header_must_be_the_callers() -> None:
    async def steps(service: Service) -> None:
        service.ownership.known |= {"uprof_1": ANN, "uprof_2": BOB}
        header = "anthropic-user-profile-id"
        assert (await service.ask("ann", "POST", "/v1/messages", MESSAGE, **{header: "uprof_1"})).status == 200
        answer = await service.ask("ann", "POST", "/v1/messages", MESSAGE, **{header: "uprof_2"})
        assert is_not_found(answer, "uprof_2")
        form = {"content-type": "multipart/form-data; boundary=x", header: "uprof_2"}
        assert is_not_found(await service.ask("ann", "POST", "/v1/files", b"--x--", **form), "uprof_2")
        given: dict[str, Any] = {"headers": {"x-api-key": "ann", header: "uprof_2"}, "added": [(header, "uprof_1")]}
        answer = await call(service.rig.gateway, "POST", "/v1/messages", body=MESSAGE, **given)
        assert is_not_found(answer, "uprof_2")

    play(steps, Reply())


OUTPUT = {"type": "code_execution_output", "file_id": "file_new"}
BLOCK = {"type": "code_execution_tool_result", "content": {"type": "code_execution_result", "content": [OUTPUT]}}
CONTAINER = {"id": "container_new", "expires_at": "2026-12-02T00:00:00Z"}
CODE = {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}
CREATED = {"file_new": ANN, "container_new": ANN}


def event(name: str, **fields: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()


def stream() -> bytes:
    return (
        event("message_start", message={"container": None, "usage": {"input_tokens": 7, "output_tokens": 1}})
        + event("content_block_start", index=0, content_block=BLOCK)
        + event("message_delta", delta={"container": CONTAINER}, usage={"output_tokens": 9})
        + event("message_stop")
    )


@pytest.mark.parametrize("size", [1, 30, 10_000])
def test_what_a_stream_creates_is_its_callers(size: int) -> None:
    whole = stream()

    async def steps(service: Service) -> None:
        answer = await service.ask("ann", "POST", "/v1/messages", {**MESSAGE, **CODE, "stream": True})
        assert answer.body == whole
        assert service.ownership.known == CREATED
        request, _ = service.transport.requests[0]
        assert dict(request.headers)[b"accept-encoding"] == b"identity"

    play(steps, sse(*(whole[start : start + size] for start in range(0, len(whole), size))))


@pytest.mark.parametrize("pieces", [1, 3])
def test_what_a_message_creates_is_its_callers(pieces: int) -> None:
    text = {"type": "text", "text": '"file_id": "file_other"'}
    used = {"type": "tool_use", "id": "toolu_1", "input": {"type": "x", "file_id": "file_other"}}
    fields = {"type": "message", "content": [text, used, BLOCK, "odd"], "container": CONTAINER}
    whole = json.dumps({**fields, "usage": {"input_tokens": 7, "output_tokens": 3}}).encode()
    cut = len(whole) // pieces + 1

    async def steps(service: Service) -> None:
        answer = await service.ask("ann", "POST", "/v1/messages", {**MESSAGE, **CODE})
        assert answer.body == whole
        assert service.ownership.known == CREATED

    parts = tuple(whole[start : start + cut] for start in range(0, len(whole), cut))
    play(steps, Reply(chunks=parts))


def test_an_object_that_has_an_owner_cannot_be_claimed() -> None:
    async def steps(service: Service) -> None:
        service.ownership.known["file_new"] = BOB
        await service.ask("ann", "POST", "/v1/messages", {**MESSAGE, **CODE})
        assert service.ownership.known == {"file_new": BOB}
        service.ownership.fails = True
        await service.ask("ann", "POST", "/v1/messages", {**MESSAGE, **CODE})
        assert service.ownership.known == {"file_new": BOB}

    play(steps, Reply(chunks=(json.dumps({"type": "message", "content": [BLOCK]}).encode(),)))


def test_other_messages_are_not_searched() -> None:
    async def steps(service: Service) -> None:
        await service.ask("ann", "POST", "/v1/messages", MESSAGE)
        assert service.ownership.known == {}
        await service.ask("root", "POST", "/v1/messages", {**MESSAGE, **CODE})
        assert service.ownership.known == {"file_new": Owner("default", "root")}

    play(steps, Reply(chunks=(json.dumps({"type": "message", "content": [BLOCK]}).encode(),)))


def read(**changes: Any) -> tuple[bool, bool]:
    """Whether a Messages body is found to name, and to create objects."""
    found = asyncio.run(read_message(json.dumps({**MESSAGE, **changes}).encode(), finds_objects=True))
    return found.names_objects, found.creates_objects


def content(*blocks: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


TEXT = {"type": "text", "text": "file_id"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "a" * 400_000}}
DOCUMENT = {"type": "document", "source": {"type": "file", "file_id": "file_1"}}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, (False, False)),
        (content(TEXT, IMAGE), (False, False)),
        (
            content({"type": "tool_result", "content": [TEXT, IMAGE]}, {"type": "tool_result", "content": "x"}),
            (False, False),
        ),
        (content({"type": "tool_use", "input": {"file_id": "file_1"}}), (False, False)),
        (content(TEXT, DOCUMENT), (True, False)),
        (content({"type": "container_upload", "file_id": "file_1"}), (True, False)),
        (content({"type": "tool_result", "content": [TEXT, DOCUMENT]}), (True, False)),
        (content({"type": "document", "source": {"type": "content", "content": [DOCUMENT]}}), (True, False)),
        (content(BLOCK), (True, False)),
        (content({"type": "odd", "source": [1]}), (True, False)),
        ({"messages": 1}, (True, False)),
        ({"container": "container_1"}, (True, True)),
        (CODE, (False, True)),
    ],
)
def test_a_body_is_read_for_what_it_names_and_creates(changes: dict[str, Any], found: tuple[bool, bool]) -> None:
    assert read(**changes) == found


@pytest.mark.parametrize(("levels", "may_name"), [(8, False), (9, True), (300, True)])
def test_content_that_is_nested_deeper_than_any_real_one_is_not_decoded_to_its_end(
    levels: int, *, may_name: bool
) -> None:
    inner: Any = "x"
    for _ in range(levels):
        inner = [{"type": "tool_result", "content": inner}]
    assert read(messages=[{"role": "user", "content": inner}]) == (may_name, False)


def test_a_long_text_before_a_file_hides_nothing() -> None:
    text = {"role": "user", "content": "x" * 20_000}
    assert read(messages=[text, *content(DOCUMENT)["messages"]]) == (True, False)
    assert read(messages=[text], container="container_1") == (True, True)
    assert read(messages=[text]) == (False, False)


async def _never(_ids: list[str]) -> None:
    raise AssertionError


@pytest.mark.parametrize(
    "line", [b'"file_id"', b'{"file_id": "file_1"}', b'{"container": 1, "content": {"a": 1}}', b"data: {"]
)
def test_anything_else_creates_nothing(line: bytes) -> None:
    async def steps(_service: Service) -> None:
        objects = MessageObjects(_never)
        await objects.feed(line + b"\n" + line)
        await objects.end()

    play(steps)


def test_a_line_that_is_too_long_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_objects, "_MAX_LINE_BYTES", 10)

    async def steps(_service: Service) -> None:
        objects = MessageObjects(_never)
        await objects.feed(json.dumps({"content": [BLOCK]}).encode())
        await objects.end()

    play(steps)
