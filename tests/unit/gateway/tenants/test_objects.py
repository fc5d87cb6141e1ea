"""Calls about objects through the gateway: what each tenant may use, and what belongs to whom."""

import gzip
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from claude_simulator import NO_LATENCY, SimulatorOptions, create_app
from support.asgi_client import Answer, call
from support.gateway import FakeTransport, Reply, SimulatorTransport, make_gateway, unreachable
from support.owners import FakeOwnership
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.events import RequestFinished
from tidegate.core.ports.ownership import Owner
from tidegate.gateway.tenants.cursors import Cursors
from tidegate.gateway.tenants.objects import TenantObjects
from tidegate.gateway.tenants.tenants import Tenants
from tidegate.identity.identify import Identifier, key_hash
from tidegate.settings import CallerSettings

VERSION = {"anthropic-version": "2026-10-21"}
ANN, BOB = Owner("red", "ann"), Owner("blue", "bob")
TEAMS = {"ann": "red", "amy": "red", "bob": "blue"}
CALLERS = [
    *(CallerSettings(name=name, key_sha256=key_hash(name), team=team) for name, team in TEAMS.items()),
    CallerSettings(name="root", key_sha256=key_hash("root"), admin=True),
]


class Service:
    """A gateway with tenants, in front of a simulator or of canned responses."""

    def __init__(self, clock: VirtualClock, *replies: Reply, callers: Any = CALLERS, **settings: Any) -> None:
        simulator = create_app(SimulatorOptions(latency=NO_LATENCY), clock=clock)
        self.transport = FakeTransport(replies) if replies else SimulatorTransport(simulator)
        self.ownership = FakeOwnership()
        identifier = Identifier(callers)
        tenants = Tenants(self.ownership, identifier, **{"tenant": "caller", "unowned": "admin", **settings})
        self.rig = make_gateway(self.transport, clock, identifier=identifier, tenants=tenants)
        self.objects = TenantObjects(self.rig.gateway, tenants, Cursors(lambda: b"key"))

    async def ask(self, key: str, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        app = self.rig.gateway if path.startswith("/v1/messages") and "batches" not in path else self.objects
        return await call(app, method, path, body=body, headers={**VERSION, "x-api-key": key, **headers})

    async def create(self, key: str, path: str = "/v1/agents", **body: Any) -> str:
        answer = await self.ask(key, "POST", path, body)
        assert answer.status == 200, answer.body
        return str(answer.json()["id"])

    async def listed(self, key: str, path: str = "/v1/agents") -> list[str]:
        answer = await self.ask(key, "GET", path)
        assert answer.status == 200, answer.body
        return [item["id"] for item in answer.json()["data"]]

    def sent(self) -> list[str]:
        """Method and path of all requests to the upstream."""
        return [f"{request.method.decode()} {request.target.decode()}" for request, _ in self.transport.requests]


def play(steps: Callable[[Service], Coroutine[Any, Any, None]], *replies: Reply, **settings: Any) -> Service:
    clock = VirtualClock()
    service = Service(clock, *replies, **settings)
    run_virtual(steps(service), clock)
    return service


def reply(body: Any, status: int = 200) -> Reply:
    fields = [(b"content-type", b"application/json"), (b"x-upstream", b"a")]
    return Reply(status, fields, (body if isinstance(body, bytes) else json.dumps(body).encode(),))


def is_not_found(answer: Answer, object_id: str) -> bool:
    error = answer.json()
    assert error["request_id"] == answer.headers["request-id"]
    assert answer.headers["x-should-retry"] == "false"
    return answer.status == 404 and error["error"] == {
        "type": "not_found_error",
        "message": f"Not found: {object_id}",
    }


def test_an_object_is_its_callers_alone_and_an_admin_uses_all() -> None:
    async def steps(service: Service) -> None:
        made = await service.create("ann")
        before = len(service.sent())
        for key in ("amy", "bob"):
            assert is_not_found(await service.ask(key, "GET", f"/v1/agents/{made}"), made)
            assert is_not_found(await service.ask(key, "POST", f"/v1/agents/{made}/archive", {}), made)
            assert is_not_found(await service.ask(key, "GET", f"/v1/agents/{made}/versions"), made)
        assert len(service.sent()) == before  # the upstream is not asked
        for key in ("ann", "root"):
            assert (await service.ask(key, "GET", f"/v1/agents/{made}")).json()["id"] == made
        theirs = await service.create("root")
        assert await service.listed("ann") == [made]
        assert await service.listed("bob") == []
        assert await service.listed("root") == [theirs, made]
        finished = service.rig.observer.of(RequestFinished)
        assert [event.outcome for event in finished].count("client_error") == 6

    play(steps)


def test_an_object_belongs_to_the_team_of_its_creator() -> None:
    async def steps(service: Service) -> None:
        made = await service.create("ann")
        assert (await service.ask("amy", "DELETE", f"/v1/agents/{made}")).status == 200
        assert is_not_found(
            await service.ask("bob", "GET", f"/v1/agents/{await service.create('amy')}"),
            list(service.ownership.known)[-1],
        )
        assert len(await service.listed("ann")) == 1

    play(steps, tenant="team")


def test_objects_without_an_owner_are_for_admins() -> None:
    async def steps(service: Service) -> None:
        made = await service.create("ann")
        service.ownership.known.clear()
        assert is_not_found(await service.ask("ann", "GET", f"/v1/agents/{made}"), made)
        assert await service.listed("ann") == []
        assert await service.listed("root") == [made]
        assert (await service.ask("ann", "GET", "/v1/organizations/api_keys")).status == 404
        assert service.sent()[-1] != "GET /v1/organizations/api_keys"

    play(steps)


def test_objects_without_an_owner_may_be_for_everyone() -> None:
    async def steps(service: Service) -> None:
        made = await service.create("ann")
        service.ownership.known.clear()
        assert (await service.ask("bob", "GET", f"/v1/agents/{made}")).status == 200
        assert await service.listed("bob") == [made]
        assert not service.ownership.known  # it belongs to nobody in particular
        mine = await service.create("ann")
        assert is_not_found(await service.ask("bob", "GET", f"/v1/agents/{mine}"), mine)
        assert await service.listed("bob") == [made]
        await service.ask("ann", "GET", "/v1/organizations/api_keys")
        assert service.sent()[-1] == "GET /v1/organizations/api_keys"

    play(steps, unowned="everyone")


def test_without_callers_all_clients_are_one_tenant() -> None:
    async def steps(service: Service) -> None:
        made = await service.create("some key")
        assert await service.listed("another") == [made]
        assert (await service.ask("another", "DELETE", f"/v1/agents/{made}")).status == 200
        assert not service.ownership.known
        assert not service.ownership.asked

    play(steps, callers=[])


def test_an_unknown_key_is_refused_as_ever() -> None:
    async def steps(service: Service) -> None:
        for method, path in (("GET", "/v1/agents"), ("GET", "/v1/agents/agent_1"), ("POST", "/v1/agents")):
            assert (await service.ask("eve", method, path)).status == 401
        assert service.sent() == []

    play(steps)


def test_models_and_skills_of_anthropic_are_for_everyone() -> None:
    async def steps(service: Service) -> None:
        assert (await service.ask("ann", "GET", "/v1/models")).status == 200
        assert (await service.ask("ann", "GET", "/v1/skills/xlsx/versions")).status == 404  # the simulator has none
        assert service.sent() == ["GET /v1/models", "GET /v1/skills/xlsx/versions"]

    play(steps)


def test_a_list_shows_the_skills_that_anthropic_has_made() -> None:
    items = [{"id": "xlsx", "source": "anthropic"}, {"id": "skill_1", "source": "custom"}, {"source": "custom"}]

    async def steps(service: Service) -> None:
        assert await service.listed("ann", "/v1/skills") == ["xlsx"]
        assert await service.listed("ann", "/v1/agents") == []

    play(steps, reply({"data": items, "next_page": None}))


@pytest.mark.parametrize("method", ["HEAD", "DELETE", "PUT"])
def test_nothing_else_is_done_with_all_objects_of_a_kind(method: str) -> None:
    async def steps(service: Service) -> None:
        assert (await service.ask("ann", method, "/v1/files")).status == 404
        assert service.sent() == []
        await service.ask("root", method, "/v1/files")
        assert service.sent() == [f"{method} /v1/files"]

    play(steps)


def test_a_deleted_object_is_forgotten_but_not_if_that_fails() -> None:
    async def steps(service: Service) -> None:
        made = await service.create("ann", "/v1/messages/batches", requests=[BATCH_REQUEST])
        path = f"/v1/messages/batches/{made}"
        assert (await service.ask("ann", "DELETE", path)).status == 400  # it has not ended
        assert service.ownership.known == {made: ANN}
        await service.ask("ann", "POST", f"{path}/cancel")
        assert (await service.ask("ann", "DELETE", path)).status == 200
        assert service.ownership.known == {}

    play(steps)


BATCH_REQUEST = {
    "custom_id": "a",
    "params": {"model": "claude-haiku-5-5", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]},
}


