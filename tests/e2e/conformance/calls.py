"""The list of calls: every route of the API, every kind of response, and unusual requests."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

SONNET = "claude-sonnet-5-5"
OLDER = "claude-opus-4-8"
NEW_VERSION = "2026-10-21"
OLD_VERSION = "2023-06-01"

HELLO = [{"role": "user", "content": "Hello, ünïcødé 🌊"}]
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"name": "get_weather", "description": "The weather in a city", "input_schema": CITY}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # a PNG
BATCH = {
    "requests": [
        {"custom_id": "one", "params": {"model": SONNET, "max_tokens": 60, "messages": HELLO}},
        {"custom_id": "two", "params": {"model": "no-such-model", "max_tokens": 60, "messages": HELLO}},
    ]
}
FORM = "multipart/form-data; boundary=----a-boundary"
FORM_FIELD = b'------a-boundary\r\ncontent-disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
FORM_END = b"\r\n------a-boundary--\r\n"


@dataclass(frozen=True)
class Call:
    """One HTTP call. `{name}` in its path is the id in the response to the call of that name."""

    name: str
    method: str
    path: str
    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    version: str = NEW_VERSION
    key: str = "x-api-key"

    def sent_headers(self, key: str) -> dict[str, str]:
        """The headers, with a key in the header that this call uses for it."""
        presented = {"x-api-key": key} if self.key == "x-api-key" else {"authorization": f"Bearer {key}"}
        content = {"content-type": "application/json"} if self.body is not None else {}
        return {"anthropic-version": self.version, **presented, **content, **self.headers}


def as_json(value: Any) -> bytes:
    """JSON in UTF-8 without escapes, like clients."""
    return json.dumps(value, ensure_ascii=False).encode()


def message(name: str, *, status: int = 200, headers: dict[str, str] | None = None, **changes: Any) -> Call:
    """A Messages call; its body omits fields that are None."""
    version = changes.pop("version", NEW_VERSION)
    body = {"model": SONNET, "max_tokens": 300, "messages": HELLO, **changes}
    sent = as_json({name: value for name, value in body.items() if value is not None})
    return Call(name, "POST", "/v1/messages", status, sent, headers or {}, version)


def blocks(*content: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [*content, {"type": "text", "text": "What is this?"}]}]


def forced(name: str, status: int, kind: str, method: str, path: str, **fields: Any) -> Call:
    """A call that the service does not retry, so that its error is relayed."""
    return Call(name, method, path, status, headers={"x-simulator-fault": kind}, **fields)


def impatient(*arguments: Any, **fields: Any) -> Call:
    """A call that is not retried because its client would not wait as long as the upstream demands."""
    call = forced(*arguments, **fields)
    return replace(call, headers={**call.headers, "x-tidegate-timeout-seconds": "0.5"})


CACHED = [{"type": "text", "text": "long " * 3_000, "cache_control": {"type": "ephemeral"}}]
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A text. " * 50}}
TOOLS: dict[str, Any] = {"model": OLDER, "tools": [WEATHER], "tool_choice": {"type": "tool", "name": "get_weather"}}
THINKING: dict[str, Any] = {"thinking": {"type": "adaptive"}}
NOVEL = {"x-simulator-fault": "unknown_content"}
LONG = {"x-simulator-output-tokens": "3000"}
STRANGE_JSON = (
    b'{ "model":"%b",\r\n\t"max_tokens" : 3e2, "messages":[{"role":"user","content":"\\ud83c\\udf0a \\u00e4"}],'
    b'"metadata":{"user_id":"a"},  "metadata": {"user_id": "twice"} }' % SONNET.encode()
)

MESSAGES = [
    message("plain"),
    replace(message("plain, a Bearer key"), key="authorization"),
    message("cached for the first time", system=CACHED),
    message("cached", system=CACHED),
    message("stream", stream=True),
    message("long stream", stream=True, max_tokens=4_000, headers=LONG),
    message("older version", version=OLD_VERSION, model=OLDER, temperature=0.3),
    message("older version, stream", version=OLD_VERSION, model=OLDER, temperature=0.3, stream=True),
    message("sampling in the new version", status=400, temperature=0.3),
    message("tools", **TOOLS),
    message("tools, stream", stream=True, **TOOLS),
    message("thinking", **THINKING),
    message("thinking, stream", stream=True, **THINKING),
    message("image", messages=blocks(IMAGE)),
    message("document", messages=blocks(DOCUMENT), stream=True),
    message("structured", output_config={"format": {"type": "json_schema", "schema": CITY}}),
    message("refusal", headers={"x-simulator-fault": "refusal"}),
    message("refusal, stream", stream=True, headers={"x-simulator-fault": "refusal"}),
    message("unknown fields in the answer", headers=NOVEL),
    message("unknown events", stream=True, headers=NOVEL),
    message("unknown field without a beta", status=400, novel_field=1),
    message(
        "unknown field with a beta", novel_field=[1.0, {"ä": None}], headers={"anthropic-beta": "novel-2026-11-01,b"}
    ),
    message("no max_tokens", status=400, max_tokens=None),
    message("no such model", status=404, model="claude-novel-9"),
    Call("JSON as nobody writes it", "POST", "/v1/messages", 400, STRANGE_JSON),
    message("forbidden", status=403, headers={"x-simulator-fault": "forbidden"}),
    message("too large", status=413, headers={"x-simulator-fault": "too_large"}),
    message("broken off in the middle", headers={"x-simulator-fault": "cut"}),
    message("stream broken off in the middle", stream=True, headers={"x-simulator-fault": "cut"}),
    message("error in a stream", stream=True, headers={"x-simulator-fault": "stream_error"}),
    Call("wrong method", "DELETE", "/v1/messages", 405),
    message("wrong version", status=400, version="1999-01-01"),
]
COUNTING = [
    Call("count", "POST", "/v1/messages/count_tokens", 200, as_json({"model": SONNET, "messages": HELLO})),
    Call("count, not JSON", "POST", "/v1/messages/count_tokens", 400, b"{"),
    Call(
        "count, a query",
        "POST",
        "/v1/messages/count_tokens?beta=true&x=%C3%A4",
        200,
        as_json({"model": SONNET, "messages": HELLO}),
    ),
    impatient("count, limited", 429, "rate_limited", "POST", "/v1/messages/count_tokens", body=b"{}"),
]
MODELS = [
    Call("models", "GET", "/v1/models?limit=3"),
    Call("models, all of them", "GET", "/v1/models?limit=1000"),
    Call("model", "GET", f"/v1/models/{SONNET}", key="authorization"),
    Call("model that there is not", "GET", "/v1/models/claude-novel-9", 404),
    Call("models, head", "HEAD", "/v1/models", 405),
    impatient("models, limited", 429, "rate_limited", "GET", "/v1/models"),
]
BATCHES = [
    Call("batch", "POST", "/v1/messages/batches", 200, as_json(BATCH)),
    Call("batches", "GET", "/v1/messages/batches?limit=1"),
    Call("batch, ended", "GET", "/v1/messages/batches/{batch}"),
    Call("batch, results", "GET", "/v1/messages/batches/{batch}/results"),
    Call("batch, deleted", "DELETE", "/v1/messages/batches/{batch}"),
    Call("batch that there is not", "GET", "/v1/messages/batches/{batch}", 404),
    Call("slow", "POST", "/v1/messages/batches", 200, as_json(BATCH), {"x-simulator-batch-seconds": "900"}),
    Call("slow, no results", "GET", "/v1/messages/batches/{slow}/results", 404),
    Call("slow, deleted too early", "DELETE", "/v1/messages/batches/{slow}", 400),
    Call("slow, cancelled", "POST", "/v1/messages/batches/{slow}/cancel"),
    Call("slow, canceled results", "GET", "/v1/messages/batches/{slow}", key="authorization"),
    Call("batch, empty", "POST", "/v1/messages/batches", 400, b"{}"),
]
FILES = [
    Call("file", "POST", "/v1/files", 200, FORM_FIELD + bytes(range(256)) * 1_000 + FORM_END, {"content-type": FORM}),
    Call("files", "GET", "/v1/files"),
    Call("file, metadata", "GET", "/v1/files/{file}", headers={"anthropic-beta": "files-api-2025-04-14"}),
    Call("file, content", "GET", "/v1/files/{file}/content"),
    Call("file, deleted", "DELETE", "/v1/files/{file}"),
    Call("file that there is not", "GET", "/v1/files/{file}/content", 404),
    Call("file, no form", "POST", "/v1/files", 400, b"{}"),
    forced("file, limited", 429, "rate_limited", "POST", "/v1/files", body=FORM_FIELD + FORM_END),
    forced("file, overloaded", 529, "overloaded", "DELETE", "/v1/files/file_x"),
    forced("file, a proxy's error", 502, "bad_gateway", "DELETE", "/v1/files/file_x"),
]
OTHERS = [
    Call("unknown path", "GET", "/v1/novel/thing?a=1", 404),
    Call("unknown path with a body", "PUT", "/v1/novel", 404, b'{"a": 1}'),
    Call("escaped path", "GET", "/v1/models/claude%2Dsonnet-5-5"),
    Call("options", "OPTIONS", "/v1/messages", 405),
]
CALLS = [*MESSAGES, *COUNTING, *MODELS, *BATCHES, *FILES, *OTHERS]
"""In order: some calls depend on earlier ones."""
