from hypothesis import given
from hypothesis import strategies as st

from support.gateway import CONTENT, MESSAGE_DELTA, MESSAGE_START, OVERLOADED_EVENT
from tidegate.core.domain.usage import Usage
from tidegate.gateway.relay import event_stream as sse
from tidegate.gateway.relay.event_stream import StreamReader

PING = b'event: ping\ndata: {"type": "ping"}\n\n'


def read(*chunks: bytes) -> StreamReader:
    reader = StreamReader()
    for chunk in chunks:
        reader.feed(chunk)
    return reader


def seen(reader: StreamReader) -> tuple[object, ...]:
    return reader.usage, reader.started, reader.has_content, str(reader.error), reader.error and reader.error.error_type


def test_usage_is_merged_from_the_first_and_the_last_report() -> None:
    assert read(MESSAGE_START, CONTENT, MESSAGE_DELTA).usage == Usage(input_tokens=7, output_tokens=30)


def test_message_start_and_pings_are_no_content() -> None:
    reader = read(MESSAGE_START, PING)
    assert reader.started
    assert not reader.has_content
    reader.feed(CONTENT)
    assert reader.has_content


def test_text_after_the_latest_figures_is_measured_without_its_frame_and_padding() -> None:
    frame = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":%b}      }\n\n'
    reader = read(MESSAGE_START, frame % b'{"type":"text_delta","text":"0123456789"}')
    assert (reader.text_bytes, reader.unreported_bytes) == (10, 10)
    reader.feed(frame % b'{"type":"thinking_delta","thinking":"01234567890123456789"}')
    assert 30 <= reader.text_bytes == reader.unreported_bytes <= 42
    reader.feed(MESSAGE_DELTA)
    assert 30 <= reader.text_bytes <= 42
    assert reader.unreported_bytes == 0


def test_everything_but_pings_is_progress() -> None:
    reader = read(MESSAGE_START, CONTENT)
    before = reader.progress
    reader.feed(PING + b": comment\n\n" + CONTENT[:-1])
    assert reader.progress == before
    reader.feed(CONTENT[-1:])
    assert reader.progress == before + 1


def test_an_error_event_carries_type_and_message() -> None:
    error = read(MESSAGE_START, OVERLOADED_EVENT).error
    assert error is not None
    assert (error.status, error.error_type, str(error)) == (200, "overloaded_error", "Overloaded")


def test_the_first_error_counts() -> None:
    reader = read(OVERLOADED_EVENT, b'event: error\ndata: {"error": {"type": "api_error"}}\n\n')
    assert reader.error is not None
    assert reader.error.error_type == "overloaded_error"


def test_an_event_without_a_name_and_an_unknown_one_are_content() -> None:
    assert read(b"data: anything\n\n").has_content
    assert read(b"event: from_the_future\ndata: {}\n\n").has_content


def test_comments_and_empty_lines_are_nothing() -> None:
    assert seen(read(b": keep-alive\n\n\n\n")) == seen(StreamReader())


def test_data_that_is_not_json_is_passed_over() -> None:
    reader = read(
        b"event: message_start\ndata: <html>\n\n", b"event: error\ndata: [1]\n\n", b"event: message_delta\n\n"
    )
    assert reader.started
    assert reader.usage is None
    assert reader.error is not None
    assert reader.error.error_type == "api_error"


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    reader = read(b"data: ", *[b"x" * 65_536] * 40)
    assert len(reader._rest) <= sse._MAX_LINE_BYTES
    reader.feed(b"\n\n" + MESSAGE_START)
    assert reader.usage == Usage(7, 1)


@given(st.data())
def test_how_the_bytes_are_cut_does_not_matter(data: st.DataObject) -> None:
    events = data.draw(
        st.lists(
            st.sampled_from([MESSAGE_START, PING, CONTENT, MESSAGE_DELTA, OVERLOADED_EVENT, b": c\n\n", b"data: x\n\n"])
        )
    )
    stream = b"".join(events)
    if data.draw(st.booleans()):
        stream = stream.replace(b"\n", b"\r\n")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert seen(read(*pieces)) == seen(read(stream))


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_no_bytes_make_it_fail(chunks: list[bytes]) -> None:
    read(*chunks)