def test_what_a_deployment_creates_belongs_to_its_owner() -> None:
    async def steps(service: Service) -> None:
        deployment = await service.create("ann", "/v1/deployments")
        run = (await service.ask("ann", "POST", f"/v1/deployments/{deployment}/run", {})).json()
        assert service.ownership.known[run["session_id"]] == ANN
        del service.ownership.known[run["id"]], service.ownership.known[run["session_id"]]
        # A run by schedule is not seen here. Its session says who has created it.
        for path in (f"/v1/deployment_runs/{run['id']}", f"/v1/sessions/{run['session_id']}/events?beta=true"):
            assert (await service.ask("bob", "GET", path)).status == 404
            assert (await service.ask("ann", "GET", path)).status == 200
        assert service.sent()[-2:] == [
            f"GET /v1/sessions/{run['session_id']}?beta=true",
            f"GET /v1/sessions/{run['session_id']}/events?beta=true",
        ]
        assert service.ownership.known[run["id"]] == service.ownership.known[run["session_id"]] == ANN

    play(steps)


def test_a_list_shows_what_an_own_session_has_created() -> None:
    files = [{"id": f"file_{each}", "scope": {"id": f"sesn_{each[0]}", "type": "session"}} for each in ("a", "b", "b2")]

    async def steps(service: Service) -> None:
        service.ownership.known |= {"sesn_a": ANN, "sesn_b": BOB}
        assert await service.listed("ann", "/v1/files") == ["file_a"]
        assert service.ownership.known["file_b"] == BOB
        assert service.ownership.recorded == [{"file_a"}, {"file_b", "file_b2"}], "one write for each owner"

    play(steps, reply({"data": [*files, {"id": "file_c", "scope": "odd"}], "next_page": None}))


