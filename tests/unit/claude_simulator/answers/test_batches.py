"""The routes of `/v1/messages/batches…`."""

import json
from typing import Any

import pytest

from claude_simulator.answers.batches import MAX_STORED_BATCHES, Batch
from support.virtual_time import VirtualClock, run_virtual
from unit.claude_simulator.conftest import MakeClient, SimulatorAnswer, SimulatorClient

ASK = {"model": "claude-haiku-5-5", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
TWO = {
    "requests": [
        {"custom_id": "good", "params": ASK},
        {"custom_id": "bad", "params": {**ASK, "max_tokens": -1}},
    ]
}


async def make(client: SimulatorClient, body: Any = TWO, **headers: str) -> SimulatorAnswer:
    return await client.send("POST", "/v1/messages/batches", body, headers=headers)


async def get(client: SimulatorClient, path: str) -> SimulatorAnswer:
    return await client.send("GET", f"/v1/messages/batches{path}")


def test_a_batch_ends_and_has_results(make_client: MakeClient, clock: VirtualClock) -> None:
    async def steps() -> None:
        client = make_client(batch_seconds=60)
        made = (await make(client)).json()
        assert (made["type"], made["processing_status"], made["results_url"]) == ("message_batch", "in_progress", None)
        assert made["request_counts"] == {"processing": 2, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
        assert (await get(client, f"/{made['id']}/results")).error()[0] == 404

        clock.advance(60)
        ended = (await get(client, f"/{made['id']}")).json()
        assert ended["processing_status"] == "ended"
        assert ended["request_counts"] == {"processing": 0, "succeeded": 1, "errored": 1, "canceled": 0, "expired": 0}
        assert ended["results_url"] == f"http://localhost:8080/v1/messages/batches/{made['id']}/results"

        results = await get(client, f"/{made['id']}/results")
        assert results.headers["content-type"] == "application/x-jsonl"
        lines = [json.loads(line) for line in results.body.splitlines()]
        assert [line["custom_id"] for line in lines] == ["good", "bad"]
        assert lines[0]["result"]["message"]["usage"]["service_tier"] == "batch"
        assert lines[1]["result"]["error"]["error"]["type"] == "invalid_request_error"
        assert results.body == (await get(client, f"/{made['id']}/results")).body

    run_virtual(steps(), clock)


def test_a_batch_is_cancelled_and_deleted(make_client: MakeClient, clock: VirtualClock) -> None:
    async def steps() -> None:
        client = make_client(batch_seconds=0)
        batch = (await make(client, **{"x-simulator-batch-seconds": "900"})).json()["id"]
        assert (await client.send("DELETE", f"/v1/messages/batches/{batch}")).status == 400
        cancelled = await client.send("POST", f"/v1/messages/batches/{batch}/cancel")
        assert cancelled.json()["processing_status"] == "canceling"
        assert cancelled.json()["cancel_initiated_at"] is not None
        again = await client.send("POST", f"/v1/messages/batches/{batch}/cancel")
        assert again.error()[:2] == (400, "invalid_request_error")  # it has ended
        assert (await get(client, f"/{batch}")).json()["request_counts"]["canceled"] == 2
        assert (await client.send("DELETE", f"/v1/messages/batches/{batch}")).json()["type"] == "message_batch_deleted"
        assert (await get(client, f"/{batch}")).error()[:2] == (404, "not_found_error")

    run_virtual(steps(), clock)


def test_a_batch_may_be_cancelled_twice_before_it_ends() -> None:
    batch = Batch("msgbatch_1", [], version="2023-06-01", beta=False, created_seconds=0, ends_seconds=9)
    batch.cancel(1)
    batch.cancel(2)
    assert batch.cancelled_seconds == 1


def test_batches_are_listed_newest_first_in_pages(make_client: MakeClient, clock: VirtualClock) -> None:
    async def steps() -> None:
        client = make_client(batch_seconds=0)
        first, second, third = [(await make(client)).json()["id"] for _ in "123"]

        async def ids(query: str) -> tuple[list[str], bool]:
            page = (await get(client, query)).json()
            assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
            return [batch["id"] for batch in page["data"]], page["has_more"]

        assert await ids("") == ([third, second, first], False)
        assert await ids("?limit=2") == ([third, second], True)
        assert await ids(f"?limit=2&after_id={second}") == ([first], False)
        assert await ids(f"?limit=1&before_id={first}") == ([second], True)
        assert await ids(f"?limit=2&page={third}") == ([second, first], False)
        assert (await get(client, f"?after_id={first}")).json()["data"] == []
        assert "after_id: 'x'" in (await get(client, "?after_id=x")).error()[2]
        assert "limit: '0'" in (await get(client, "?limit=0")).error()[2]

    run_virtual(steps(), clock)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "requests: a list of 1 to 100000"),
        ({"requests": []}, "requests: a list of 1 to 100000"),
        ({"requests": ["x"]}, "requests.0.custom_id: None"),
        ({"requests": [{"custom_id": "a b"}]}, "requests.0.custom_id: 'a b'"),
        ({"requests": [{"custom_id": "a"}]}, "requests.0.params: Field required"),
        ({"requests": [{"custom_id": "a", "params": {"stream": True}}]}, "requests.0.params.stream: true"),
        ({"requests": [{"custom_id": "a", "params": {"max_tokens": 0}}]}, "requests.0.params.max_tokens: 0 was given"),
        ({"requests": [{"custom_id": "a", "params": {"speed": "fast"}}]}, "requests.0.params.speed: Extra inputs"),
        ({"requests": [{"custom_id": "a", "params": {}}] * 2}, "requests.1.custom_id: 'a' was given twice"),
    ],
)
def test_an_invalid_batch_is_refused(make_client: MakeClient, clock: VirtualClock, body: Any, message: str) -> None:
    answer = run_virtual(make(make_client(), body), clock)
    assert answer.error()[:2] == (400, "invalid_request_error")
    assert message in answer.error()[2]


def test_the_header_for_batch_seconds_must_be_a_number(make_client: MakeClient, clock: VirtualClock) -> None:
    answer = run_virtual(make(make_client(), TWO, **{"x-simulator-batch-seconds": "soon"}), clock)
    assert "x-simulator-batch-seconds: 'soon'" in answer.error()[2]


def test_the_oldest_batch_is_dropped(make_client: MakeClient, clock: VirtualClock) -> None:
    async def steps() -> None:
        client = make_client(batch_seconds=0)
        ids = [(await make(client)).json()["id"] for _ in range(MAX_STORED_BATCHES + 1)]
        assert (await get(client, f"/{ids[0]}")).status == 404
        assert (await get(client, f"/{ids[1]}")).status == 200

    run_virtual(steps(), clock)
