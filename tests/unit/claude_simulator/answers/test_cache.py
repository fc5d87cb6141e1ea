"""The prompt cache: reads, writes and eviction."""

from typing import Any

from claude_simulator.answers.cache import CachePlan, InputUse, PromptCache
from claude_simulator.requests.models import MODELS
from claude_simulator.requests.prompt import prompt_blocks

MODEL = MODELS["claude-sonnet-5-5"]  # 3.1 characters a token, at least 512 tokens a prefix
LONG = "a" * 3_100  # 1,000 tokens
EPHEMERAL = {"type": "ephemeral"}


def text(content: str, **cache_control: Any) -> dict[str, Any]:
    return {"type": "text", "text": content, **cache_control}


def plan(cache: PromptCache, now_seconds: float, *, system: list[dict[str, Any]], question: str = "Hi") -> CachePlan:
    body = {"system": system, "messages": [{"role": "user", "content": question}]}
    return cache.plan(MODEL, prompt_blocks(body, MODEL), now_seconds)


def test_a_prefix_is_written_once_and_read_until_it_expires() -> None:
    cache = PromptCache(10)
    system = [text(LONG, cache_control=EPHEMERAL)]
    first = plan(cache, 0, system=system)
    assert first.use == InputUse(uncached=5, written_5m=1_000)  # "Hi" is one token, and four are overhead

    cache.store(first, 0)
    assert plan(cache, 299, system=system, question="Other").use == InputUse(uncached=6, read=1_000)
    assert plan(cache, 300, system=system).use == InputUse(uncached=5, written_5m=1_000)


def test_a_read_renews_the_time_to_live() -> None:
    cache = PromptCache(10)
    system = [text(LONG, cache_control=EPHEMERAL)]
    cache.store(plan(cache, 0, system=system), 0)
    cache.store(plan(cache, 200, system=system), 200)

    assert plan(cache, 499, system=system).use.read == 1_000


def test_reads_are_not_charged_and_writes_are() -> None:
    assert InputUse(uncached=5, read=1_000, written_5m=20, written_1h=300).charged == 325


def test_a_prefix_below_the_models_minimum_is_not_cached() -> None:
    cache = PromptCache(10)
    short = plan(cache, 0, system=[text("a" * 1_000, cache_control=EPHEMERAL)])

    assert short == CachePlan(InputUse(uncached=328))


def test_writes_for_an_hour_are_counted_separately() -> None:
    cache = PromptCache(10)
    system = [text(LONG, cache_control={**EPHEMERAL, "ttl": "1h"}), text(LONG + "b", cache_control=EPHEMERAL)]
    first = plan(cache, 0, system=system)
    assert first.use == InputUse(uncached=5, written_1h=1_000, written_5m=1_001)

    cache.store(first, 0)
    assert plan(cache, 3_599, system=system).use == InputUse(uncached=5, read=1_000, written_5m=1_001)


def test_a_changed_prefix_is_not_read() -> None:
    cache = PromptCache(10)
    cache.store(plan(cache, 0, system=[text(LONG, cache_control=EPHEMERAL)]), 0)

    assert plan(cache, 1, system=[text("b" + LONG[1:], cache_control=EPHEMERAL)]).use.read == 0


def test_a_conversation_reads_the_prefix_of_the_previous_turn() -> None:
    cache = PromptCache(10)
    turn = {"role": "user", "content": [text(LONG, cache_control=EPHEMERAL)]}
    cache.store(cache.plan(MODEL, prompt_blocks({"messages": [turn]}, MODEL), 0), 0)
    messages = [
        {"role": "user", "content": [text(LONG)]},
        {"role": "assistant", "content": "Yes"},
        {"role": "user", "content": [text("And?", cache_control=EPHEMERAL)]},
    ]

    use = cache.plan(MODEL, prompt_blocks({"messages": messages}, MODEL), 1).use
    assert use == InputUse(uncached=0, read=1_004, written_5m=11)


def test_top_level_cache_control_marks_the_last_block() -> None:
    body = {"messages": [{"role": "user", "content": LONG}], "cache_control": EPHEMERAL}

    assert PromptCache(10).plan(MODEL, prompt_blocks(body, MODEL), 0).use == InputUse(uncached=0, written_5m=1_004)


def test_other_models_do_not_share_entries() -> None:
    cache = PromptCache(10)
    body = {"messages": [{"role": "user", "content": LONG}], "cache_control": EPHEMERAL}
    cache.store(cache.plan(MODEL, prompt_blocks(body, MODEL), 0), 0)
    other = MODELS["claude-opus-5-5"]

    assert cache.plan(other, prompt_blocks(body, other), 0).use.read == 0


def test_the_oldest_entries_are_evicted() -> None:
    cache = PromptCache(3)
    for letter in "abcdef":
        cache.store(plan(cache, 0, system=[text(letter + LONG, cache_control=EPHEMERAL)]), 0)

    assert len(cache) == 3
    assert plan(cache, 1, system=[text("a" + LONG, cache_control=EPHEMERAL)]).use.read == 0
    assert plan(cache, 1, system=[text("f" + LONG, cache_control=EPHEMERAL)]).use.read == 1_001