@pytest.mark.parametrize("body", [b"[]", b"{", {"id": "file_2"}, {"id": "file_1", "scope": {"id": "sesn_x"}}])
def test_a_file_that_no_own_object_has_created_is_not_found(body: Any) -> None:
    async def steps(service: Service) -> None:
        assert is_not_found(await service.ask("ann", "GET", "/v1/files/file_1/content"), "file_1")
        assert service.sent() == ["GET /v1/files/file_1"]

    play(steps, reply(body))


def test_a_file_that_the_upstream_does_not_know_is_not_found() -> None:
    async def steps(service: Service) -> None:
        assert is_not_found(await service.ask("ann", "GET", "/v1/files/file_1"), "file_1")

    play(steps, reply({"type": "error", "error": {"type": "not_found_error", "message": "no"}}, status=404))


def test_what_a_dream_has_written_belongs_to_its_owner() -> None:
    dream = {"id": "drm_1", "outputs": [{"type": "memory_store", "memory_store_id": "memstore_1"}, "odd", {}]}

    async def steps(service: Service) -> None:
        service.ownership.known["drm_1"] = ANN
        assert (await service.ask("root", "GET", "/v1/dreams/drm_1")).json() == dream
        assert service.ownership.known["memstore_1"] == ANN

    play(steps, reply(dream))


@pytest.mark.parametrize("coding", ["identity", "gzip", "unknown", "broken"])
def test_files_in_the_results_of_a_batch_belong_to_its_owner(coding: str) -> None:
    output = {"type": "bash_code_execution_output", "file_id": "file_1"}
    block = {"type": "bash_code_execution_tool_result", "content": {"content": [output]}}
    line = json.dumps({"custom_id": "a", "result": {"type": "succeeded", "message": {"content": [block]}}}).encode()
    whole = b"%b\n%b" % (line, line.replace(b"file_1", b"file_2"))
    sent = gzip.compress(whole) if coding == "gzip" else whole
    named = "gzip" if coding == "broken" else coding

    async def steps(service: Service) -> None:
        service.ownership.known["msgbatch_1"] = ANN
        answer = await service.ask("root", "GET", "/v1/messages/batches/msgbatch_1/results")
        assert answer.body == sent
        is_read = coding in {"identity", "gzip"}
        assert (
            service.ownership.known.get("file_1") == service.ownership.known.get("file_2") == (ANN if is_read else None)
        )

    fields = [(b"content-type", b"application/x-jsonl"), (b"content-encoding", named.encode())]
    play(steps, Reply(200, fields, (sent[:50], sent[50:])))


def test_the_response_that_creates_is_relayed_unchanged_once_the_owner_is_recorded() -> None:
    whole = b'{ "id":  "agent_1", "n": 1.50 }'

    async def steps(service: Service) -> None:
        answer = await service.ask("ann", "POST", "/v1/agents", {}, **{"accept-encoding": "gzip"})
        assert answer.body == whole
        assert answer.headers["x-upstream"] == "a"
        assert service.ownership.known == {"agent_1": ANN}

    play(steps, reply(whole))


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (
            Reply(
                200, [(b"content-type", b"text/event-stream")], (b"event: x\ndata: {}\n\n", b"event: y\ndata: {}\n\n")
            ),
            200,
        ),
        (Reply(400, [(b"content-type", b"application/json")], (b'{"id": "agent_1"}',)), 400),
        (Reply(200, [(b"content-type", b"application/json")], (b"[1]",)), 200),
    ],
)
def test_a_response_without_an_id_is_relayed(answer: Reply, status: int) -> None:
    async def steps(service: Service) -> None:
        given = await service.ask("ann", "POST", "/v1/agents", {})
        assert (given.status, given.body) == (status, b"".join(filter(None, map(bytes_of, answer.chunks))))
        assert given.complete
        assert service.ownership.known == {}

    play(steps, answer)


