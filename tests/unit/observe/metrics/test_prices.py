import tomllib
from datetime import UTC, date, datetime
from importlib.resources import files

import pytest
from msgspec import structs

from tidegate.core.domain.usage import Usage
from tidegate.observe.metrics.prices import Price, PriceList
from tidegate.settings import Settings

MILLION = 1_000_000
PRICES = PriceList.bundled()
NOW = datetime(2026, 11, 25, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        (Usage(input_tokens=MILLION), 2),
        (Usage(output_tokens=MILLION), 10),
        (Usage(cache_read_tokens=MILLION), 0.10),
        (Usage(cache_creation_tokens=MILLION), 2.5),
        (Usage(cache_creation_tokens=MILLION, cache_creation_1h_tokens=MILLION), 4),
        (Usage(cache_creation_tokens=MILLION, cache_creation_1h_tokens=MILLION // 2), 3.25),
        (Usage(), 0),
    ],
)
def test_each_kind_of_token_has_its_price(usage: Usage, usd: float) -> None:
    assert PRICES.cost_usd("claude-sonnet-5-5", usage, NOW) == pytest.approx(usd)


def test_writes_for_an_hour_are_never_more_than_all_writes() -> None:
    assert PRICES.cost_usd("claude-sonnet-5-5", Usage(cache_creation_1h_tokens=MILLION), NOW) == 0


def test_a_dated_id_costs_what_its_alias_costs() -> None:
    assert PRICES.cost_usd("claude-haiku-4-5-20251001", Usage(MILLION), NOW) == 1


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        (Usage(50_000, 0, 30_000, 20_000), (50_000 * 0.10 + 30_000 * 0.01 + 20_000 * 0.125) / MILLION),
        (Usage(50_001, 0, 30_000, 20_000), (50_001 * 0.50 + 30_000 * 0.05 + 20_000 * 0.625) / MILLION),
    ],
)
def test_a_long_prompt_costs_more_as_a_whole_and_cached_tokens_make_it_long(usage: Usage, usd: float) -> None:
    assert PRICES.cost_usd("claude-haiku-5-5", usage, NOW) == pytest.approx(usd)


@pytest.mark.parametrize("model", ["claude-sonnet-5-5", "claude-haiku-5-5", "claude-haiku-4-5-20251001"])
def test_in_a_batch_every_kind_of_token_costs_half(model: str) -> None:
    usage = Usage(60_000, 5_000, 30_000, 20_000, 10_000)
    alone = PRICES.cost_usd(model, usage, NOW)

    assert alone
    assert PRICES.cost_usd(model, usage._replace(batch=True), NOW) == pytest.approx(alone / 2)


def test_a_model_without_a_price_is_free_in_no_batch_either() -> None:
    assert PRICES.cost_usd("claude-fable-9", Usage(1, batch=True), NOW) is None


def test_every_model_that_is_listed_has_a_price() -> None:
    assert "claude-haiku-4-5" in PRICES.models
    assert not any(model.endswith("-fast") for model in PRICES.models)
    assert None not in {PRICES.cost_usd(model, Usage(1), NOW) for model in PRICES.models}


def test_a_model_without_a_price_is_not_free() -> None:
    assert PRICES.cost_usd("claude-fable-9", Usage(1), NOW) is None


def test_the_models_that_are_configured_by_default_have_prices() -> None:
    defaults = Settings()
    assert None not in {PRICES.cost_usd(model, Usage(1), NOW) for model in (defaults.model, defaults.fallback_model)}


@pytest.mark.parametrize(("day", "usd"), [((2026, 10, 6), 0.20), ((2026, 10, 7), 0.10), ((2026, 11, 25), 0.10)])
def test_a_price_holds_from_its_day_on(day: tuple[int, int, int], usd: float) -> None:
    at = datetime(*day, 12, tzinfo=UTC).timestamp()
    assert PRICES.cost_usd("claude-sonnet-5-5", Usage(cache_read_tokens=MILLION), at) == pytest.approx(usd)


def test_a_price_that_is_announced_waits_for_its_day_in_utc() -> None:
    now = Price(("m",), 1, 0, 0, 0, 0)
    prices = PriceList([structs.replace(now, input=9, effective_from=date(2027, 1, 1)), now], 1.0)
    turn = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    assert [prices.cost_usd("m", Usage(MILLION), at) for at in (turn - 1, turn)] == [1, 9]


def test_before_its_first_day_a_model_has_no_price() -> None:
    prices = PriceList([Price(("m",), 1, 1, 1, 1, 1, effective_from=date(2027, 1, 1))], 1.0)
    assert prices.cost_usd("m", Usage(1), NOW) is None


def test_the_list_says_when_it_was_read_and_is_in_order() -> None:
    listed = tomllib.loads(files("tidegate.observe.metrics").joinpath("prices.toml").read_text("utf-8"))
    assert listed["read_on"] >= date(2026, 10, 24)
    bounds: dict[tuple[str, date], list[float]] = {}
    for row in listed["prices"]:
        assert row["cache_read"] < row["input"] < row["cache_creation_5m"] < row["cache_creation_1h"] < row["output"]
        for model in row["models"]:
            since = model, row.get("effective_from", date.min)
            bounds.setdefault(since, []).append(row.get("up_to_prompt_tokens", float("inf")))
    assert all(found == sorted(set(found)) and found[-1] == float("inf") for found in bounds.values()), bounds


@pytest.mark.parametrize(
    ("model", "dollars"), [("claude-opus-5-5", 8), ("claude-opus-4-8", 10), ("claude-opus-5-20260701", 10)]
)
def test_fast_mode_has_prices_of_its_own(model: str, dollars: float) -> None:
    assert PRICES.cost_usd(model, Usage(1_000_000, fast=True), NOW) == dollars


def test_where_the_price_of_fast_mode_is_not_known_there_is_none() -> None:
    assert PRICES.cost_usd("claude-sonnet-5-5", Usage(1, fast=True), NOW) is None
