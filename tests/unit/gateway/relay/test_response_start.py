"""The bytes of a response that are read before it is relayed, and those that are read afterwards."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from support.gateway import CONTENT, MESSAGE_DELTA, MESSAGE_START, OVERLOADED_EVENT, FakeTransport, sse
from support.transport import POST
from support.virtual_time import VirtualClock, run_virtual
from tidegate.gateway.relay.event_stream import StreamReader
from tidegate.gateway.relay.response_start import ResponseStart
from tidegate.gateway.relay.usage_reader import ResponseReader
from tidegate.gateway.relay_limits import RelayLimits

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
LONG = CONTENT.replace(b"hi", b"x" * 3_000)


class NotingReader(StreamReader):
    """Counts the bytes that it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.fed_bytes = 0

    def feed(self, chunk: bytes) -> None:
        self.fed_bytes += len(chunk)
        super().feed(chunk)


def learned(reader: ResponseReader) -> tuple[object, ...]:
    return (
        *(reader.usage, reader.metadata, reader.started, reader.has_content, str(reader.error)),
        *(reader.progress, reader.text_bytes, reader.unreported_bytes),
    )


async def opened(chunks: Sequence[bytes | float], clock: VirtualClock) -> tuple[ResponseStart, NotingReader]:
    reader = NotingReader()
    answer = ResponseStart(await FakeTransport([sse(*chunks)]).send(POST), reader, RelayLimits(), clock)
    if not answer.arrived_whole() and not answer.is_over:
        await answer.open()
    return answer, reader


@given(
    events=st.lists(st.sampled_from([CONTENT, LONG, PING, MESSAGE_DELTA, OVERLOADED_EVENT]), max_size=30),
    cuts=st.lists(st.integers(1, 20_000), max_size=10),
)
def test_in_the_end_all_has_been_read_and_handed_on(events: list[bytes], cuts: list[int]) -> None:
    stream = b"".join([MESSAGE_START, CONTENT, *events])
    edges = [0, *sorted({cut for cut in cuts if cut < len(stream)}), len(stream)]
    chunks = [stream[start:end] for start, end in pairwise(edges)]
    at_once = StreamReader()
    at_once.feed(stream)
    clock = VirtualClock()

    async def main() -> tuple[bytes, ResponseStart]:
        answer, _ = await opened(chunks, clock)
        if answer.is_over:
            return answer.whole(), answer
        handed_on = b""
        while (chunk := await answer.next_chunk()) is not None:
            handed_on += chunk
        await answer.aclose()
        return handed_on, answer

    handed_on, answer = run_virtual(main(), clock)
    assert handed_on == stream
    assert learned(answer.reader) == learned(at_once)


def test_the_rest_after_the_first_content_is_read_on_demand() -> None:
    stream = MESSAGE_START + CONTENT * 200
    clock = VirtualClock()

    async def main() -> None:
        for chunks in ([stream], [stream[:300], stream[300:]]):
            answer, reader = await opened(chunks, clock)
            handed_on = answer.whole() if answer.is_over else await answer.next_chunk()
            assert handed_on == chunks[0]
            assert reader.fed_bytes <= 2_048
            if not answer.is_over:
                assert await answer.next_chunk() == chunks[1]
                assert reader.fed_bytes == len(chunks[0])
            assert answer.reader.progress == 1 + 200
            assert reader.fed_bytes == len(stream)

    run_virtual(main(), clock)


def test_the_first_token_came_with_the_content() -> None:
    clock = VirtualClock()

    async def main() -> None:
        whole, _ = await opened([MESSAGE_START + PING * 100 + CONTENT], clock)
        assert whole.first_token_ns == clock.monotonic_ns()
        in_parts, _ = await opened([MESSAGE_START, 0.1, CONTENT, 60.0, CONTENT], clock)
        content_ns = clock.monotonic_ns()
        while await in_parts.next_chunk() is not None:
            pass
        assert clock.monotonic_ns() > content_ns == in_parts.first_token_ns
        await in_parts.aclose()
        late, _ = await opened([MESSAGE_START, 9.0, CONTENT], clock)
        assert late.first_token_ns is None
        while await late.next_chunk() is not None:
            pass
        assert late.first_token_ns == clock.monotonic_ns()
        without, _ = await opened([MESSAGE_START + PING], clock)
        assert without.first_token_ns is None

    run_virtual(main(), clock)