def bytes_of(chunk: object) -> bytes:
    assert isinstance(chunk, bytes)
    return chunk


@pytest.mark.parametrize(
    "unreadable",
    [
        reply({"files": [{"id": "file_1"}]}),
        Reply(200, [(b"content-type", b"text/csv")], (b"id\nfile_1\n",)),
        Reply(206, [(b"content-type", b"text/event-stream")], (b'data: {"id": "file_1"}\n\n',)),
    ],
)
def test_a_list_that_cannot_be_read_is_not_shown(unreadable: Reply) -> None:
    async def steps(service: Service) -> None:
        answer = await service.ask("ann", "GET", "/v1/files")
        assert (answer.status, answer.json()["error"]["type"]) == (502, "api_error")
        assert b"file_1" not in answer.body

    play(steps, unreadable)


def test_an_error_of_the_upstream_is_relayed() -> None:
    async def steps(service: Service) -> None:
        answer = await service.ask("ann", "GET", "/v1/messages/batches?limit=0")
        assert (answer.status, answer.json()["error"]["type"]) == (400, "invalid_request_error")

    play(steps)


def test_a_cursor_must_be_one_of_the_own_list() -> None:
    async def steps(service: Service) -> None:
        service.ownership.known |= {"msgbatch_b": BOB}
        for query, named in (
            ("after_id=msgbatch_b", "after_id"),
            ("before_id=msgbatch_x", "before_id"),
            ("page=page_of_another", "page"),
        ):
            answer = await service.ask("ann", "GET", f"/v1/messages/batches?{query}")
            assert answer.status == 400
            assert answer.json()["error"]["message"].startswith(f"{named}: got ")
        assert service.sent() == []

    play(steps)


def test_the_search_for_own_objects_ends() -> None:
    page = {"data": [{"id": "x_1"}], "next_page": "more"}

    async def steps(service: Service) -> None:
        answer = await service.ask("ann", "GET", "/v1/agents")
        assert answer.json()["data"] == []
        assert answer.json()["next_page"].startswith("page_tg_")
        assert len(service.sent()) == 50
        service.transport.answers = [reply({"data": [{"id": "x_1"}], "has_more": True, "last_id": "x_1"})]
        answer = await service.ask("ann", "GET", "/v1/messages/batches")
        assert (answer.status, answer.json()["error"]["type"]) == (503, "api_error")

    play(steps, reply(page))


def test_while_the_ledger_fails_nothing_is_shown() -> None:
    async def steps(service: Service) -> None:
        made = await service.create("ann")
        service.ownership.fails = True
        for method, path in (
            ("GET", "/v1/agents"),
            ("GET", f"/v1/agents/{made}"),
            ("DELETE", f"/v1/agents/{made}"),
            ("POST", f"/v1/agents/{made}/archive"),
        ):
            answer = await service.ask("ann", method, path)
            assert (answer.status, answer.headers["x-tidegate-cause"]) == (503, "ledger_unavailable")
            assert made.encode() not in answer.body
        assert (await service.ask("ann", "POST", "/v1/agents", {})).status == 200
        assert (await service.ask("ann", "GET", "/v1/models")).status == 200

    play(steps)


def test_a_list_that_breaks_off_is_an_error() -> None:
    async def steps(service: Service) -> None:
        answer = await service.ask("ann", "GET", "/v1/agents")
        assert (answer.status, answer.json()["error"]["type"]) == (502, "api_error")

    play(steps, Reply(200, [(b"content-type", b"application/json")], (b'{"data": [', unreachable())))


def test_the_response_to_a_creation_breaks_off_as_it_came() -> None:
    async def steps(service: Service) -> None:
        answer = await service.ask("ann", "POST", "/v1/agents", {})
        assert (answer.status, answer.body, answer.complete) == (200, b'{"id": ', False)

    play(steps, Reply(200, [(b"content-type", b"application/json")], (b'{"id": ', unreachable())))


def test_an_id_cannot_end_the_path_of_a_lookup() -> None:
    async def steps(service: Service) -> None:
        answer = await service.ask("ann", "GET", "/v1/files/file_1#x")
        assert answer.status == 404
        assert service.sent() == ["GET /v1/files/file_1%23x"]

    play(steps, reply({"id": "file_1"}))
