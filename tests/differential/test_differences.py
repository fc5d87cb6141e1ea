"""All implementations parse recorded, generated and mutated streams alike, except for listed differences."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings

from differential.run import Comparison
from differential.streams import Stream, answer_streams, mutated, recordings, request_streams

MUTATIONS = 700
Compare = Callable[[Comparison], Callable[[Stream], Coroutine[Any, Any, None]]]
COMPARED: list[tuple[str, Compare]] = [
    ("requests", lambda comparison: comparison.serve),
    ("answers", lambda comparison: comparison.read),
]


def run(compare: Compare, streams: Iterable[Stream]) -> Comparison:
    async def main() -> Comparison:
        comparison = Comparison()
        for stream in streams:
            await compare(comparison)(stream)
        return comparison

    return asyncio.run(main())


@pytest.mark.parametrize(("kind", "compare"), COMPARED, ids=["servers", "clients"])
def test_recordings_give_equal_results_wherever_they_are_split(kind: str, compare: Compare) -> None:
    random = Random(0)
    recorded = recordings(kind)
    cut = [
        Stream(data, tuple(random.randrange(len(data)) for _ in range(cuts)))
        for data in recorded
        for cuts in (0, 3, 40)
    ]
    assert len(recorded) >= 10
    comparison = run(compare, cut)
    assert {difference for _, difference in comparison.counts} == {""}


@pytest.mark.parametrize(("kind", "compare"), COMPARED, ids=["servers", "clients"])
def test_mutated_recordings_give_listed_differences_only(kind: str, compare: Compare) -> None:
    random, sources = Random(20), recordings(kind)
    comparison = run(compare, (mutated(sources, random) for _ in range(MUTATIONS)))
    same = sum(count for (_, difference), count in comparison.counts.items() if not difference)
    assert same > 0.8 * comparison.counts.total()
    assert len(comparison.counts) > 3


@settings(derandomize=True)  # new differences are for `make fuzz-http` to find, not for `make test`
@given(stream=request_streams())
@example(
    stream=Stream(b"POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 3\r\n\r\nabc")
)
@example(stream=Stream(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * 30))
def test_generated_requests_give_listed_differences_only(stream: Stream) -> None:
    run(lambda comparison: comparison.serve, [stream])


@settings(derandomize=True)  # new differences are for `make fuzz-http` to find, not for `make test`
@given(stream=answer_streams())
@example(stream=Stream(b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nuntil the end"))
@example(stream=Stream(b"HTTP/1.1 200 OK\r\nconnection: close\r\n x\r\ncontent-length: 0\r\n\r\n"))
@example(stream=Stream(b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\n\r\n"))
@example(stream=Stream(b"HTTP/1.1 200\ncontent-length: 0\r\n\r\n"))
def test_generated_responses_give_listed_differences_only(stream: Stream) -> None:
    run(lambda comparison: comparison.read, [stream])
