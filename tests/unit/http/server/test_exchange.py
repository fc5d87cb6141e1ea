"""One request and its response: how bodies arrive, and how responses are framed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tidegate.http.asgi import EXCHANGE, Message, Receive, Send
from tidegate.http.server.exchange import HIGH_WATER_BYTES, Exchange

Fields = list[tuple[bytes, bytes]]
DATE = (b"date", b"now")


class Client:
    """A connection and its writer, which record what they are told."""

    def __init__(self) -> None:
        self.write_paused = False
        self.written: list[bytes] = []
        self.told: list[str] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    async def drain(self) -> None:
        self.told.append("drain")

    def resume_reading(self) -> None:
        """Not recorded."""

    def pause_reading(self) -> None:
        self.told.append("pause reading")

    def response_completed(self, exchange: Exchange) -> None:
        self.told.append("over, goes on" if exchange.keep_alive else "over")

    def application_returned(self, _exchange: Exchange) -> None:
        self.told.append("left")

    def response_aborted(self) -> None:
        self.told.append("break off")


def answering(
    *messages: Message,
    method: str = "POST",
    version: str = "1.1",
    before: Callable[[Exchange], None] = lambda _: None,
    fails: bool = False,
) -> Client:
    """The client of an application that sends these messages, and then may fail."""

    async def app(_scope: Message, _receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        if fails:
            raise ValueError

    return asyncio.run(run(app, method=method, version=version, before=before))


async def run(
    app: Callable[[Message, Receive, Send], Awaitable[None]],
    *,
    method: str = "POST",
    version: str = "1.1",
    before: Callable[[Exchange], None] = lambda _: None,
) -> Client:
    client = Client()
    scope: dict[str, Any] = {"method": method, "http_version": version}
    exchange = Exchange(scope, client, client, asyncio.get_running_loop(), keep_alive=True, expects_continue=False)
    before(exchange)
    await exchange.run(app)
    await asyncio.sleep(0)
    return client


def start(*fields: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": [DATE, *fields]}


def part(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def length(number: int) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % number


def test_head_and_body_go_out_together() -> None:
    client = answering(start(length(2)), part(b"ok"))
    assert client.written == [b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 2\r\n\r\nok"]
    assert client.told == ["over, goes on", "left"]


def test_a_head_without_a_body_yet_does_not_wait_for_it() -> None:
    async def app(_scope: Message, _receive: Receive, send: Send) -> None:
        await send(start(length(2)))
        await asyncio.sleep(0.01)
        await send(part(b"ok"))

    assert [data[-4:] for data in asyncio.run(run(app)).written] == [b"\r\n\r\n", b"ok"]


def directly(*answers: bytes, before: Callable[[Exchange], None] = lambda _: None) -> tuple[Client, list[bool]]:
    """The client of an application that responds by the extension, and the results of `respond`."""
    done: list[bool] = []

    async def app(scope: Message, _receive: Receive, _send: Send) -> None:
        answer = scope["extensions"][EXCHANGE].respond
        done.extend(answer(200, [DATE, length(len(body))], body) for body in answers)

    return asyncio.run(run(app, before=before)), done


def test_a_whole_answer_may_be_sent_in_one_step() -> None:
    client, done = directly(b"ok")
    assert client.written == [b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 2\r\n\r\nok"]
    assert client.told == ["over, goes on", "left"]
    assert done == [True]


def test_not_to_a_client_that_reads_too_slowly() -> None:
    def pause(exchange: Exchange) -> None:
        exchange._writer.write_paused = True

    client, done = directly(b"ok", before=pause)
    assert done == [False]
    assert b"500 Internal" in client.written[0], "nothing had begun"


def test_to_a_client_that_has_left_nothing_is_sent() -> None:
    client, done = directly(b"ok", before=Exchange.disconnect)
    assert (client.written, done) == ([], [True])


def test_a_whole_answer_is_sent_once(caplog: pytest.LogCaptureFixture) -> None:
    client, done = directly(b"ok", b"no")
    assert (len(client.written), done) == (1, [True])
    assert "an application failed" in caplog.text


def test_a_body_of_unknown_length_comes_in_chunks() -> None:
    client = answering(start(), part(b"abc", more=True), part(b"", more=True), part(b"d"))
    assert b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n" in client.written[0]
    assert client.written[1:] == [b"1\r\nd\r\n0\r\n\r\n"]


def test_an_older_client_sees_the_end_of_a_body_by_the_closed_connection() -> None:
    client = answering(start(), part(b"abc"), version="1.0")
    assert client.written == [b"HTTP/1.1 200 OK\r\ndate: now\r\nconnection: close\r\n\r\nabc"]
    assert client.told == ["over", "left"]


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_where_no_body_may_be_none_is(method: str, status: int) -> None:
    client = answering(start(length(2), status=status), part(b"ok"), method=method)
    assert b"".join(client.written).endswith(b"content-length: 2\r\n\r\n")
    assert client.told == ["over, goes on", "left"]


def test_an_answer_without_a_date_gets_one() -> None:
    client = answering({"type": "http.response.start", "status": 200, "headers": []}, part(b""))
    assert b"\r\ndate: " in client.written[0]


def test_the_last_answer_of_a_connection_says_so() -> None:
    assert answering(start(length(0), (b"connection", b"close")), part(b"")).told[0] == "over"

    def stop(exchange: Exchange) -> None:
        exchange.keep_alive = False

    assert b"\r\nconnection: close\r\n" in answering(start(length(0)), part(b""), before=stop).written[0]


@pytest.mark.parametrize("messages", [[part(b"x")], [start(length(1)), start(length(1))]])
def test_messages_out_of_order_are_the_applications_fault(messages: list[Message]) -> None:
    assert answering(*messages).told[-1] in {"left", "break off", "over"}


@pytest.mark.parametrize("value", [b"a\r\nx: y", b"a\nx: y", b"a\rx: y"])
def test_no_field_can_bring_another_one(value: bytes) -> None:
    client = answering(start((b"x-a", value)), part(b""))
    assert not any(b"x: y" in data for data in client.written)


@pytest.mark.parametrize("body", [b"longer", b"s"])
def test_a_body_of_another_length_than_announced_breaks_off(body: bytes) -> None:
    client = answering(start(length(3)), part(body))
    assert b"".join(client.written).endswith(b"content-length: 3\r\n\r\n")
    assert client.told == ["left", "break off"]


def test_a_failure_before_the_answer_is_a_500_and_after_it_breaks_off() -> None:
    client = answering(fails=True)
    assert client.written[0].startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert client.told == ["left", "over"]
    client = answering(start(length(3)), part(b"ab", more=True), fails=True)
    assert client.written[0].endswith(b"\r\n\r\nab")
    assert client.told == ["left", "break off"]


def test_an_application_that_returns_early_breaks_off_behind_the_head() -> None:
    client = answering(start(length(3)))
    assert client.written[0].endswith(b"content-length: 3\r\n\r\n")
    assert client.told == ["left", "break off"]


def test_nothing_is_sent_to_who_has_left() -> None:
    assert answering(start(length(2)), part(b"ok"), before=Exchange.disconnect).written == []


def test_a_slow_reader_is_waited_for() -> None:
    async def app(_scope: Message, _receive: Receive, send: Send) -> None:
        await send(start(length(2)))
        await send(part(b"ok"))

    async def main() -> Client:
        client = Client()
        client.write_paused = True
        scope: dict[str, Any] = {"method": "GET", "http_version": "1.1"}
        exchange = Exchange(scope, client, client, asyncio.get_running_loop(), keep_alive=True, expects_continue=False)
        await exchange.run(app)
        return client

    assert asyncio.run(main()).told == ["drain", "drain", "over, goes on", "left"]


def test_a_body_is_handed_out_once_either_way() -> None:
    def fill(exchange: Exchange) -> None:
        exchange.feed_body(b"ab")
        exchange.feed_body(b"cd")
        exchange.end_body()

    seen: list[Any] = []

    async def whole(scope: Message, receive: Receive, _send: Send) -> None:
        exchange = scope["extensions"][EXCHANGE]
        seen.extend([exchange.whole_body(), exchange.whole_body()])
        exchange.disconnect()
        seen.append((await receive())["type"])

    async def received(scope: Message, receive: Receive, _send: Send) -> None:
        seen.append(await receive())
        seen.append(scope["extensions"][EXCHANGE].whole_body())

    asyncio.run(run(whole, before=fill))
    assert seen == [b"abcd", None, "http.disconnect"]
    seen.clear()
    asyncio.run(run(received, before=fill))
    assert seen == [{"type": "http.request", "body": b"abcd", "more_body": False}, None]


def test_a_body_that_is_still_coming_is_not_whole() -> None:
    seen: list[Any] = []

    async def app(scope: Message, _receive: Receive, _send: Send) -> None:
        seen.append(scope["extensions"][EXCHANGE].whole_body())

    asyncio.run(run(app, before=lambda exchange: exchange.feed_body(b"ab")))
    assert seen == [None]


def test_more_than_enough_of_a_body_holds_the_client_back() -> None:
    client = answering(before=lambda exchange: exchange.feed_body(bytes(HIGH_WATER_BYTES + 1)))
    assert client.told[0] == "pause reading"


def test_an_application_that_asks_late_learns_at_once_that_the_client_left() -> None:
    left: list[str] = []

    async def app(scope: Message, _receive: Receive, _send: Send) -> None:
        exchange = scope["extensions"][EXCHANGE]
        exchange.on_disconnect(lambda: left.append("in time"))
        exchange.disconnect()
        exchange.on_disconnect(lambda: left.append("too late"))

    asyncio.run(run(app))
    assert left == ["in time", "too late"]
