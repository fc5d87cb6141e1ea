"""Popular client libraries, each in its own environment, through the service and directly."""

import json
from typing import Any

import pytest

from support.client_environment import python_of
from support.conformance import CALLER_KEY, Answered, Twins, comparable, requests_seen
from support.programs import output_of
from support.project import ROOT
from support.recording_relay import recording_relay
from support.service_process import environment


def run_client(name: str, url: str) -> tuple[Any, list[tuple[str, Answered]]]:
    """The output of a client program, and the recorded traffic."""
    program = ROOT / "tests/clients" / f"{name.replace('-', '_')}_client.py"
    with recording_relay(url) as wire:
        told = json.dumps({"base_url": wire.url, "key": CALLER_KEY})
        output = output_of(python_of(name), program, input=told, env=environment(), timeout=100)
    return json.loads(output), wire.exchanges()


@pytest.mark.clients
@pytest.mark.parametrize(("name", "calls"), [("langchain", 9), ("pydantic-ai", 6), ("litellm", 6)])
def test_a_client_cannot_tell_the_service_from_the_api(pair: Twins, name: str, calls: int) -> None:
    got, exchanges = run_client(name, pair.through)
    expected, expected_exchanges = run_client(name, pair.direct)
    assert got == expected
    assert len(expected_exchanges) == calls
    for (line, answer), (expected_line, expected_answer) in zip(exchanges, expected_exchanges, strict=True):
        assert line == expected_line
        assert (line, answer.status) == (line, expected_answer.status)
        assert comparable("", answer, "") == comparable("", expected_answer, ""), line
    assert sorted(answer.status for _, answer in exchanges) == [*[200] * (calls - 1), 404]
    assert "error" in got
    assert "simulated answer" in json.dumps(got)
    assert "get_weather" in json.dumps(got)

    seen_behind, seen_directly = (requests_seen(url) for url in (pair.behind, pair.direct))
    assert len(seen_behind) >= calls
    assert seen_behind == seen_directly
