"""Two tenants and every route that names an object: neither sees nor touches what the other has created."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

from support.object_calls import CREATED, HEADERS, all_ids, create, object_routes
from support.postgresql_server import postgresql_server
from support.service_and_simulator import ServiceAndSimulator, service_and_simulator
from support.service_process import ServiceProcess, running
from tidegate.identity.identify import key_hash

TENANTS = ("ann", "bob")
LIMITS = (1, 2, 100)


def configuration(directory: Path) -> str:
    """The path of a file with two callers and an admin. Their keys are their names."""
    entries = [
        f'[[callers]]\nname = "{name}"\nkey_sha256 = "{key_hash(name)}"\nteam = "team-{name}"\n' for name in TENANTS
    ]
    entries.append(f'[[callers]]\nname = "root"\nkey_sha256 = "{key_hash("root")}"\nadmin = true\n')
    file = directory / "callers.toml"
    file.write_text("\n".join(entries), encoding="utf-8")
    return str(file)


@pytest.fixture
def on(tmp_path: Path) -> Iterator[ServiceAndSimulator]:
    """The service with two tenants, on SQLite."""
    variables = {"TIDEGATE_CONFIG": configuration(tmp_path), "TIDEGATE_STATE_DIR": str(tmp_path / "state")}
    with service_and_simulator(tmp_path, variables=variables) as on:
        yield on


@pytest.fixture
def on_postgresql(tmp_path: Path) -> Iterator[ServiceAndSimulator]:
    """The same on PostgreSQL."""
    with postgresql_server() as server:
        url = server.new_database().replace("+psycopg", "")
        variables = {"TIDEGATE_CONFIG": configuration(tmp_path), "TIDEGATE_DATABASE_URL": url}
        with service_and_simulator(tmp_path, variables=variables) as on:
            yield on


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def client(stack: ExitStack, service: ServiceProcess, key: str) -> httpx2.Client:
    headers = {**HEADERS, "x-api-key": key}
    return stack.enter_context(httpx2.Client(base_url=service.url, headers=headers, timeout=30))


def shown(answer: httpx2.Response, object_id: str) -> dict[str, Any]:
    """An error, without what differs from call to call."""
    body = json.loads(answer.text.replace(object_id, "ID"))
    assert body.pop("request_id") == answer.headers["request-id"]
    return {"status": answer.status_code, **body}


class World:
    """Objects of two tenants, and of a stranger who does not use the service.

    Attributes:
        made: the ids by tenant and collection, newest first.
        unowned: an id of the stranger's by collection.
    """

    def __init__(self, on: ServiceAndSimulator, stack: ExitStack) -> None:
        self.clients = {name: client(stack, on.service, name) for name in (*TENANTS, "root")}
        self.outside = client(stack, on.simulator, "a stranger's")
        self.made: dict[str, dict[str, list[str]]] = {name: {each: [] for each in CREATED} for name in TENANTS}
        self.unowned = {collection: create(self.outside, collection)["id"] for collection in CREATED}
        for collection, name in [(collection, name) for collection in CREATED for name in TENANTS * 3]:
            self.made[name][collection].insert(0, create(self.clients[name], collection)["id"])
        for name, made in self.made.items():
            run = self.clients[name].post(f"/v1/deployments/{made['deployments'][0]}/run", json={}).json()
            made["deployment_runs"] = [run["id"]]
            made["sessions"].insert(0, run["session_id"])

    def owned(self) -> Iterator[tuple[str, str, list[str]]]:
        """Each tenant, collection, and the ids."""
        for name, made in self.made.items():
            for collection, ids in made.items():
                yield name, collection, ids

    def lists_are_own(self) -> None:
        """Check that all lists have the tenant's own objects alone, on pages of any size."""
        for name, collection, ids in self.owned():
            for limit in LIMITS:
                assert all_ids(self.clients[name], collection, limit) == ids, (name, collection, limit)

    def everything(self, client: httpx2.Client) -> dict[str, Any]:
        """All objects as a client sees them that may see all."""
        ids = {collection: all_ids(client, collection) for collection in (*CREATED, "deployment_runs")}
        return {path: client.get(path).json() for path in _paths(ids)} | ids

    def foreign(self, name: str, collection: str) -> Iterator[str]:
        """Ids that a tenant may not use: another tenant's, a stranger's, and nobody's."""
        yield from (made[collection][0] for other, made in self.made.items() if other != name)
        yield from ([self.unowned[collection]] if collection in self.unowned else [])
        yield "skill_of_nobody"


