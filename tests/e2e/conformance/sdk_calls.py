"""The steps for the SDKs, by method names of the Python SDK; the TypeScript client maps them to its own.

A step is a method with its id, parameters and headers. `$name` is the id that the step with that `save` returned. Steps
may fail as expected: the errors that SDKs raise are compared, too.
"""

from typing import Any

from .calls import BATCH, CACHED, CITY, DOCUMENT, HELLO, IMAGE, OLDER, SONNET, WEATHER, blocks

ASK: dict[str, Any] = {"model": SONNET, "max_tokens": 300, "messages": HELLO}
FORCED_TOOL: dict[str, Any] = {
    **ASK,
    "model": OLDER,
    "tools": [WEATHER],
    "tool_choice": {"type": "tool", "name": "get_weather"},
}
STRUCTURED = {"output_config": {"format": {"type": "json_schema", "schema": CITY}}}


def step(method: str, body: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """One step; `fails` is the status of the expected error, 0 for a broken connection."""
    fault = fields.pop("fault", None)
    headers = {**({"x-simulator-fault": fault} if fault else {}), **fields.pop("headers", {})}
    return {"method": method, "body": body or {}, "headers": headers, **fields}


STEPS = [
    step("messages.create", ASK),
    step("messages.create", {**ASK, "stream": True}),
    step("messages.stream", ASK),
    step("messages.create", {**ASK, "system": CACHED}),
    step("messages.create", {**ASK, "system": CACHED}),
    step("messages.create", FORCED_TOOL),
    step("messages.stream", FORCED_TOOL),
    step("messages.create", {**ASK, "thinking": {"type": "adaptive"}}),
    step("messages.stream", {**ASK, "thinking": {"type": "adaptive"}}),
    step("messages.create", {**ASK, "messages": blocks(IMAGE, DOCUMENT)}),
    step("messages.create", {**ASK, **STRUCTURED}),
    step("messages.stream", {**ASK, "max_tokens": 4_000}, headers={"x-simulator-output-tokens": "3000"}),
    step("beta.messages.create", {**ASK, "betas": ["novel-2026-11-01"]}),
    step("messages.create", ASK, fault="unknown_content"),
    step("messages.create", {**ASK, "stream": True}, fault="unknown_content"),
    step("messages.create", ASK, fault="refusal"),
    step("messages.create", {**ASK, "max_tokens": -1}, fails=400),
    step("messages.create", {**ASK, "model": "claude-novel-9"}, fails=404),
    step("messages.create", ASK, fault="forbidden", fails=403),
    step("messages.create", ASK, fault="too_large", fails=413),
    step("messages.create", {**ASK, "stream": True}, fault="stream_error", fails=200),
    step("messages.create", {**ASK, "stream": True}, fault="cut", fails=0),
    step("messages.create", ASK, fault="cut", fails=0),
    step("messages.count_tokens", {"model": SONNET, "messages": HELLO}),
    step("models.list", {"limit": 10}),
    step("models.retrieve", id=SONNET),
    step("beta.files.delete", id="file_x", fault="bad_gateway", fails=502),
    step("messages.batches.create", BATCH, save="batch"),
    step("messages.batches.list", {"limit": 1}),
    step("messages.batches.retrieve", id="$batch"),
    step("messages.batches.results", id="$batch"),
    step("messages.batches.delete", id="$batch"),
    step("messages.batches.retrieve", id="$batch", fails=404),
    step("messages.batches.create", BATCH, headers={"x-simulator-batch-seconds": "900"}, save="slow"),
    step("messages.batches.cancel", id="$slow"),
    step("beta.files.upload", {"file": ["notes.txt", "ünï ode\r\n" * 20_000, "text/plain"]}, save="file"),
    step("beta.files.list"),
    step("beta.files.retrieve_metadata", id="$file"),
    step("beta.files.download", id="$file"),
    step("beta.files.delete", id="$file"),
    step("beta.files.download", id="$file", fails=404),
]
