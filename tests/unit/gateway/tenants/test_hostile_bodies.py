"""Bodies that are made to hide what they name, or to be slow to check."""

import gzip
import json
import time

import pytest

from support.asgi_client import call
from support.gateway import Reply
from tidegate.gateway.tenants.references import named_objects
from unit.gateway.tenants.test_objects import ANN, BOB, Service, is_not_found, play
from unit.gateway.tenants.test_references import THEIRS, message

LENIENT = (b"1" * 5_000, b"1" * 5_000 + b".5", b"[" * 100_000 + b"]" * 100_000, b'"\n"', b'"\xff"', b"0x1", b"'a'")
"""Values that other parsers may accept."""


@pytest.mark.parametrize("value", LENIENT)
def test_no_value_hides_what_a_body_names(value: bytes) -> None:
    body = b'{"title": %b, "vault_ids": ["vlt_OfBob0001"]}' % value
    assert list(named_objects(body)) == ["vlt_OfBob0001"]


@pytest.mark.parametrize("levels", [5_000, 100_000])
def test_lists_that_are_nested_too_deeply_to_be_decoded_are_searched(levels: int) -> None:
    body = b"[" * levels + b'"vlt_OfBob0001"' + b"]" * levels
    assert list(named_objects(body)) == ["vlt_OfBob0001"]


def test_deep_objects_take_no_longer_than_flat_ones() -> None:
    ids = ",".join(f'"vlt_{number}"' for number in range(50_000))
    flat = f'{{"vault_ids": [{ids}]}}'
    bodies = [flat.encode(), ('{"a": ' * 800 + flat + "}" * 800).encode()]
    seconds = []
    for body in bodies:
        started = time.process_time()
        assert len(named_objects(body)) == 50_000
        seconds.append(time.process_time() - started)
    assert seconds[1] < 5 * seconds[0]


def test_very_many_names_are_asked_for_in_parts() -> None:
    ids = [f"vlt_{number}" for number in range(2_500)]

    async def steps(service: Service) -> None:
        service.ownership.known |= dict.fromkeys(ids[:2_400], ANN)
        assert is_not_found(await service.ask("ann", "POST", "/v1/sessions", {"vault_ids": ids}), ids[2_400])
        assert [len(asked) for asked in service.ownership.asked] == [1_000, 1_000, 500]
        service.ownership.asked.clear()
        assert is_not_found(await service.ask("ann", "POST", "/v1/sessions", {"vault_ids": ["vlt_x", *ids]}), "vlt_x")
        assert len(service.ownership.asked) == 1

    play(steps, Reply())


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens", "/v1/messages/batches", "/v1/sessions"])
def test_a_body_that_claims_to_be_a_form_is_checked(path: str) -> None:
    async def steps(service: Service) -> None:
        service.ownership.known |= {THEIRS: BOB}
        headers = {"content-type": "multipart/form-data; boundary=x"}
        answer = await service.ask("ann", "POST", path, json.dumps(message(THEIRS)).encode(), **headers)
        assert is_not_found(answer, THEIRS)

    play(steps, Reply())


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/batches", "/v1/sessions"])
@pytest.mark.parametrize("codings", [["gzip"], ["gzip", "identity"], ["identity", "br"]])
def test_a_compressed_body_cannot_be_checked(path: str, codings: list[str]) -> None:
    async def steps(service: Service) -> None:
        app = service.rig.gateway if path == "/v1/messages" else service.objects
        body = gzip.compress(json.dumps(message(THEIRS)).encode())
        added = [("content-encoding", each) for each in codings]
        answer = await call(app, "POST", path, body=body, headers={"x-api-key": "ann"}, added=added)
        assert answer.status == 415
        assert ", ".join(codings) in answer.json()["error"]["message"]
        assert service.sent() == []

    play(steps, Reply())
