"""A whole answer is read the same way, whether it is as the API says or not quite."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from tidegate.core.domain.usage import Usage
from tidegate.gateway.relay.response_metadata import ResponseMetadata
from tidegate.gateway.relay.usage_reader import reader_for

_FIELDS = {b"content-type": b"application/json"}
_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2_000_000),
    st.sampled_from([10**18, 2**63, 10**30, 5.0, 0.5, -0.0, 1e300, "7", "", [], {}]),
)
_NAMES = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_USAGE = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(_NAMES, _VALUES),
        "cache_creation": _VALUES | st.fixed_dictionaries({}, optional={"ephemeral_1h_input_tokens": _VALUES}),
        "service_tier": _VALUES | st.sampled_from(["standard", "batch"]),
        "server_tool_use": _VALUES,
    },
)
_MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "id": _VALUES | st.just("msg_1"),
        "model": _VALUES | st.just("claude-sonnet-5-5"),
        "stop_reason": _VALUES | st.just("end_turn"),
        "usage": _USAGE | _VALUES,
    },
)


@given(_MESSAGE)
@example({"id": "msg_1", "model": "m", "usage": {"input_tokens": 5.0}})
@example({"id": "msg_1", "model": "m", "usage": {"input_tokens": 7, "output_tokens": 10**30}})
@example({"id": "msg_1", "model": "m", "stop_reason": None, "usage": {"cache_read_input_tokens": None}})
def test_figures_that_are_as_the_api_says_and_others_are_read_alike(message: dict[str, Any]) -> None:
    reader = reader_for("/v1/messages", list(_FIELDS.items()), _FIELDS)
    reader.feed(json.dumps(message).encode())
    usage = message.get("usage")
    assert reader.metadata == ResponseMetadata.of(message)
    assert reader.usage == (Usage.from_json(usage) if isinstance(usage, dict) else None)
    assert reader.usage_is_odd == (isinstance(usage, dict) and Usage.is_odd(usage))
