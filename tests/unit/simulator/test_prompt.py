"""How a request is read: blocks, their tokens, and the pieces of an answer."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.simulator.models import FAMILIES, MODELS, list_models
from tidegate.simulator.prompt import prompt_blocks, split_tokens, text_of, user_texts

NEW, OLD = MODELS["claude-sonnet-5-5"], MODELS["claude-sonnet-4-5"]


def tokens(body: dict[str, Any]) -> list[int]:
    return [block.tokens for block in prompt_blocks(body, OLD)]


@given(st.text())
def test_pieces_join_to_the_text(text: str) -> None:
    assert "".join(split_tokens(text)) == text


def test_words_marks_and_space_make_pieces() -> None:
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
    assert tokens(body) == [309, 1, 5]


def test_images_and_documents_have_flat_prices() -> None:
    image = {"type": "image", "source": {"type": "base64", "data": "x" * 400_000}}
    pdf = {"type": "document", "source": {"type": "base64", "data": "x" * 400_000}}
    plain = {"type": "document", "source": {"type": "text", "data": "x" * 400}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image, {"type": "text", "text": "xxxx"}]}

    body = {"messages": [{"role": "user", "content": [image, pdf, plain, result]}]}
    assert tokens(body) == [1_604, 3_000, 100, 1_601]


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


def test_models_are_listed_in_pages() -> None:
    first = list_models(limit=20, after_id=None)
    second = list_models(limit=20, after_id=first["last_id"])

    assert (first["has_more"], second["has_more"]) == (True, False)
    assert [model["id"] for page in (first, second) for model in page["data"]] == list(MODELS)
    assert list_models(limit=5, after_id=second["last_id"])["data"] == []


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
