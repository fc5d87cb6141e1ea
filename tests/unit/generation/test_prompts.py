import pytest

from tidegate.generation.dsl import check_document
from tidegate.generation.prompts import EXAMPLE_NAMES, example, repair_message, simple_system_prompt, system_prompt

TASK_KINDS = ("call", "do", "emit", "for", "fork", "listen", "raise", "run", "set", "switch", "try", "wait")


@pytest.mark.parametrize("name", EXAMPLE_NAMES)
def test_worked_examples_are_valid(name: str) -> None:
    assert check_document(example(name)["workflow"]) == ()


def test_the_rules_name_every_task_kind() -> None:
    prompt = system_prompt()
    assert [kind for kind in TASK_KINDS if f"`{kind}`" not in prompt] == []


def test_the_full_prompt_is_long_enough_to_be_cached_upstream() -> None:
    # 512 tokens is the shortest prefix that Sonnet 5.5 caches; no tokenizer makes a token of more than 6 bytes of it.
    assert len(system_prompt()) > 512 * 6
    assert len(simple_system_prompt()) < len(system_prompt()) / 5


def test_findings_are_sent_back_one_a_line() -> None:
    assert repair_message(["/do: is missing", "/a: b"]).splitlines()[1:] == ["- /do: is missing", "- /a: b"]
