"""Blocks of prompts, their sizes in tokens, and pieces of answers."""

from typing import Any

import pytest
from anthropic.types import ModelInfo
from hypothesis import given
from hypothesis import strategies as st

from claude_simulator.errors import ApiError
from claude_simulator.requests.models import FAMILIES, MODELS
from claude_simulator.requests.prompt import (
    PromptBlock,
    check_context,
    prompt_blocks,
    split_tokens,
    text_of,
    user_texts,
)
from support.media import encoded, gif, jpeg, pdf, png, webp

NEW, OLD = MODELS["claude-sonnet-5-5"], MODELS["claude-sonnet-4-5"]


def tokens(body: dict[str, Any]) -> list[int]:
    return [block.tokens for block in prompt_blocks(body, OLD)]


@given(st.text())
def test_pieces_join_to_the_text(text: str) -> None:
    assert "".join(split_tokens(text)) == text


def test_words_punctuation_and_spaces_are_pieces() -> None:
    assert split_tokens("Hello,  wonderful day \n") == ["Hello", ",", "  wonder", "ful", " day", " \n"]


def test_newer_models_count_about_30_percent_more() -> None:
    body = {"messages": [{"role": "user", "content": "a" * 4_000}]}

    assert [block.tokens for block in prompt_blocks(body, OLD)] == [1_004]
    assert [block.tokens for block in prompt_blocks(body, NEW)] == [1_295]


def test_tools_come_before_system_before_messages() -> None:
    body = {
        "messages": [{"role": "user", "content": "cccc"}],
        "system": "bb",
        "tools": [{"name": "a", "input_schema": {}}],
    }

    assert [block.content["in"] for block in prompt_blocks(body, OLD)] == ["tools", "system", "user"]
    assert tokens(body) == [505, 1, 5]


def image(width: int, height: int) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "data": encoded(png(width, height) + bytes(300_000))}}


def test_images_count_by_their_pixels() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image(90, 50), {"type": "text", "text": "xxxx"}]}
    body = {"messages": [{"role": "user", "content": [image(1_000, 1_000), image(3_840, 2_160), result]}]}

    assert tokens(body) == [1_300, 1_560, 9]
    assert [block.tokens for block in prompt_blocks(body, NEW)] == [1_300, 4_784, 10]


@pytest.mark.parametrize(
    "data",
    [
        gif(280, 560),
        webp(280, 560),
        webp(280, 560, "VP8L"),
        webp(280, 560, "VP8X"),
        jpeg(280, 560),
        jpeg(280, 560, profile_bytes=100_000, frame=0xC2),
    ],
)
def test_every_kind_of_image_is_measured(data: bytes) -> None:
    content = [{"type": "image", "source": {"type": "base64", "data": encoded(data)}}]
    assert tokens({"messages": [{"role": "user", "content": content}]}) == [204]


@pytest.mark.parametrize(
    "source",
    [
        {"type": "url", "url": "https://example.com/x.png"},
        {"type": "base64", "data": encoded(b"no image")},
        {"type": "base64", "data": encoded(b"\xff\xd8\xff")},
        {"type": "base64", "data": encoded(png(0, 0))},
        {"type": "base64", "data": "x"},
    ],
)
def test_an_image_that_cannot_be_read_has_an_assumed_size(source: dict[str, Any]) -> None:
    assert tokens({"messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]}) == [1_564 + 4]


@pytest.mark.parametrize("compressed", [False, True])
def test_a_page_of_a_pdf_counts_as_image_and_as_text(compressed: bool) -> None:  # noqa: FBT001  # a parameter
    document = {"type": "base64", "data": encoded(pdf("x" * 2_000, "y" * 1_000, compressed=compressed))}
    assert tokens({"messages": [{"role": "user", "content": [{"type": "document", "source": document}]}]}) == [3_954]


def test_documents_of_other_sources() -> None:
    sources: list[dict[str, Any]] = [
        {"type": "text", "data": "x" * 400},
        {"type": "content", "content": [image(90, 50)]},
        {"type": "file", "file_id": "f"},
        {"type": "base64", "data": encoded(b"%PDF <</Filter/FlateDecode>>stream\nno deflate\nendstream")},
    ]
    content = [{"type": "document", "source": source} for source in sources]
    assert tokens({"messages": [{"role": "user", "content": content}]}) == [104, 8, 8_400, 1_600]


def test_text_is_read_from_strings_and_text_blocks() -> None:
    assert text_of("plain") == "plain"
    assert text_of([{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]) == "a\nb"
    assert text_of(None) == ""


def test_user_texts_leave_out_other_roles_and_tool_results() -> None:
    body = {
        "messages": [
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "answer"},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
            {"role": "user", "content": "last"},
        ]
    }

    assert user_texts(body) == ["first", "last"]


def test_families_are_those_that_share_limits() -> None:
    assert set(FAMILIES) == {
        "claude-fable-5",
        "claude-mythos-5",
        "claude-mythos-preview",
        "claude-opus-4",
        "claude-opus-5",
        "claude-opus-5-5",
        "claude-sonnet-4",
        "claude-sonnet-5",
        "claude-sonnet-5-5",
        "claude-haiku-4-5",
        "claude-haiku-5-5",
    }
    assert MODELS["claude-opus-4-5"].family == MODELS["claude-opus-4-8"].family


def test_a_prompt_longer_than_the_context_is_refused() -> None:
    model = MODELS["claude-haiku-4-5"]

    def blocks(characters: int) -> list[PromptBlock]:
        return prompt_blocks({"messages": [{"role": "user", "content": "x" * characters}]}, model)

    check_context(blocks(799_984), model)
    with pytest.raises(ApiError, match="prompt is too long: 200001 tokens > 200000 maximum") as caught:
        check_context(blocks(799_988), model)
    assert (caught.value.status, caught.value.error_type) == (400, "invalid_request_error")


def test_a_deprecated_model_has_both_dates() -> None:
    deprecated, active = MODELS["claude-opus-4-5"].info(), MODELS["claude-opus-5"].info()
    assert (deprecated["lifecycle"], deprecated["deprecated_at"]) == ("deprecated", "2026-11-23T00:00:00Z")
    assert (active["lifecycle"], active["deprecated_at"], active["retires_at"]) == ("active", None, None)
    for info in (deprecated, active):
        ModelInfo.model_validate(info)


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        ("claude-sonnet-5", "Claude Sonnet 5"),
        ("claude-opus-4-8", "Claude Opus 4.8"),
        ("claude-haiku-4-5-20251001", "Claude Haiku 4.5-20251001"),
    ],
)
def test_display_names(model_id: str, name: str) -> None:
    assert MODELS[model_id].info()["display_name"] == name
