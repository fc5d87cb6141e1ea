"""Images and documents in a body are sized by rules of their own."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.media import encoded, gif, jpeg, pdf, png
from tidegate.core.pricing.prompt_size import PromptSize
from tidegate.gateway.receive import request

MODEL = "claude-sonnet-5-5"
TEXT = {"type": "text", "text": "x"}
TOOL = {"name": "look_up", "input_schema": {"type": "object", "properties": {"source": {"type": "string"}}}}


def base64(data: bytes, kind: str = "image") -> dict[str, Any]:
    return {"type": kind, "source": {"type": "base64", "media_type": f"{kind}/x", "data": encoded(data)}}


def elsewhere(kind: str, where: str) -> dict[str, Any]:
    return {"type": kind, "source": {"type": where, where: "https://example.com/x"}}


def size(*blocks: object, **fields: Any) -> PromptSize:
    return size_of({"model": MODEL, "messages": [{"role": "user", "content": list(blocks)}], **fields})


def size_of(fields: dict[str, Any]) -> PromptSize:
    body = json.dumps(fields).encode()
    read = asyncio.run(request.read_message(body)).size
    media_bytes = len(body) - read.text_bytes
    assert 0 <= media_bytes == sum(map(len, _data(fields))), "all the rest is text"
    return read._replace(text_bytes=0)


def _data(value: object) -> Iterator[str]:
    """The base64 data in a body."""
    if isinstance(value, list):
        for each in value:
            yield from _data(each)
    if isinstance(value, dict):
        if value.get("type") == "base64" and isinstance(value.get("data"), str):
            yield value["data"]
        for each in value.values():
            yield from _data(each)


def test_an_image_counts_by_its_pixels_whatever_its_bytes() -> None:
    image = base64(png(1_000, 1_000) + bytes(3_000_000))
    assert size(image, {"type": "text", "text": "What is this?"}) == PromptSize(image_tokens=1_296)


def test_the_model_says_how_large_an_image_may_be() -> None:
    message = {"role": "user", "content": [base64(png(1_920, 1_080))]}
    assert size_of({"messages": [message], "model": "claude-sonnet-4-5"}).image_tokens == 1_560
    assert size_of({"messages": [message], "model": MODEL}).image_tokens == 2_691


def test_the_size_of_a_jpeg_is_found_behind_its_profiles() -> None:
    assert size(base64(jpeg(200, 200, profile_bytes=100_000))) == PromptSize(image_tokens=64)
    assert size(base64(jpeg(200, 200, profile_bytes=400_000))) == PromptSize(unsized_images=1), "not so far behind"


@pytest.mark.parametrize("where", ["url", "file"])
def test_media_elsewhere_is_counted_by_number(where: str) -> None:
    image, document = elsewhere("image", where), elsewhere("document", where)
    assert size(image, image, document) == PromptSize(unsized_images=2, documents=1)


def test_a_pdf_counts_by_its_pages() -> None:
    assert size(base64(pdf("one", "two", "three"), "document")) == PromptSize(pages=3)


def test_a_pdf_that_hides_its_pages_counts_by_its_size() -> None:
    assert size(base64(b"%PDF-1.5\n" + bytes(100), "document")) == PromptSize(pages=1)
    assert size(base64(b"%PDF-1.5\n" + bytes(900_000), "document")) == PromptSize(pages=16)


def test_the_end_of_a_long_pdf_is_read_too_with_slashes_that_are_escaped() -> None:
    document = pdf("x" * 900_000, "two")
    assert size(base64(document, "document")) == PromptSize(pages=2)
    body = json.dumps({"messages": [{"content": [base64(document + b"%\xff\xff\xff", "document")]}]})
    assert "/" in body
    assert asyncio.run(request.read_message(body.replace("/", "\\/").encode())).size.pages == 2


def test_media_in_tool_results_are_counted() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": [base64(gif(200, 200)), elsewhere("image", "url")]}
    assert size(result) == PromptSize(image_tokens=64, unsized_images=1)


def test_a_document_of_text_is_text() -> None:
    plain = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x" * 900}}
    blocks = {"type": "document", "source": {"type": "content", "content": [base64(png(200, 200))]}}
    assert size(plain) == PromptSize()
    assert size(blocks) == PromptSize(image_tokens=64)


def test_tools_bring_a_system_prompt_larger_where_one_must_be_called() -> None:
    assert size(TEXT, tools=[TOOL]) == PromptSize(fixed_tokens=290)
    assert size(TEXT, tools=[TOOL], tool_choice={"type": "any"}) == PromptSize(fixed_tokens=410)
    assert size(TEXT, tools=[TOOL], tool_choice={"type": "auto"}) == PromptSize(fixed_tokens=290)
    assert size(elsewhere("image", "url"), tools=[TOOL]) == PromptSize(unsized_images=1, fixed_tokens=290)


@pytest.mark.parametrize("nothing", [{"tools": []}, {"tools": None}, {}])
def test_no_tools_bring_none(nothing: dict[str, Any]) -> None:
    assert size(TEXT, **nothing) == size(**nothing) == PromptSize()


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image"},
        {"type": "image", "source": "x"},
        {"type": "image", "source": {}},
        {"type": "image", "source": {"type": "url", "content": "x"}, "content": "y"},
        {"type": 5, "source": {"type": 6, "data": 7}},
        {"type": "image", "source": {"type": "base64", "data": 7}},
        {"type": "text", "source": {"type": "url"}},
        {"type": "image", "source": {"type": "base64", "data": "?"}},
        {"type": "image", "source": {"type": "base64", "data": ""}},
        {"type": "document", "source": {"type": "base64", "data": "ä="}},
    ],
)
def test_a_body_that_the_upstream_will_reject_is_still_read(block: dict[str, Any]) -> None:
    body = json.dumps({"messages": [{"content": [block, 7, None]}, 8], "model": MODEL}).encode()
    read = asyncio.run(request.read_message(body)).size
    assert read.unsized_images <= 1
    assert read._replace(text_bytes=0, unsized_images=0) == PromptSize()


def test_content_that_is_nested_too_deeply_counts_as_text() -> None:
    block = elsewhere("image", "url")
    for _ in range(7):
        block = {"type": "tool_result", "content": [block]}
    assert size(block) == PromptSize(unsized_images=1)
    assert size({"type": "tool_result", "content": [block]}) == PromptSize()


def test_no_more_media_are_counted_than_a_call_may_have() -> None:
    assert size(*[elsewhere("image", "url")] * 1_500) == PromptSize(unsized_images=1_000)


BLOCKS: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([{"type": "text", "text": '"source"'}, elsewhere("document", "file"), base64(png(90, 50))]),
    lambda inner: st.lists(inner, max_size=3).map(lambda content: {"content": content, "type": "tool_result"}),
    max_leaves=8,
)


@given(st.lists(BLOCKS, max_size=4))
def test_every_medium_is_counted_once(blocks: list[Any]) -> None:
    text = json.dumps(blocks)
    found = size(*blocks)
    assert found.documents == text.count('"document"')
    assert found.image_tokens == 8 * text.count('"base64"')
