"""Header fields as one text."""

from hypothesis import example, given
from hypothesis import strategies as st

from tidegate.core.ports.transport import EncodedHeaders

NAMES = st.sampled_from([b"x-api-key", b"accept", b"anthropic-beta", b"x"])
VALUES = st.binary(max_size=20).map(lambda value: value.translate(None, b"\r\n"))


def test_fields_are_gone_through_in_one_go() -> None:
    encoded = EncodedHeaders([(b"x", b"%d" % number) for number in range(1_000)])
    fields = iter(encoded)
    encoded.text = b""
    assert len(list(fields)) == 1_000


@example([(b"x", b"a: b: c"), (b"accept", b"")])
@given(st.lists(st.tuples(NAMES, VALUES)))
def test_fields_are_what_they_were(fields: list[tuple[bytes, bytes]]) -> None:
    encoded = EncodedHeaders(fields)
    assert (list(encoded), len(encoded), encoded[1:]) == (fields, len(fields), fields[1:])
    if fields:
        assert encoded[0] == fields[0]
    assert EncodedHeaders(encoded).text == encoded.text
