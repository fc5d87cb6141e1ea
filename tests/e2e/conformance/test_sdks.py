"""SDKs run the same steps through the service and directly, with equal traffic and equal results."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from support.conformance import Answered, Twins, comparable, requests_seen
from support.sdks import do_steps, newest_python, older_python, typescript

from .sdk_calls import STEPS


def answered(exchange: dict[str, Any]) -> Answered:
    fields = [(name, value) for name, value in exchange["fields"]]
    return Answered(exchange["status"], fields, base64.b64decode(exchange["body"]))


@pytest.mark.parametrize(
    ("command", "mode", "version"),
    [
        pytest.param(newest_python, "sync", "2.", id="python-2-sync"),
        pytest.param(newest_python, "async", "2.", id="python-2-async", marks=pytest.mark.clients),
        pytest.param(older_python, "sync", "0.121.0", id="python-0.121-sync", marks=pytest.mark.clients),
        pytest.param(older_python, "async", "0.121.0", id="python-0.121-async", marks=pytest.mark.clients),
        pytest.param(typescript, "async", "1.", id="typescript-1"),
    ],
)
def test_an_sdk_cannot_tell_the_service_from_the_api(
    pair: Twins, command: Callable[[], list[str]], mode: str, version: str
) -> None:
    through, direct = (do_steps(command(), url, STEPS, mode=mode) for url in pair.urls())
    assert direct["version"].startswith(version)
    for step, got, expected in zip(STEPS, through["seen"], direct["seen"], strict=True):
        raised = isinstance(expected["outcome"], dict) and "raised" in expected["outcome"]
        assert (step, raised) == (step, "fails" in step)
        if raised:
            # A broken connection has no status; for errors in a stream, SDKs differ.
            statuses = {step["fails"]} if step["fails"] > 200 else {200, None}
            assert expected["outcome"].get("status_code") in statuses, step
        assert len(expected["exchanges"]) >= 1
        for exchange, expected_exchange in zip(got["exchanges"], expected["exchanges"], strict=True):
            path = expected_exchange["request"]
            assert exchange["request"] == path
            assert exchange["status"] == expected_exchange["status"], step
            fields, body = comparable(path, answered(exchange), pair.through)
            expected_fields, expected_body = comparable(path, answered(expected_exchange), pair.direct)
            assert sorted(fields) == sorted(expected_fields), step  # Node changes the order
            if command is not typescript or step.get("fails") != 0:  # Node drops the body of a broken connection
                assert body == expected_body, step
        outcome = json.dumps(got["outcome"]).replace(pair.through, "URL")
        assert outcome == json.dumps(expected["outcome"]).replace(pair.direct, "URL"), step

    seen_behind, seen_directly = (requests_seen(url) for url in (pair.behind, pair.direct))
    assert len(seen_behind) >= len(STEPS)
    assert seen_behind == seen_directly