def _paths(ids: dict[str, list[str]]) -> Iterator[str]:
    for collection, each in ids.items():
        yield from (f"/v1/{collection}/{object_id}" for object_id in each)


@pytest.mark.parametrize("where", ["on", "on_postgresql"])
def test_no_route_shows_or_changes_an_object_of_another_tenant(
    where: str, request: pytest.FixtureRequest, stack: ExitStack
) -> None:
    world = World(request.getfixturevalue(where), stack)
    world.lists_are_own()
    before = world.everything(world.outside)
    assert world.everything(world.clients["root"]).keys() == before.keys()

    tried = 0
    unknown = {"status": 404, "type": "error", "error": {"type": "not_found_error", "message": "Not found: ID"}}
    for method, template in [route for route in object_routes() if "{" in route[1]]:
        collection = template.split("/{")[0].removeprefix("/v1/")
        for name, object_id in [(tenant, each) for tenant in TENANTS for each in world.foreign(tenant, collection)]:
            path = re.sub(r"\{\w+\}", "inner_1", re.sub(r"\{\w+\}", object_id, template, count=1))
            answer = world.clients[name].request(method, path, json={} if method == "POST" else None)
            assert shown(answer, object_id) == unknown, (method, path, answer.text)
            tried += 1
    assert tried > 500

    assert world.everything(world.outside) == before
    world.lists_are_own()


def test_a_tenant_reads_cancels_and_deletes_its_own_objects(on: ServiceAndSimulator, stack: ExitStack) -> None:
    world = World(on, stack)
    for name, collection, ids in world.owned():
        assert world.clients[name].get(f"/v1/{collection}/{ids[0]}").json()["id"] == ids[0]
    for name in TENANTS:
        batch = f"/v1/messages/batches/{world.made[name]['messages/batches'][0]}"
        assert world.clients[name].get(f"{batch}/results").status_code == 200
        dream = f"/v1/dreams/{world.made[name]['dreams'][0]}"
        assert world.clients[name].post(f"{dream}/cancel", json={}).status_code == 200
        for collection in ("messages/batches", "files", "skills", "sessions", "vaults"):
            path = f"/v1/{collection}/{world.made[name][collection].pop()}"
            assert world.clients[name].delete(path).status_code == 200
            assert world.clients[name].get(path).status_code == 404
    world.lists_are_own()


def test_bodies_cannot_name_an_object_of_another_tenant(on: ServiceAndSimulator, stack: ExitStack) -> None:
    ann, bob = (client(stack, on.service, name) for name in TENANTS)
    file_id = create(ann, "files")["id"]
    source = {"type": "file", "file_id": file_id}
    content = [{"type": "document", "source": source}, {"type": "text", "text": "Read"}]
    message = {"model": "claude-haiku-5-5", "max_tokens": 5, "messages": [{"role": "user", "content": content}]}
    batch = {"requests": [{"custom_id": "a", "params": message}]}
    agent = {"skills": [{"type": "custom", "skill_id": create(ann, "skills")["id"]}]}
    session = {"agent": create(ann, "agents")["id"], "environment_id": create(ann, "environments")["id"]}
    escaped = json.dumps(message).replace(file_id, "".join(f"\\u{ord(letter):04x}" for letter in file_id))
    for path, body in (
        ("/v1/messages", json.dumps(message)),
        ("/v1/messages", escaped),
        ("/v1/messages/count_tokens", json.dumps(message)),
        ("/v1/messages/batches", json.dumps(batch)),
        ("/v1/messages/batches", json.dumps({**batch, "padding": "x" * 5_000_000})),
        ("/v1/agents", json.dumps(agent)),
        ("/v1/sessions", json.dumps(session)),
    ):
        json_type = {"content-type": "application/json"}
        assert bob.post(path, content=body, headers=json_type).status_code == 404, (path, body[:80])
        allowed = ann.post(path, content=body, headers=json_type)
        assert allowed.status_code in {200, 400}, allowed.text
    harmless = {**message, "messages": [{"role": "user", "content": f"What is {file_id}?"}]}
    assert bob.post("/v1/messages", json=harmless).status_code == 200


