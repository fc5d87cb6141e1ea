"""Sessions of the Anthropic SDK: it opens the event stream first, and then sends the message."""

import asyncio
from pathlib import Path

import anthropic

from support.raw_upstream import Exchange, raw_upstream
from support.service_process import running

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n"
EVENT = b'event: session.status_idle\ndata: {"type":"session.status_idle","id":"e_1"}\n\n'


def test_a_session_whose_stream_is_silent_until_a_message_is_sent(tmp_path: Path) -> None:
    """The upstream sends only the head of the stream before it receives the message."""

    async def main() -> list[str]:
        sent = asyncio.Event()

        async def upstream(exchange: Exchange) -> None:
            while True:
                head, _ = await exchange.request()
                if head.startswith(b"GET /v1/sessions/s_1/events/stream"):
                    await exchange.say(HEAD % b"text/event-stream" + b"transfer-encoding: chunked\r\n\r\n")
                    await sent.wait()
                    await exchange.say(b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVENT), EVENT))
                else:
                    assert head.startswith(b"POST /v1/sessions/s_1/events")
                    await exchange.say(HEAD % b"application/json" + b'content-length: 11\r\n\r\n{"data":[]}')
                    sent.set()

        async with raw_upstream(upstream) as raw:
            return await asyncio.to_thread(received, raw.url, tmp_path)

    assert asyncio.run(main()) == ["session.status_idle"]


def received(upstream_url: str, directory: Path) -> list[str]:
    """The event types that the SDK receives through a service with this upstream."""
    settings = {"TIDEGATE_UPSTREAM_URL": upstream_url, "ANTHROPIC_API_KEY": "service-key"}
    with (
        running(directory, "serve", **settings) as service,
        anthropic.Anthropic(base_url=service.url, api_key="any-key", max_retries=0, timeout=20) as client,
        client.beta.sessions.events.stream("s_1") as stream,
    ):
        message = {"type": "user.message", "content": [{"type": "text", "text": "Hello"}]}
        client.beta.sessions.events.send("s_1", events=[message])  # type: ignore[list-item]
        return [event.type for event in stream]
