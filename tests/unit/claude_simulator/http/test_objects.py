"""The routes of skills and of Managed Agents."""

from typing import Any

import pytest

from claude_simulator.http import object_store
from support.virtual_time import VirtualClock, run_virtual
from unit.claude_simulator.conftest import MakeClient, SimulatorClient

FORM = {"content-type": 'multipart/form-data; boundary="bOu"'}
SKILL = b'--bOu\r\nContent-Disposition: form-data; name="files"; filename="SKILL.md"\r\n\r\ntext\r\n--bOu--\r\n'


async def made(client: SimulatorClient, path: str, **members: Any) -> dict[str, Any]:
    answer = await client.send("POST", path, members)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json()
    return found


def test_an_object_is_stored_changed_archived_and_deleted(make_client: MakeClient, clock: VirtualClock) -> None:
    async def steps() -> None:
        client = make_client()
        agent = await made(client, "/v1/agents", name="a", id="mine")
        path = f"/v1/agents/{agent['id']}"
        assert (agent["type"], agent["name"], agent["id"][:6]) == ("agent", "a", "agent_")
        assert (await made(client, path, name="b"))["name"] == "b"
        assert (await made(client, f"{path}/archive"))["archived_at"]
        version = await made(client, f"{path}/versions")
        assert (await client.send("GET", f"{path}/versions")).json()["data"] == [version]
        assert (await client.send("DELETE", path)).json() == {"id": agent["id"], "type": "agent_deleted"}
        for gone in (path, f"{path}/versions", f"{path}/versions/{version['id']}"):
            assert (await client.send("GET", gone)).error()[:2] == (404, "not_found_error")

    run_virtual(steps(), clock)


def test_a_skill_is_created_by_a_form(make_client: MakeClient, clock: VirtualClock) -> None:
    async def steps() -> None:
        client = make_client()
        skill = (await client.send("POST", "/v1/skills", SKILL, headers=FORM)).json()
        assert (skill["files"], skill["source"], skill["id"][:6]) == (["SKILL.md"], "custom", "skill_")

    run_virtual(steps(), clock)


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
def test_a_list_is_paged_by_tokens(limit: int, make_client: MakeClient, clock: VirtualClock) -> None:
    async def steps() -> None:
        client = make_client()
        ids = [(await made(client, "/v1/vaults"))["id"] for _ in range(5)][::-1]
        found, query = [], ""
        while True:
            page = (await client.send("GET", f"/v1/vaults?limit={limit}{query}")).json()
            found += [item["id"] for item in page["data"]]
            if page["next_page"] is None:
                break
            assert len(page["data"]) == limit
            query = f"&page={page['next_page']}"
            await made(client, "/v1/vaults")  # the next page begins where it would have
        assert found == ids
        assert (await client.send("GET", "/v1/vaults?page=odd")).error()[:2] == (400, "invalid_request_error")

    run_virtual(steps(), clock)


def test_a_page_begins_at_the_same_place_if_its_cursor_was_deleted(
    make_client: MakeClient, clock: VirtualClock
) -> None:
    async def steps() -> None:
        client = make_client()
        ids = [(await made(client, "/v1/vaults"))["id"] for _ in range(4)][::-1]
        page = (await client.send("GET", "/v1/vaults?limit=2")).json()
        await client.send("DELETE", f"/v1/vaults/{ids[1]}")
        page = (await client.send("GET", f"/v1/vaults?limit=2&page={page['next_page']}")).json()
        assert [item["id"] for item in page["data"]] == ids[2:]

    run_virtual(steps(), clock)


def test_a_run_of_a_deployment_creates_a_session(make_client: MakeClient, clock: VirtualClock) -> None:
    async def steps() -> None:
        client = make_client()
        first, second = [(await made(client, "/v1/deployments"))["id"] for _ in range(2)]
        run = await made(client, f"/v1/deployments/{first}/run")
        await made(client, f"/v1/deployments/{second}/run")
        session = (await client.send("GET", f"/v1/sessions/{run['session_id']}")).json()
        assert session["deployment_id"] == run["deployment_id"] == first
        listed = (await client.send("GET", f"/v1/deployment_runs?deployment_id={first}")).json()
        assert listed == {"data": [run], "next_page": None}
        assert (await client.send("POST", "/v1/deployment_runs", {})).status == 405

    run_virtual(steps(), clock)


def test_the_storage_is_bounded(make_client: MakeClient, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "MAX_STORED_OBJECTS", 1)

    async def steps() -> None:
        client = make_client()
        await made(client, "/v1/agents")
        assert (await client.send("POST", "/v1/sessions", {})).error()[:2] == (403, "permission_error")

    run_virtual(steps(), clock)