def test_the_sdk_pages_through_its_own_objects(on: ServiceAndSimulator, stack: ExitStack) -> None:
    clients = [client(stack, on.service, name) for name in TENANTS]
    collections = ("messages/batches", "files", "skills", "sessions")
    made = {each: [create(one, each)["id"] for _ in range(5) for one in clients][::2][::-1] for each in collections}
    with anthropic.Anthropic(api_key="ann", base_url=on.service.url, max_retries=0, open_telemetry=False) as sdk:
        for limit in LIMITS:
            assert [each.id for each in sdk.messages.batches.list(limit=limit)] == made["messages/batches"]
            assert [each.id for each in sdk.files.list(limit=limit)] == made["files"]
            assert [each.id for each in sdk.skills.list(limit=limit)] == made["skills"]
            assert [each.id for each in sdk.beta.sessions.list(limit=limit)] == made["sessions"]
        assert [each.id for each in sdk.beta.files.list()] == made["files"]
        with pytest.raises(anthropic.NotFoundError):
            sdk.files.retrieve_metadata(create(clients[1], "files")["id"])


def test_what_one_replica_creates_belongs_to_its_creator_at_another(tmp_path: Path, stack: ExitStack) -> None:
    server = stack.enter_context(postgresql_server())
    variables = {
        "TIDEGATE_CONFIG": configuration(tmp_path),
        "TIDEGATE_DATABASE_URL": server.new_database().replace("+psycopg", ""),
        "ANTHROPIC_API_KEY": "any",
    }
    on = stack.enter_context(service_and_simulator(tmp_path, variables=variables))
    (tmp_path / "other").mkdir()
    other = stack.enter_context(
        running(tmp_path / "other", "serve", **variables, TIDEGATE_UPSTREAM_URL=on.simulator.url)
    )
    ann, bob = client(stack, on.service, "ann"), client(stack, on.service, "bob")
    ann_there, bob_there = client(stack, other, "ann"), client(stack, other, "bob")
    for _ in range(10):
        made = create(ann, "agents")["id"]
        assert ann_there.get(f"/v1/agents/{made}").json()["id"] == made  # at once
        assert bob_there.get(f"/v1/agents/{made}").status_code == 404
    first = ann.get("/v1/agents", params={"limit": 4}).json()
    second = ann_there.get("/v1/agents", params={"limit": 4, "page": first["next_page"]}).json()
    ids = [item["id"] for item in first["data"] + second["data"]]
    assert ids == all_ids(ann, "agents")[:8]
    assert all_ids(bob, "agents") == all_ids(bob_there, "agents") == []

    with server.stopped():  # nobody sees what may be another's; calls without objects go on
        assert ann_there.get(f"/v1/agents/{ids[0]}").status_code == 200  # it is in memory
        unknown = bob.get("/v1/agents/agent_unknown")
        assert (unknown.status_code, unknown.headers["x-tidegate-cause"]) == (503, "ledger_unavailable")
        made = create(ann, "agents")["id"]  # takes a second
        assert ann.get(f"/v1/agents/{made}").status_code == 200
        body = {"model": "claude-haiku-5-5", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
        assert ann.post("/v1/messages", json=body).status_code == 200
    for _ in range(200):
        if ann_there.get(f"/v1/agents/{made}").status_code == 200:
            break
    else:
        pytest.fail("the owner was never written")
    assert bob_there.get(f"/v1/agents/{made}").status_code == 404
