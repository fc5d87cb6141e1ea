"""Runs the steps on stdin with the Anthropic Python SDK of this environment, and prints traffic and results.

Independent of this project: it runs in environments that have only the SDK. Input, in JSON: `base_url`, `key`, `mode`
(sync or async), `max_retries` and `steps`. Output: the HTTP exchanges and the result of each step.
"""

import asyncio
import base64
import json
import sys
from typing import TYPE_CHECKING, Any

import anthropic

if TYPE_CHECKING:
    import httpx2 as httpx
else:
    try:
        import httpx2 as httpx
    except ImportError:
        import httpx  # the SDK before 1.0

Exchange = dict[str, Any]
Step = dict[str, Any]


class _Tap(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Copies the bytes of a response."""

    def __init__(self, stream: Any, exchange: Exchange) -> None:
        self._stream = stream
        self._exchange = exchange
        self._bytes = b""

    def __iter__(self) -> Any:
        for chunk in self._stream:
            self._note(chunk)
            yield chunk

    async def __aiter__(self) -> Any:
        async for chunk in self._stream:
            self._note(chunk)
            yield chunk

    def _note(self, chunk: bytes) -> None:
        self._bytes += chunk
        self._exchange["body"] = base64.b64encode(self._bytes).decode()

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()


class Recorder(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A transport that records each exchange."""

    def __init__(self, transport: Any) -> None:
        self.exchanges: list[Exchange] = []
        self._transport = transport

    def handle_request(self, request: Any) -> Any:
        return self._noted(request, self._transport.handle_request(request))

    async def handle_async_request(self, request: Any) -> Any:
        return self._noted(request, await self._transport.handle_async_request(request))

    def _noted(self, request: Any, response: Any) -> Any:
        fields = [(name.decode().lower(), value.decode()) for name, value in response.headers.raw]
        exchange = {
            "request": f"{request.method} {request.url.raw_path.decode()}",
            "status": response.status_code,
            "fields": fields,
            "body": "",
        }
        self.exchanges.append(exchange)
        response.stream = _Tap(response.stream, exchange)
        return response

    def close(self) -> None:
        self._transport.close()

    async def aclose(self) -> None:
        await self._transport.aclose()


class Run:
    """One client and its steps."""

    def __init__(self, client: Any, recorder: Recorder, steps: list[Step]) -> None:
        self._client = client
        self._recorder = recorder
        self._steps = steps
        self._ids: dict[str, str] = {}
        self.seen: list[dict[str, Any]] = []

    def sync(self) -> None:
        outcome: Any
        for step in self._steps:
            try:
                method, positional, parameters = self._prepared(step)
                if step["method"] == "messages.stream":
                    with method(**parameters) as stream:
                        outcome = [*(_plain(event) for event in stream), _plain(stream.get_final_message())]
                else:
                    result = method(*positional, **parameters)
                    outcome = [_plain(item) for item in result] if _is_many(step, result) else _plain(result)
                    outcome = _content(result) if outcome is None else outcome
                    self._save(step, result)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
                outcome = _failure(error)
            self._note(step, outcome)

    async def asynchronous(self) -> None:
        outcome: Any
        for step in self._steps:
            try:
                method, positional, parameters = self._prepared(step)
                if step["method"] == "messages.stream":
                    async with method(**parameters) as stream:
                        outcome = [_plain(event) async for event in stream]
                        outcome.append(_plain(await stream.get_final_message()))
                else:
                    pending = method(*positional, **parameters)
                    result = pending if hasattr(pending, "__aiter__") else await pending
                    outcome = [_plain(item) async for item in result] if _is_many(step, result) else _plain(result)
                    if outcome is None:
                        read = result.read()
                        outcome = _content(result) if isinstance(read, bytes) else (await read).decode()
                    self._save(step, result)
            except Exception as error:  # noqa: BLE001 - as above
                outcome = _failure(error)
            self._note(step, outcome)

    def _prepared(self, step: Step) -> tuple[Any, list[str], dict[str, Any]]:
        method = self._client
        for name in step["method"].split("."):
            method = getattr(method, name)
        parameters = dict(step["body"])
        if "file" in parameters:
            name, content, kind = parameters["file"]
            parameters["file"] = (name, content.encode(), kind)
        identifiers: list[str] = [step["id"]] if "id" in step else []
        positional = [self._ids.get(name, name) for name in identifiers]
        return method, positional, {**parameters, "extra_headers": step["headers"]}

    def _save(self, step: Step, result: Any) -> None:
        if "save" in step:
            self._ids[f"${step['save']}"] = result.id

    def _note(self, step: Step, outcome: Any) -> None:
        exchanges, self._recorder.exchanges = self._recorder.exchanges, []
        self.seen.append({"method": step["method"], "outcome": outcome, "exchanges": exchanges})


def _is_many(step: Step, result: Any) -> bool:
    listed = step["method"].endswith((".list", ".results"))
    return listed or "Stream" in type(result).__name__


def _plain(value: Any) -> Any:
    """A model of the SDK as JSON; None for anything else (the content of a file)."""
    return value.model_dump(mode="json", warnings=False) if hasattr(value, "model_dump") else None


def _content(result: Any) -> str:
    return str(result.read().decode())


def _failure(error: Exception) -> dict[str, Any]:
    names = [kind.__name__ for kind in type(error).__mro__]
    known = {name: getattr(error, name, None) for name in ("status_code", "type", "error_code", "request_id", "body")}
    if isinstance(error, anthropic.APIStatusError):
        return {"raised": names, **known}
    return {"raised": names}


def main() -> None:
    told = json.load(sys.stdin)
    steps, options = (
        told["steps"],
        {"api_key": told["key"], "base_url": told["base_url"], "max_retries": told["max_retries"]},
    )
    if told["mode"] == "sync":
        recorder = Recorder(httpx.HTTPTransport())
        with anthropic.Anthropic(http_client=anthropic.DefaultHttpxClient(transport=recorder), **options) as client:
            run = Run(client, recorder, steps)
            run.sync()
    else:
        run = asyncio.run(_asynchronously(steps, options))
    json.dump({"version": anthropic.__version__, "seen": run.seen}, sys.stdout)


async def _asynchronously(steps: list[Step], options: dict[str, Any]) -> Run:
    recorder = Recorder(httpx.AsyncHTTPTransport())
    http_client = anthropic.DefaultAsyncHttpxClient(transport=recorder)
    async with anthropic.AsyncAnthropic(http_client=http_client, **options) as client:
        run = Run(client, recorder, steps)
        await run.asynchronous()
    return run


if __name__ == "__main__":
    main()
